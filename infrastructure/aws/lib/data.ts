// PostgreSQL: one server, a database for each service, and for each service two logins that take
// turns (lambda/postgres.ts), so that a rotation breaks nobody's connection.
import { Duration, RemovalPolicy, aws_ec2 as ec2, aws_iam as iam, aws_rds as rds, aws_secretsmanager as sm, SecretValue } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import { makeFunction } from './functions.ts';
import type { Network } from './network.ts';
import { databaseParts, type PartName } from './policy.ts';
import type { Stage } from './stage.ts';

export class Data extends Construct {
  readonly instance: rds.DatabaseInstance;
  /** By part: JSON whose `url` is the part's database setting. */
  readonly secrets = new Map<PartName, sm.Secret>();
  readonly rotations: sm.RotationSchedule[] = [];

  constructor(scope: Construct, id: string, stage: Stage, network: Network) {
    super(scope, id);
    const engine = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.of('17.9', '17') });
    const { instance, storageGiB, multiAz, backupDays } = stage.database;
    this.instance = new rds.DatabaseInstance(this, 'Postgres', {
      engine,
      instanceType: new ec2.InstanceType(instance),
      vpc: network.vpc,
      vpcSubnets: network.subnets('stores'),
      securityGroups: [network.group('postgres')],
      // Overridden below: RDS makes, keeps and rotates the master's password itself.
      credentials: rds.Credentials.fromPassword('medisync', SecretValue.unsafePlainText('unused')),
      allocatedStorage: storageGiB,
      maxAllocatedStorage: storageGiB * 5,
      storageEncrypted: true,
      multiAz,
      backupRetention: Duration.days(backupDays),
      deletionProtection: stage.keep,
      removalPolicy: stage.keep ? RemovalPolicy.SNAPSHOT : RemovalPolicy.DESTROY,
      copyTagsToSnapshot: true,
      autoMinorVersionUpgrade: true,
      enablePerformanceInsights: stage.keep,
      cloudwatchLogsExports: ['postgresql', 'upgrade'],
      parameterGroup: new rds.ParameterGroup(this, 'Parameters', {
        engine,
        description: 'MediSync: TLS only; slow statements are logged without their values',
        parameters: {
          'rds.force_ssl': '1',
          log_min_duration_statement: '1000',
          log_parameter_max_length: '0',
          log_parameter_max_length_on_error: '0',
        },
      }),
    });
    const master = this.instance.node.defaultChild as rds.CfnDBInstance;
    master.masterUserPassword = undefined;
    master.manageMasterUserPassword = true;

    const rotate = makeFunction(this, 'postgres', stage, network, {
      environment: { MASTER: master.attrMasterUserSecretSecretArn, HOST: this.instance.dbInstanceEndpointAddress },
    });
    rotate.addToRolePolicy(new iam.PolicyStatement({
      actions: ['secretsmanager:GetSecretValue'],
      resources: [master.attrMasterUserSecretSecretArn],
    }));
    for (const part of databaseParts) this.makeSecret(part, stage, rotate);
  }

  private makeSecret(part: PartName, stage: Stage, rotate: ReturnType<typeof makeFunction>): void {
    const secret = new sm.Secret(this, `Secret-${part}`, {
      secretName: `medisync/${stage.name}/${part}/database`,
      description: `MediSync: the database of ${part}`,
      generateSecretString: {
        secretStringTemplate: JSON.stringify({ service: part }),
        generateStringKey: 'seed',
        excludePunctuation: true,
      },
      removalPolicy: stage.keep ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
    this.secrets.set(part, secret);
    // The first rotation, at once, makes the database, its roles and the URL.
    const schedule = secret.addRotationSchedule('Rotation', {
      rotationLambda: rotate,
      automaticallyAfter: Duration.days(30),
      rotateImmediatelyOnUpdate: true,
    });
    schedule.node.addDependency(this.instance);
    this.rotations.push(schedule);
  }
}
