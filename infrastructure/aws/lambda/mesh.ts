// Issues the parts' certificates, and rotates the authority that does so.
//
// A new authority is trusted before it issues: first every part's ca.pem has both, and only the next
// renewal, hours later, issues by the new one. So there is no moment at which two parts do not know
// each other's authority.
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

import { issue, makeAuthority, publish, type Authority } from './certificates.ts';
import { read, rotate, type Fields, type RotationEvent } from './rotation.ts';

const client = new SecretsManagerClient({});
const folder = () => process.env.FOLDER ?? '';
const parts = () => (process.env.PARTS ?? '').split(',');

const trustedBy = (...secrets: Fields[]) => [
  ...new Set(secrets.flatMap(({ certificate, previous }) => [certificate, previous]).filter((pem) => pem !== undefined)),
];

async function trust(...secrets: Fields[]): Promise<void> {
  for (const part of parts()) await publish(folder(), part, trustedBy(...secrets));
}

async function issueAll(current: Fields): Promise<void> {
  const authority: Authority = { certificate: current.certificate ?? '', key: current.key ?? '' };
  for (const part of parts()) {
    await publish(folder(), part, trustedBy(current), await issue(authority, part));
  }
}

export async function handler(event: RotationEvent | { source: string }): Promise<void> {
  const authority = process.env.AUTHORITY ?? '';
  if (!('Step' in event)) {
    const current = await read(client, authority);
    if (current.certificate) await issueAll(current);
    return;
  }
  await rotate(client, event, {
    async create({ certificate }) {
      const next = await makeAuthority();
      return { ...next, ...(certificate && { previous: certificate }) };
    },
    set: (pending, current) => trust(pending, current),
    async test(pending) {
      await issue({ certificate: pending.certificate ?? '', key: pending.key ?? '' }, 'gateway');
    },
    async finished(current) {
      // The first one has nobody to wait for.
      if (!current.previous) await issueAll(current);
    },
  });
}
