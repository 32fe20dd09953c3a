// The functions that rotate: the certificates they make are looked at by OpenSSL's own eyes, the
// logins they make are tried on a real PostgreSQL, whose master is no superuser, as on RDS.
import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import pg from 'pg';

import { issue, makeAuthority, publish } from '../lambda/certificates.ts';
import { makeLogin, otherLogin, tryLogin, type Login } from '../lambda/postgres-logins.ts';
import { rotate, type Fields, type RotationEvent } from '../lambda/rotation.ts';

test('a certificate names its part and is of its authority', async () => {
  const authority = await makeAuthority();
  const own = await issue(authority, 'patient');
  const [ca, leaf] = [new X509Certificate(authority.certificate), new X509Certificate(own.certificate)];
  assert.equal(leaf.verify(ca.publicKey), true);
  assert.equal(leaf.checkIssued(ca), true);
  assert.equal(ca.ca, true);
  assert.equal(leaf.ca, false);
  assert.equal(leaf.subjectAltName, 'URI:spiffe://medisync/patient, DNS:patient, DNS:localhost');
  assert.equal(leaf.checkPrivateKey(createPrivateKey(own.key)), true);
  const hours = (Date.parse(leaf.validTo) - Date.now()) / 3_600_000;
  assert.ok(hours > 23.9 && hours <= 24);
});

test('a part finds its own pair and all that it trusts, and nothing of others', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-'));
  t.after(() => rm(folder, { recursive: true }));
  const [old, young] = [await makeAuthority(), await makeAuthority()];
  await publish(folder, 'auth', [old.certificate, young.certificate], await issue(old, 'auth'));
  assert.deepEqual((await readdir(join(folder, 'auth'))).sort(), ['auth.key', 'auth.pem', 'ca.pem']);
  const trusted = await readFile(join(folder, 'auth', 'ca.pem'), 'utf8');
  assert.equal(trusted.match(/BEGIN CERTIFICATE/g)?.length, 2);
});

/** Secrets Manager, as far as a rotation needs it. */
class Secrets {
  versions: Record<string, { value: Fields; stages: string[] }> = {};
  async send(command: any): Promise<any> {
    const { input } = command;
    switch (command.constructor.name) {
      case 'DescribeSecretCommand':
        return { VersionIdsToStages: Object.fromEntries(Object.entries(this.versions).map(([id, { stages }]) => [id, stages])) };
      case 'GetSecretValueCommand': {
        const found = Object.entries(this.versions).find(
          ([id, { stages, value }]) => (!input.VersionId || id === input.VersionId) && stages.includes(input.VersionStage) && Object.keys(value).length > 0);
        if (found) return { SecretString: JSON.stringify(found[1].value) };
        const { ResourceNotFoundException } = await import('@aws-sdk/client-secrets-manager');
        throw new ResourceNotFoundException({ message: 'none', $metadata: {} });
      }
      case 'PutSecretValueCommand':
        this.versions[input.ClientRequestToken] = { value: JSON.parse(input.SecretString), stages: input.VersionStages };
        return {};
      case 'UpdateSecretVersionStageCommand':
        this.versions[input.RemoveFromVersionId]!.stages = ['AWSPREVIOUS'];
        this.versions[input.MoveToVersionId]!.stages = ['AWSCURRENT'];
        return {};
    }
  }
}

test('a rotation has four steps, each of which may come twice', async () => {
  const secrets = new Secrets();
  secrets.versions = { old: { value: { n: '1' }, stages: ['AWSCURRENT'] }, new: { value: {}, stages: ['AWSPENDING'] } };
  const calls: string[] = [];
  const kind = {
    create: async ({ n }: Fields) => (calls.push('create'), { n: String(Number(n) + 1) }),
    set: async (pending: Fields, current: Fields) => void calls.push(`set ${current.n} to ${pending.n}`),
    test: async (pending: Fields) => void calls.push(`test ${pending.n}`),
    finished: async (current: Fields) => void calls.push(`finished ${current.n}`),
  };
  for (const Step of ['createSecret', 'createSecret', 'setSecret', 'testSecret', 'finishSecret', 'finishSecret'] as RotationEvent['Step'][]) {
    await rotate(secrets as any, { SecretId: 's', ClientRequestToken: 'new', Step }, kind);
  }
  assert.deepEqual(calls, ['create', 'set 1 to 2', 'test 2', 'finished 2']);
  assert.deepEqual(secrets.versions.old?.stages, ['AWSPREVIOUS']);
});

test('two logins take turns in a database, and cannot enter another one', async () => {
  const port = Number(process.env.MEDISYNC_TEST_POSTGRES_PORT);
  assert.ok(port, 'MEDISYNC_TEST_POSTGRES_PORT: where check.sh has started a server');
  const superuser: Login = { host: '127.0.0.1', port, user: 'postgres', password: 'postgres', database: 'postgres', ssl: false };
  const admin = new pg.Client(superuser);
  await admin.connect();
  await admin.query("CREATE ROLE master LOGIN CREATEDB CREATEROLE PASSWORD 'master'");
  await admin.query('GRANT CONNECT ON DATABASE postgres TO master');
  await admin.end();
  const master = { ...superuser, user: 'master', password: 'master' };
  const login = (user: string, password: string, database: string): Login => ({ ...master, user, password, database });

  await makeLogin(master, 'ward', otherLogin('ward', undefined), 'one');
  const first = login('ward_a', 'one', 'ward');
  await tryLogin(first, 'ward');
  const before = new pg.Client(first);
  await before.connect();
  await before.query('CREATE TABLE beds (n int)');

  await makeLogin(master, 'ward', otherLogin('ward', 'ward_a'), 'two');
  await makeLogin(master, 'ward', otherLogin('ward', 'ward_a'), 'two');
  const second = login('ward_b', 'two', 'ward');
  await tryLogin(second, 'ward');
  const after = new pg.Client(second);
  await after.connect();
  await after.query('ALTER TABLE beds ADD COLUMN name text');
  await before.query("INSERT INTO beds VALUES (1, 'by the window')");
  await Promise.all([before.end(), after.end()]);
  await tryLogin(first, 'ward');

  await makeLogin(master, 'ward', otherLogin('ward', 'ward_b'), 'three');
  await assert.rejects(tryLogin(first, 'ward'), /password authentication failed/);
  await tryLogin({ ...first, password: 'three' }, 'ward');

  await makeLogin(master, 'kitchen', 'kitchen_a', 'soup');
  await assert.rejects(tryLogin(login('kitchen_a', 'soup', 'ward'), 'kitchen'), /permission denied/);
});
