// Rotates the login of a part to the event log. MSK takes the new password from the secret itself.
import { randomBytes } from 'node:crypto';

import { GetBootstrapBrokersCommand, KafkaClient } from '@aws-sdk/client-kafka';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

import { restart } from './restart.ts';
import { rotate, type RotationEvent } from './rotation.ts';

const client = new SecretsManagerClient({});

export const handler = (event: RotationEvent): Promise<void> =>
  rotate(client, event, {
    async create({ username = '' }) {
      const brokers = await new KafkaClient({}).send(new GetBootstrapBrokersCommand({ ClusterArn: process.env.CLUSTER }));
      const password = randomBytes(24).toString('hex');
      // Brokers show certificates of a public authority.
      const query = 'sasl=SCRAM-SHA-512&sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt';
      const url = `kafka://${username}:${password}@${brokers.BootstrapBrokerStringSaslScram}?${query}`;
      return { username, password, url };
    },
    async set() {},
    async test({ url = '' }) {
      if (!/^kafka:\/\/[a-z]+:[0-9a-f]{48}@[^@?]+:\d+\?/.test(url)) throw new Error('the cluster has no brokers yet');
    },
    async finished({ username = '' }) {
      await restart(username);
    },
  });
