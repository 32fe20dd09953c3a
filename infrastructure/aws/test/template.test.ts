// What was promised of the deployment: containers, secrets, stores, logs, tags.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { databaseParts, eventParts, partNames, parts } from '../lib/policy.ts';
import { stageOf } from '../lib/stage.ts';
import { appOf, Synthesised } from './stack.ts';

const stages = { dev: new Synthesised({ stage: 'dev' }), prod: new Synthesised({ stage: 'prod' }) };
const { prod } = stages;
const one = (stack: Synthesised, type: string) => {
  const found = stack.ofType(type);
  assert.equal(found.length, 1, type);
  return found[0]![1].Properties;
};

for (const [name, stack] of Object.entries(stages)) {
  test(`${name}: cdk-nag finds nothing that is not explained`, () => assert.deepEqual(stack.findings, []));

  test(`${name}: every container is hardened and says how it is`, () => {
    for (const part of partNames) {
      const container = stack.container(part);
      assert.equal(container.ReadonlyRootFilesystem, true);
      assert.equal(container.User, '65532:65532');
      assert.deepEqual(container.LinuxParameters.Capabilities.Drop, ['ALL']);
      assert.deepEqual(container.HealthCheck.Command, ['CMD', '/usr/bin/medisync', 'healthcheck']);
      assert.deepEqual(container.Command, ['run', part]);
      assert.equal(container.Environment.find((v: any) => v.Name === 'MEDISYNC_MESH__MTLS').Value, 'strict');
    }
  });

  test(`${name}: every secret is rotated but the key of audit logs`, () => {
    const rotated = stack.ofType('AWS::SecretsManager::RotationSchedule').map(([, { Properties }]) => {
      assert.equal(Properties.RotateImmediatelyOnUpdate, true);
      return Properties.SecretId.Ref;
    });
    const secrets = stack.ofType('AWS::SecretsManager::Secret');
    // An audit log is verified with the key that it was begun with.
    const others = secrets.filter(([, { Properties }]) => !Properties.Name.endsWith('/audit-key'));
    assert.deepEqual(rotated.sort(), others.map(([id]) => id).sort());
    assert.equal(secrets.length, others.length + 1);
    assert.equal(one(stack, 'AWS::RDS::DBInstance').ManageMasterUserPassword, true);
    assert.equal(one(stack, 'AWS::RDS::DBInstance').MasterUserPassword, undefined);
  });

  test(`${name}: everything that can be tagged is`, () => {
    for (const type of ['AWS::ECS::Service', 'AWS::RDS::DBInstance', 'AWS::SecretsManager::Secret', 'AWS::EC2::SecurityGroup']) {
      for (const [id, { Properties }] of stack.ofType(type)) {
        const tags = Object.fromEntries(Properties.Tags.map((tag: any) => [tag.Key, tag.Value]));
        assert.equal(tags.application, 'medisync', id);
        assert.equal(tags.stage, name, id);
      }
    }
  });
}

test('a part gets its own secrets, as secrets', () => {
  for (const part of partNames) {
    const { Secrets = [], Environment } = prod.container(part);
    const wanted = [
      ...(databaseParts.includes(part) ? ['MEDISYNC_AUDIT__KEY'] : []),
      ...(databaseParts.includes(part) ? [`MEDISYNC_${part.toUpperCase()}__DATABASE`] : []),
      ...(eventParts.includes(part) ? ['MEDISYNC_EVENTS__LOG'] : []),
    ];
    assert.deepEqual(Secrets.map((secret: any) => secret.Name).sort(), wanted.sort(), part);
    for (const { Name } of Environment) assert.doesNotMatch(Name, /DATABASE|SMTP|EVENTS__LOG|PASSWORD|TOKEN|AUDIT__KEY/);
  }
});

test('a task may read the secrets of its part only', () => {
  const secrets = new Map(prod.ofType('AWS::SecretsManager::Secret').map(([id, { Properties }]) => [id, Properties.Name as string]));
  for (const part of partNames) {
    const read = prod.ofType('AWS::IAM::Policy')
      .filter(([id]) => id.startsWith(`ServicesTask${part}ExecutionRole`))
      .flatMap(([, { Properties }]) => Properties.PolicyDocument.Statement)
      .filter((statement: any) => [statement.Action].flat().includes('secretsmanager:GetSecretValue'))
      .flatMap((statement: any) => [statement.Resource].flat())
      .map((resource: any) => secrets.get(resource.Ref));
    // All with a store seal their audit logs with one key.
    const own = read.filter((name) => !name!.endsWith('/audit-key'));
    for (const name of own) assert.match(name!, new RegExp(`[/_]${part}(/|$)`), part);
    assert.equal(own.length, Number(!!parts[part].database) + Number(!!parts[part].events), part);
    assert.equal(read.length - own.length, Number(!!parts[part].database), part);
  }
});

test('a task may mount the certificates of its part only', () => {
  const points = new Map(prod.ofType('AWS::EFS::AccessPoint').map(([id, { Properties }]) => [id, Properties.RootDirectory.Path as string]));
  for (const part of partNames) {
    const mounted = prod.ofType('AWS::IAM::Policy')
      .filter(([id]) => id.startsWith(`ServicesTask${part}TaskRole`))
      .flatMap(([, { Properties }]) => Properties.PolicyDocument.Statement)
      .map((statement: any) => points.get(statement.Condition.StringEquals['elasticfilesystem:AccessPointArn']['Fn::Join'][1].at(-1).Ref));
    assert.deepEqual(mounted.sort(), part === 'auth' ? ['/keys', '/mesh/auth'] : [`/mesh/${part}`]);
  }
});

test('logs go where they always went', () => {
  const names = prod.ofType('AWS::Logs::LogGroup').map(([, { Properties }]) => Properties.LogGroupName).filter((name) => typeof name === 'string');
  assert.deepEqual(names.sort(), [
    '/ecs/analytics-service', '/ecs/api-gateway', '/ecs/auth-service',
    '/ecs/billing-service', '/ecs/notification-service', '/ecs/patient-service',
  ]);
  for (const [, { Properties }] of prod.ofType('AWS::Logs::LogGroup')) assert.ok(Properties.RetentionInDays > 0);
});

test('stores are encrypted, and nobody comes in without TLS', () => {
  const database = one(prod, 'AWS::RDS::DBInstance');
  assert.equal(database.StorageEncrypted, true);
  assert.equal(database.PubliclyAccessible ?? false, false);
  assert.equal(database.MultiAZ, true);
  assert.equal(database.DeletionProtection, true);
  assert.equal(one(prod, 'AWS::RDS::DBParameterGroup').Parameters['rds.force_ssl'], '1');
  const cluster = one(prod, 'AWS::MSK::Cluster');
  assert.equal(cluster.EncryptionInfo.EncryptionInTransit.ClientBroker, 'TLS');
  assert.equal(cluster.ClientAuthentication.Unauthenticated.Enabled, false);
  assert.equal(one(prod, 'AWS::EFS::FileSystem').Encrypted, true);
});

test('clients come by HTTPS', () => {
  const listeners = prod.ofType('AWS::ElasticLoadBalancingV2::Listener').map(([, { Properties }]) => Properties);
  assert.deepEqual(listeners.map((listener) => `${listener.Protocol} ${listener.DefaultActions[0].Type}`).sort(), ['HTTP redirect', 'HTTPS forward']);
});

test('prod keeps its data when the stack goes', () => {
  for (const type of ['AWS::RDS::DBInstance', 'AWS::MSK::Cluster', 'AWS::EFS::FileSystem', 'AWS::SecretsManager::Secret']) {
    for (const [id, resource] of prod.ofType(type)) assert.match(resource.DeletionPolicy!, /Retain|Snapshot/, id);
  }
});

test('a part scales and is watched', () => {
  assert.equal(prod.ofType('AWS::ApplicationAutoScaling::ScalableTarget').length, partNames.length);
  for (const [id, { Properties }] of prod.ofType('AWS::CloudWatch::Alarm')) assert.equal(Properties.AlarmActions.length, 1, id);
  const alarms = prod.ofType('AWS::CloudWatch::Alarm').map(([, { Properties }]) => Properties.AlarmDescription as string);
  for (const part of partNames) assert.ok(alarms.some((text) => text.includes(`${part}-running`)), part);
});

test('a context that is not valid is refused, and says why', () => {
  assert.throws(() => stageOf(appOf({ stage: 'staging' })), /stage: must be dev or prod\n.*certificate: the ARN/);
});
