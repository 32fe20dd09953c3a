// The table of who may call whom (../policy.json), with its names resolved.
import { readFileSync } from 'node:fs';

export type PartName = 'gateway' | 'auth' | 'patient' | 'billing' | 'analytics' | 'notification';

export interface PartRow {
  ports: Record<string, number>;
  logGroup: string;
  database?: boolean;
  events?: boolean;
}

export interface Path {
  from: string;
  to: string;
  port: number;
}

interface Table {
  parts: Record<PartName, PartRow>;
  adminPort: number;
  paths: { from: string; to: string; port: string | number }[];
  aws: { paths: Path[] };
}

const table: Table = JSON.parse(readFileSync(new URL('../../policy.json', import.meta.url), 'utf8'));

// MSK's listener for SASL/SCRAM over TLS; SES's for submission.
const ELSEWHERE: Record<string, number> = { 'kafka:events': 9096, 'mail:smtp': 587 };

export const parts = table.parts;
export const partNames = Object.keys(table.parts) as PartName[];
export const databaseParts = partNames.filter((part) => parts[part].database);
export const eventParts = partNames.filter((part) => parts[part].events);

/** Every path: the mesh's, and what AWS needs beside. */
export const paths: Path[] = [
  ...table.paths.map(({ from, to, port }) => ({ from, to, port: portOf(to, port) })),
  ...table.aws.paths,
];

function portOf(to: string, port: string | number): number {
  if (typeof port === 'number') return port;
  const found = parts[to as PartName]?.ports[port] ?? ELSEWHERE[`${to}:${port}`];
  if (found === undefined) throw new Error(`policy.json: ${to} has no port ${port}`);
  return found;
}
