// How much it takes: more and more requests a second until p95 is over a bound, or requests fail.
// The run ends there, as a failed one: the rate at which it did is the figure.
import { setup, teardown, thresholds } from './lib/judge.js';
import { work } from './lib/mix.js';

export { setup, teardown };

export const options = {
  scenarios: {
    breakpoint: {
      executor: 'ramping-arrival-rate',
      startRate: 100,
      timeUnit: '1s',
      preAllocatedVUs: 200,
      maxVUs: 2000,
      stages: [{ target: Number(__ENV.RATE || 10000), duration: __ENV.DURATION || '10m' }],
    },
  },
  thresholds: thresholds({
    http_req_failed: [{ threshold: 'rate<0.01', abortOnFail: true, delayAbortEval: '10s' }],
    http_req_duration: [{ threshold: 'p(95)<250', abortOnFail: true, delayAbortEval: '10s' }],
  }),
  teardownTimeout: '15m',
};

export default function (before) {
  work(before);
}
