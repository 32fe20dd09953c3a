// Identities: the mesh's authority, which lives in Secrets Manager, and the parts' certificates,
// which live on EFS, each part's in a folder that only this part can mount. A function issues them
// every six hours for a day; parts read what changed by themselves.
import { Duration, RemovalPolicy, aws_efs as efs, aws_events as events, aws_events_targets as targets, aws_iam as iam, aws_lambda as lambda, aws_secretsmanager as sm } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import { makeFunction } from './functions.ts';
import type { Network } from './network.ts';
import { partNames, type PartName } from './policy.ts';
import type { Stage } from './stage.ts';

/** The user of the images. */
const USER = '65532';

export class Mesh extends Construct {
  readonly files: efs.FileSystem;
  readonly authority: sm.Secret;
  readonly auditKey: sm.Secret;
  readonly rotation: sm.RotationSchedule;
  /** By part: where its certificate is. */
  readonly certificates = new Map<PartName, efs.AccessPoint>();
  /** Auth's signing keys. */
  readonly keys: efs.AccessPoint;

  constructor(scope: Construct, id: string, stage: Stage, network: Network) {
    super(scope, id);
    const removalPolicy = stage.keep ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY;
    this.files = new efs.FileSystem(this, 'Files', {
      vpc: network.vpc,
      vpcSubnets: network.subnets('stores'),
      securityGroup: network.group('files'),
      encrypted: true,
      // Certificates are made again; keys are worth a backup.
      enableAutomaticBackups: true,
      removalPolicy,
    });
    const issuing = this.accessPoint('Issuing', '/mesh');
    for (const part of partNames) {
      this.certificates.set(part, this.accessPoint(`Certificate-${part}`, `/mesh/${part}`));
    }
    this.keys = this.accessPoint('Keys', '/keys');

    this.authority = new sm.Secret(this, 'Authority', {
      secretName: `medisync/${stage.name}/mesh/authority`,
      description: 'MediSync: the authority of the mesh. With it anybody can be any part.',
      generateSecretString: { secretStringTemplate: '{}', generateStringKey: 'seed' },
      removalPolicy,
    });
    this.auditKey = new sm.Secret(this, 'AuditKey', {
      secretName: `medisync/${stage.name}/mesh/audit-key`,
      description: 'MediSync: what audit logs are sealed with. They can be verified by no other.',
      // 64 hexadecimal digits.
      generateSecretString: {
        passwordLength: 64,
        excludePunctuation: true,
        excludeUppercase: true,
        excludeCharacters: 'ghijklmnopqrstuvwxyz',
        requireEachIncludedType: false,
      },
      removalPolicy,
    });
    const issue = makeFunction(this, 'mesh', stage, network, {
      environment: { AUTHORITY: this.authority.secretArn, FOLDER: '/mnt/mesh', PARTS: partNames.join(',') },
      filesystem: lambda.FileSystem.fromEfsAccessPoint(issuing, '/mnt/mesh'),
      // Two that write the same files would leave certificates beside keys of other ones.
      reservedConcurrentExecutions: 1,
    });
    this.authority.grantRead(issue);
    this.rotation = this.authority.addRotationSchedule('Rotation', {
      rotationLambda: issue,
      automaticallyAfter: Duration.days(90),
      rotateImmediatelyOnUpdate: true,
    });
    this.rotation.node.addDependency(this.files.mountTargetsAvailable);
    new events.Rule(this, 'Renewal', {
      description: 'MediSync: certificates of a day, four times a day',
      schedule: events.Schedule.rate(Duration.hours(6)),
      targets: [new targets.LambdaFunction(issue, { retryAttempts: 2 })],
    });
  }

  /** Lets a task mount one folder, and no other. */
  grantMount(role: iam.IGrantable, point: efs.AccessPoint, write: boolean): void {
    const actions = ['elasticfilesystem:ClientMount'];
    if (write) actions.push('elasticfilesystem:ClientWrite');
    iam.Grant.addToPrincipal({
      grantee: role,
      actions,
      resourceArns: [this.files.fileSystemArn],
      conditions: { StringEquals: { 'elasticfilesystem:AccessPointArn': point.accessPointArn } },
    });
  }

  private accessPoint(id: string, path: string): efs.AccessPoint {
    return this.files.addAccessPoint(id, {
      path,
      posixUser: { uid: USER, gid: USER },
      createAcl: { ownerUid: USER, ownerGid: USER, permissions: '700' },
    });
  }
}
