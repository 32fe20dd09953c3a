// Does it work at all, and is nothing lost? Few users, half a minute; runs in CI.
import { setup, teardown, thresholds } from './lib/judge.js';
import { work } from './lib/mix.js';

export { setup, teardown };

export const options = {
  scenarios: {
    smoke: { executor: 'constant-vus', vus: 4, duration: __ENV.DURATION || '20s' },
  },
  // A machine that does other things besides is slow, not broken: times are not judged here.
  thresholds: thresholds({}),
  teardownTimeout: '2m',
};

export default function (before) {
  work(before);
}
