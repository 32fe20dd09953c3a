// The mesh as a client sees it: who is signed in, and what is asked for.
import http from 'k6/http';
import { check, fail } from 'k6';
import { Counter } from 'k6/metrics';

export const BASE = __ENV.BASE_URL || 'http://127.0.0.1:4004';
const USER = __ENV.EMAIL || 'testuser@test.com';
const PASSWORD = __ENV.PASSWORD || 'password123';
// A token is renewed when so much of its time is left.
const RENEWED_BEFORE_S = 60;

// Requests that the mesh did not take on because it had too many: 503 with Retry-After.
const turnedAway = new Counter('turned_away');
let mayTurnAway = false;

// Of this virtual user. It begins with the one that the run's setup made: else a rush of new users would
// measure how passwords are hashed.
let session = null;

// Takes over a session, unless this virtual user has one.
export function adopt(other) {
  if (session === null) session = other;
}

// Signs in, and fails the run before it begins when it would only measure rate limits.
export function refuseLimits() {
  const signedIn = signIn();
  const limited = signedIn.answer.headers['Ratelimit-Policy'] || me().headers['Ratelimit-Policy'];
  if (limited) {
    fail('rate limits are on: start the mesh with MEDISYNC_GATEWAY__RATE_LIMIT__{USER,CLIENT,LOGIN}=off and ' +
      'MEDISYNC_AUTH__RATE_LIMIT__ACCOUNT=off');
  }
  return signedIn.session;
}

// POST /auth/login; from then on this virtual user asks with the new token.
export function signIn() {
  const answer = http.post(`${BASE}/auth/login`, JSON.stringify({ email: USER, password: PASSWORD }), {
    headers: { 'Content-Type': 'application/json' },
    tags: { name: 'login' },
  });
  if (!isRight(answer, { 'login: 200': (it) => it.status === 200 })) {
    if (session !== null) return { answer, session };
    fail(`cannot sign in: ${answer.status} ${answer.error}`);
  }
  const { token, expiresIn } = answer.json();
  session = { token, endsAt: Date.now() + (expiresIn - RENEWED_BEFORE_S) * 1000 };
  return { answer, session };
}

// For scripts that ask for more than there can be: to be turned away is then a right answer, counted apart.
// Only at once, in time, and with word of when to come back: everything else is still a failure.
export function allowTurningAway() {
  mayTurnAway = true;
  http.setResponseCallback(http.expectedStatuses({ min: 200, max: 399 }, 503));
}

// Whether the answer is what it has to be. One that was turned away is neither that nor a failure.
export function isRight(answer, expectations) {
  if (mayTurnAway && answer.status === 503 && answer.headers['Retry-After']) {
    turnedAway.add(1);
    return false;
  }
  return check(answer, expectations);
}

// One request. Its name is what it is counted under: never a path with an id in it.
export function ask(name, method, path, body, headers) {
  if (session === null || Date.now() > session.endsAt) signIn();
  return http.request(method, `${BASE}${path}`, body === undefined ? null : JSON.stringify(body), {
    headers: Object.assign(
      { Authorization: `Bearer ${session.token}` },
      body === undefined ? {} : { 'Content-Type': 'application/json' },
      headers,
    ),
    tags: { name },
  });
}

export function me() {
  return ask('me', 'GET', '/auth/me');
}
