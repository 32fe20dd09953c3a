// Whether the system has what it said it has: the run's own count against the system's.
import { fail, sleep } from 'k6';
import { Counter } from 'k6/metrics';

import { adopt, ask, refuseLimits } from './mesh.js';

// Registrations that were answered 201.
export const registered = new Counter('registered');
// Those less the patients that are there: 0 in the end. What was answered otherwise (a time-out, say)
// may be there all the same, so a run with failed requests can end below 0.
const missing = new Counter('patients_missing');
// Patients that are there more than once: 0.
const doubled = new Counter('patients_doubled');
// Registrations that analytics has not counted, or has counted twice: 0.
const uncounted = new Counter('events_uncounted');

const COUNTED_WITHIN_S = 60;

// Every script has these; `latency` are its own.
export function thresholds(latency) {
  return Object.assign(
    {
      http_req_failed: ['rate==0'],
      checks: ['rate==1'],
      patients_missing: ['count==0'],
      patients_doubled: ['count==0'],
      events_uncounted: ['count==0'],
    },
    latency,
  );
}

// Before: which run this is, and how many registrations analytics had counted.
export function setup() {
  const session = refuseLimits();
  return { run: `k6-${Date.now().toString(36)}`, session, counted: created() };
}

// After: what is there.
export function teardown({ run, session, counted }) {
  adopt(session);
  const emails = [];
  let cursor = null;
  do {
    const wanted = Object.assign({ query: `@${run}.example`, size: 200 }, cursor && { cursor });
    const page = ask('judge', 'POST', '/api/patients/search', wanted);
    if (page.status !== 200) fail(`cannot count what is there: ${page.status}`);
    emails.push(...page.json('patients').map((patient) => patient.email));
    cursor = page.json('nextCursor');
  } while (cursor);
  missing.add(-new Set(emails).size);
  doubled.add(emails.length - new Set(emails).size);
  let lacking;
  for (let waited = 0; waited <= COUNTED_WITHIN_S; waited += 1) {
    lacking = emails.length - (created() - counted);
    if (lacking === 0) break;
    sleep(1);
  }
  uncounted.add(Math.abs(lacking));
}

// `missing` is added to where `registered` is: thresholds cannot compare two metrics.
export function acknowledged() {
  registered.add(1);
  missing.add(1);
}

function created() {
  const answer = ask('summary', 'GET', '/api/analytics/summary');
  if (answer.status !== 200) fail(`cannot ask analytics: ${answer.status}`);
  return answer.json('created');
}
