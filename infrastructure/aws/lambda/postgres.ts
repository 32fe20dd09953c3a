// Rotates the login of a service to PostgreSQL; the first rotation makes its database.
import { randomBytes } from 'node:crypto';

import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

import { makeLogin, otherLogin, tryLogin, type Login } from './postgres-logins.ts';
import { restart } from './restart.ts';
import { read, rotate, type Fields, type RotationEvent } from './rotation.ts';

const client = new SecretsManagerClient({});
const host = () => process.env.HOST ?? '';

async function master(): Promise<Login> {
  const { username, password } = await read(client, process.env.MASTER ?? '');
  return { host: host(), port: 5432, user: username ?? '', password: password ?? '', database: 'postgres', ssl: true };
}

function loginOf(secret: Fields): Login {
  const { username = '', password = '', service = '' } = secret;
  return { host: host(), port: 5432, user: username, password, database: service, ssl: true };
}

export const handler = (event: RotationEvent): Promise<void> =>
  rotate(client, event, {
    async create({ service = '', username }) {
      const [user, password] = [otherLogin(service, username), randomBytes(24).toString('hex')];
      const url = `postgres://${user}:${password}@${host()}:5432/${service}?sslmode=require`;
      return { service, username: user, password, url };
    },
    async set({ service = '', username = '', password = '' }) {
      await makeLogin(await master(), service, username, password);
    },
    async test(pending) {
      await tryLogin(loginOf(pending), pending.service ?? '');
    },
    async finished({ service = '' }) {
      await restart(service);
    },
  });
