// Beyond a normal day: up in steps to three times of it, held, and back. It may get slow, and turn
// requests away with word of when to come back; it must neither fail nor lose anything.
import { setup, teardown, thresholds } from './lib/judge.js';
import { allowTurningAway } from './lib/mesh.js';
import { work } from './lib/mix.js';

export { setup, teardown };

allowTurningAway();

const RATE = Number(__ENV.RATE || 500);

export const options = {
  scenarios: {
    stress: {
      executor: 'ramping-arrival-rate',
      startRate: RATE,
      timeUnit: '1s',
      preAllocatedVUs: 100,
      maxVUs: 1000,
      stages: [
        { target: RATE * 2, duration: '30s' },
        { target: RATE * 2, duration: '1m' },
        { target: RATE * 3, duration: '30s' },
        { target: RATE * 3, duration: '1m' },
        { target: RATE, duration: '30s' },
      ],
    },
  },
  thresholds: thresholds({ http_req_duration: ['p(95)<500', 'p(99)<1500'] }),
  teardownTimeout: '5m',
};

export default function (before) {
  work(before);
}
