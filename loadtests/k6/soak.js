// Hours of a normal day: what leaks, grows or slows down shows here. Tokens end and are renewed
// meanwhile.
import { setup, teardown, thresholds } from './lib/judge.js';
import { work } from './lib/mix.js';

export { setup, teardown };

export const options = {
  scenarios: {
    soak: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 200),
      timeUnit: '1s',
      duration: __ENV.DURATION || '2h',
      preAllocatedVUs: 50,
      maxVUs: 300,
    },
  },
  thresholds: thresholds({
    dropped_iterations: ['rate<1'],
    http_req_duration: ['p(95)<100', 'p(99)<250'],
  }),
  teardownTimeout: '15m',
};

export default function (before) {
  work(before);
}
