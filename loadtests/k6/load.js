// A normal day: as many requests a second as are expected, for some minutes.
import { setup, teardown, thresholds } from './lib/judge.js';
import { work } from './lib/mix.js';

export { setup, teardown };

export const options = {
  scenarios: {
    load: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 500),
      timeUnit: '1s',
      duration: __ENV.DURATION || '3m',
      preAllocatedVUs: 50,
      maxVUs: 500,
    },
  },
  thresholds: thresholds({
    dropped_iterations: ['rate<1'],
    'http_req_duration{name:get}': ['p(95)<25', 'p(99)<50'],
    'http_req_duration{name:list}': ['p(95)<40', 'p(99)<80'],
    'http_req_duration{name:search}': ['p(95)<50', 'p(99)<100'],
    'http_req_duration{name:create}': ['p(95)<100', 'p(99)<250'],
  }),
  teardownTimeout: '5m',
};

export default function (before) {
  work(before);
}
