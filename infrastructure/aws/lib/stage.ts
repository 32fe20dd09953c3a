// What differs between stages, and nothing else may.
import type { App } from 'aws-cdk-lib';

export interface Stage {
  name: 'dev' | 'prod';
  region: string;
  /** Of the images in ECR: medisync/gateway:TAG and so on. */
  tag: string;
  /** The ACM certificate of the public name. */
  certificate: string;
  /** The name of a secret whose key `url` is smtps://user:pass@host:port; without it no mail is sent. */
  smtpSecret?: string;
  /** Where alarms go. */
  email?: string;
  replicas: { min: number; max: number };
  task: { cpu: number; memoryMiB: number };
  database: { instance: string; storageGiB: number; multiAz: boolean; backupDays: number };
  kafka: { version: string; instance: string; brokers: number; storageGiB: number; replication: number };
  logDays: number;
  /** Whether data outlives the stack. */
  keep: boolean;
}

const STAGES = {
  dev: {
    replicas: { min: 1, max: 2 },
    task: { cpu: 256, memoryMiB: 512 },
    database: { instance: 't4g.micro', storageGiB: 20, multiAz: false, backupDays: 1 },
    kafka: { version: '3.9.x', instance: 'kafka.t3.small', brokers: 2, storageGiB: 10, replication: 2 },
    logDays: 7,
    keep: false,
  },
  prod: {
    replicas: { min: 2, max: 10 },
    task: { cpu: 512, memoryMiB: 1024 },
    database: { instance: 'm7g.large', storageGiB: 100, multiAz: true, backupDays: 35 },
    // Two a zone: three copies, of which one may be away.
    kafka: { version: '3.9.x', instance: 'kafka.m7g.large', brokers: 4, storageGiB: 100, replication: 3 },
    logDays: 365,
    keep: true,
  },
} as const;

/** The stage that the context names; everything that is wrong with the context is told at once. */
export function stageOf(app: App): Stage {
  const given = (key: string): string | undefined => app.node.tryGetContext(key) || undefined;
  const faults: string[] = [];
  const name = given('stage') ?? 'dev';
  if (name !== 'dev' && name !== 'prod') faults.push('stage: must be dev or prod');
  const certificate = given('certificate') ?? '';
  if (!/^arn:aws[a-z-]*:acm:/.test(certificate)) {
    faults.push('certificate: the ARN of the ACM certificate of the public name');
  }
  if (faults.length > 0) throw new Error(`the context is not valid:\n  ${faults.join('\n  ')}`);
  const chosen = name as Stage['name'];
  return {
    name: chosen,
    region: given('region') ?? 'eu-central-1',
    tag: given('tag') ?? 'latest',
    certificate,
    smtpSecret: given('smtpSecret'),
    email: given('email'),
    ...STAGES[chosen],
  };
}
