// Everybody at once: from next to nothing to a multiple within two seconds, and back. What matters
// is that it recovers, and what was acknowledged is there.
import { setup, teardown, thresholds } from './lib/judge.js';
import { allowTurningAway } from './lib/mesh.js';
import { work } from './lib/mix.js';

export { setup, teardown };

allowTurningAway();

const RATE = Number(__ENV.RATE || 500);

export const options = {
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate',
      startRate: Math.ceil(RATE / 10),
      timeUnit: '1s',
      preAllocatedVUs: 200,
      maxVUs: 1500,
      stages: [
        { target: Math.ceil(RATE / 10), duration: '15s' },
        { target: RATE * 4, duration: '2s' },
        { target: RATE * 4, duration: '20s' },
        { target: Math.ceil(RATE / 10), duration: '2s' },
        { target: Math.ceil(RATE / 10), duration: '30s' },
      ],
    },
  },
  thresholds: thresholds({ http_req_duration: ['p(95)<2000'] }),
  teardownTimeout: '5m',
};

export default function (before) {
  work(before);
}
