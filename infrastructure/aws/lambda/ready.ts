// Answers CloudFormation when every secret has been rotated once.
import { DescribeSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

interface Request {
  RequestType: 'Create' | 'Update' | 'Delete';
  ResponseURL: string;
  StackId: string;
  RequestId: string;
  LogicalResourceId: string;
  ResourceProperties: { Secrets: string[] };
}

const WAITS_MS = 12 * 60_000;
const LOOKS_EVERY_MS = 5_000;

async function rotated(client: SecretsManagerClient, SecretId: string): Promise<boolean> {
  const { LastRotatedDate } = await client.send(new DescribeSecretCommand({ SecretId }));
  return LastRotatedDate !== undefined;
}

async function wait(secrets: string[]): Promise<void> {
  const client = new SecretsManagerClient({});
  const until = Date.now() + WAITS_MS;
  for (const secret of secrets) {
    while (!(await rotated(client, secret))) {
      if (Date.now() > until) throw new Error(`${secret} was not rotated: see the log of its function`);
      await new Promise((done) => setTimeout(done, LOOKS_EVERY_MS));
    }
  }
}

export async function handler(request: Request): Promise<void> {
  let [Status, Reason] = ['SUCCESS', ''];
  try {
    if (request.RequestType !== 'Delete') await wait(request.ResourceProperties.Secrets);
  } catch (error) {
    [Status, Reason] = ['FAILED', String(error)];
  }
  const { StackId, RequestId, LogicalResourceId } = request;
  const body = JSON.stringify({ Status, Reason, PhysicalResourceId: 'rotated', StackId, RequestId, LogicalResourceId });
  await fetch(request.ResponseURL, { method: 'PUT', body });
}
