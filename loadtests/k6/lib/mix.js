// What clinic staff do, as a mix of requests; each iteration is one of them.
import exec from 'k6/execution';

import { acknowledged } from './judge.js';
import { adopt, ask, isRight, signIn } from './mesh.js';
import { familyName, person, pick } from './people.js';

// How much of all requests each is.
const MIX = [
  [0.01, login],
  [0.25, list],
  [0.15, search],
  [0.4, get],
  [0.12, create],
  [0.07, update],
];
const KNOWN_MAX = 1000;

// What this virtual user has seen, and what it has registered itself.
const seen = [];
const own = [];
let registrations = 0;

export function work({ run, session }) {
  adopt(session);
  let at = Math.random();
  for (const [share, what] of MIX) {
    at -= share;
    if (at < 0) return what(run);
  }
  return get(run);
}

function login() {
  signIn();
}

function list() {
  remember(ask('list', 'GET', '/api/patients?size=20'));
}

function search() {
  const answer = ask('search', 'POST', '/api/patients/search', { query: familyName(), size: 20 });
  isRight(answer, { 'search: 200': (it) => it.status === 200 });
}

function get(run) {
  if (seen.length === 0) return list(run);
  const id = pick(seen);
  const answer = ask('get', 'GET', `/api/patients/${id}`);
  return isRight(answer, { 'get: the one': (it) => it.status === 200 && it.json('id') === id });
}

function create(run) {
  registrations += 1;
  const patient = person(run, exec.vu.idInTest, registrations);
  // Sent again with the same key, it would be answered again and not be done twice.
  const key = `${run}-${exec.vu.idInTest}-${registrations}`;
  const answer = ask('create', 'POST', '/api/patients', patient, { 'Idempotency-Key': key });
  const right = { 'create: 201': (it) => it.status === 201 && it.json('email') === patient.email };
  if (isRight(answer, right)) {
    acknowledged();
    keep(own, { id: answer.json('id'), patient, etag: answer.headers.Etag });
    keep(seen, answer.json('id'));
  }
}

function update(run) {
  if (own.length === 0) return create(run);
  const one = pick(own);
  const patient = Object.assign({}, one.patient, { address: `${registrations + 1} New Street` });
  const answer = ask('update', 'PUT', `/api/patients/${one.id}`, patient, { 'If-Match': one.etag });
  // The account was opened meanwhile, or not: the version is the patient's alone.
  const right = { 'update: 200': (it) => it.status === 200 && it.json('address') === patient.address };
  if (isRight(answer, right)) one.etag = answer.headers.Etag;
  return answer;
}

function remember(answer) {
  if (isRight(answer, { 'list: 200': (it) => it.status === 200 })) {
    for (const patient of answer.json('patients')) keep(seen, patient.id);
  }
}

function keep(all, one) {
  if (all.length < KNOWN_MAX) all.push(one);
  else all[Math.floor(Math.random() * KNOWN_MAX)] = one;
}
