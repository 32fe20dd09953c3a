// A service's database, and the two logins that take turns in it.
//
// The database belongs to a role that nobody logs in as (`patient`). `patient_a` and `patient_b` are
// members of it and become it when they connect, so what one makes is not the other's to ask for.
// A rotation gives a new password to the one that is not in use: connections of the other one, and
// new ones that tasks open until they are replaced, go on.
import pg from 'pg';

export interface Login {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  ssl: boolean;
}

const { escapeIdentifier: name, escapeLiteral: text } = pg;

async function within<T>(login: Login, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    ...login,
    ssl: login.ssl ? { rejectUnauthorized: false } : undefined,
    connectionTimeoutMillis: 10_000,
    statement_timeout: 30_000,
  });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The login that is not in use. */
export function otherLogin(service: string, current: string | undefined): string {
  return current === `${service}_a` ? `${service}_b` : `${service}_a`;
}

/** Makes what is missing, and gives this login this password. Can be called again. */
export async function makeLogin(master: Login, service: string, user: string, password: string): Promise<void> {
  await within(master, async (client) => {
    const exists = async (query: string, value: string) => (await client.query(query, [value])).rowCount !== 0;
    const role = (value: string) => exists('SELECT FROM pg_roles WHERE rolname = $1', value);
    if (!(await role(service))) await client.query(`CREATE ROLE ${name(service)} NOLOGIN`);
    // Who makes a role may not yet become it, and so not make databases for it.
    await client.query(`GRANT ${name(service)} TO CURRENT_USER WITH SET TRUE, INHERIT TRUE`);
    if (!(await exists('SELECT FROM pg_database WHERE datname = $1', service))) {
      await client.query(`CREATE DATABASE ${name(service)} OWNER ${name(service)}`);
    }
    await client.query(`REVOKE ALL ON DATABASE ${name(service)} FROM PUBLIC`);
    if (!(await role(user))) await client.query(`CREATE ROLE ${name(user)} NOINHERIT`);
    await client.query(`GRANT ${name(service)} TO ${name(user)}`);
    // To connect is a right of its own: it does not come with a role that is not inherited.
    await client.query(`GRANT CONNECT ON DATABASE ${name(service)} TO ${name(user)}`);
    await client.query(`ALTER ROLE ${name(user)} IN DATABASE ${name(service)} SET role = ${text(service)}`);
    await client.query(`ALTER ROLE ${name(user)} WITH LOGIN CONNECTION LIMIT 100 PASSWORD ${text(password)}`);
  });
  await within({ ...master, database: service }, async (client) => {
    await client.query(`ALTER SCHEMA public OWNER TO ${name(service)}`);
    await client.query('REVOKE ALL ON SCHEMA public FROM PUBLIC');
  });
}

/** Fails unless this login works and acts as the service. */
export async function tryLogin(login: Login, service: string): Promise<void> {
  const { rows } = await within(login, (client) => client.query('SELECT current_user AS role'));
  if (rows[0]?.role !== service) throw new Error(`the login does not act as ${service}`);
}
