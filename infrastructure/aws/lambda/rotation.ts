// The four steps of a rotation, as Secrets Manager calls them, one after the other.
import {
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceNotFoundException,
  SecretsManagerClient,
  UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';

export interface RotationEvent {
  SecretId: string;
  ClientRequestToken: string;
  Step: 'createSecret' | 'setSecret' | 'testSecret' | 'finishSecret';
}

export type Fields = Record<string, string>;

/** What is particular to one kind of secret. Every step may be called again. */
export interface Kind {
  /** The new value, from the one in force. */
  create(current: Fields): Promise<Fields>;
  /** Makes it true. */
  set(pending: Fields, current: Fields): Promise<void>;
  /** Finds out whether it is. */
  test(pending: Fields): Promise<void>;
  /** After it came into force. */
  finished?(current: Fields): Promise<void>;
}

export async function read(client: SecretsManagerClient, SecretId: string, VersionStage = 'AWSCURRENT'): Promise<Fields> {
  const value = await client.send(new GetSecretValueCommand({ SecretId, VersionStage }));
  return JSON.parse(value.SecretString ?? '{}');
}

export async function rotate(client: SecretsManagerClient, event: RotationEvent, kind: Kind): Promise<void> {
  const { SecretId, ClientRequestToken: token } = event;
  const versions = (await client.send(new DescribeSecretCommand({ SecretId }))).VersionIdsToStages ?? {};
  const stages = versions[token];
  if (!stages) throw new Error('the version is not one of this secret');
  if (stages.includes('AWSCURRENT')) return;
  switch (event.Step) {
    case 'createSecret': {
      if (await pendingExists(client, SecretId, token)) return;
      const next = await kind.create(await read(client, SecretId));
      await client.send(new PutSecretValueCommand({
        SecretId,
        ClientRequestToken: token,
        SecretString: JSON.stringify(next),
        VersionStages: ['AWSPENDING'],
      }));
      return;
    }
    case 'setSecret':
      return kind.set(await read(client, SecretId, 'AWSPENDING'), await read(client, SecretId));
    case 'testSecret':
      return kind.test(await read(client, SecretId, 'AWSPENDING'));
    case 'finishSecret': {
      const current = Object.keys(versions).find((id) => versions[id]?.includes('AWSCURRENT'));
      await client.send(new UpdateSecretVersionStageCommand({
        SecretId,
        VersionStage: 'AWSCURRENT',
        MoveToVersionId: token,
        RemoveFromVersionId: current,
      }));
      await kind.finished?.(await read(client, SecretId));
    }
  }
}

async function pendingExists(client: SecretsManagerClient, SecretId: string, VersionId: string): Promise<boolean> {
  try {
    await client.send(new GetSecretValueCommand({ SecretId, VersionId, VersionStage: 'AWSPENDING' }));
    return true;
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return false;
    throw error;
  }
}
