// MSK: TLS only, a SCRAM login for each part that publishes or consumes.
import { Duration, RemovalPolicy, aws_iam as iam, aws_kms as kms, aws_logs as logs, aws_msk as msk, aws_secretsmanager as sm } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import { makeFunction } from './functions.ts';
import type { Network } from './network.ts';
import { eventParts, type PartName } from './policy.ts';
import type { Stage } from './stage.ts';

export class Events extends Construct {
  readonly cluster: msk.CfnCluster;
  readonly clusterName: string;
  /** By part: JSON whose `url` is the part's event log. */
  readonly secrets = new Map<PartName, sm.Secret>();
  readonly rotations: sm.RotationSchedule[] = [];

  constructor(scope: Construct, id: string, stage: Stage, network: Network) {
    super(scope, id);
    const { version, instance, brokers, storageGiB, replication } = stage.kafka;
    const removalPolicy = stage.keep ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY;
    this.clusterName = `medisync-${stage.name}`;
    // MSK takes logins only from secrets that are under a key of ours.
    const key = new kms.Key(this, 'Key', {
      description: 'MediSync: events at rest, and the logins to them',
      enableKeyRotation: true,
      removalPolicy,
    });
    const logGroup = new logs.LogGroup(this, 'BrokerLogs', { retention: stage.logDays as logs.RetentionDays, removalPolicy: RemovalPolicy.DESTROY });
    const configuration = new msk.CfnConfiguration(this, 'Configuration', {
      name: this.clusterName,
      kafkaVersionsList: [version],
      serverProperties: [
        'auto.create.topics.enable=false',
        `default.replication.factor=${replication}`,
        // An event is acknowledged when all but one copy have it.
        `min.insync.replicas=${replication - 1}`,
        'unclean.leader.election.enable=false',
      ].join('\n'),
    });
    this.cluster = new msk.CfnCluster(this, 'Cluster', {
      clusterName: this.clusterName,
      kafkaVersion: version,
      numberOfBrokerNodes: brokers,
      brokerNodeGroupInfo: {
        instanceType: instance,
        clientSubnets: network.vpc.selectSubnets(network.subnets('stores')).subnetIds,
        securityGroups: [network.group('kafka').securityGroupId],
        storageInfo: { ebsStorageInfo: { volumeSize: storageGiB } },
      },
      configurationInfo: { arn: configuration.attrArn, revision: configuration.attrLatestRevisionRevision },
      clientAuthentication: { sasl: { scram: { enabled: true } }, unauthenticated: { enabled: false } },
      encryptionInfo: {
        encryptionInTransit: { clientBroker: 'TLS', inCluster: true },
        encryptionAtRest: { dataVolumeKmsKeyId: key.keyArn },
      },
      enhancedMonitoring: 'PER_TOPIC_PER_BROKER',
      loggingInfo: { brokerLogs: { cloudWatchLogs: { enabled: true, logGroup: logGroup.logGroupName } } },
    });
    this.cluster.applyRemovalPolicy(removalPolicy);
    this.makeLogins(stage, key, removalPolicy);
  }

  private makeLogins(stage: Stage, key: kms.Key, removalPolicy: RemovalPolicy): void {
    // Calls AWS only, so it needs no place in the VPC.
    const rotate = makeFunction(this, 'kafka', stage, undefined, { environment: { CLUSTER: this.cluster.ref } });
    rotate.addToRolePolicy(new iam.PolicyStatement({ actions: ['kafka:GetBootstrapBrokers'], resources: [this.cluster.ref] }));
    for (const part of eventParts) {
      const secret = new sm.Secret(this, `Secret-${part}`, {
        // MSK insists on the beginning.
        secretName: `AmazonMSK_medisync_${stage.name}_${part}`,
        description: `MediSync: the login of ${part} to the event log`,
        encryptionKey: key,
        generateSecretString: {
          secretStringTemplate: JSON.stringify({ username: part }),
          generateStringKey: 'password',
          excludePunctuation: true,
        },
        removalPolicy,
      });
      this.secrets.set(part, secret);
      const schedule = secret.addRotationSchedule('Rotation', {
        rotationLambda: rotate,
        automaticallyAfter: Duration.days(30),
        rotateImmediatelyOnUpdate: true,
      });
      schedule.node.addDependency(this.cluster);
      this.rotations.push(schedule);
    }
    const logins = new msk.CfnBatchScramSecret(this, 'Logins', {
      clusterArn: this.cluster.ref,
      secretArnList: eventParts.map((part) => this.secrets.get(part)!.secretArn),
    });
    for (const rotation of this.rotations) rotation.node.addDependency(logins);
  }
}
