// A Fargate service for each part, found by the others in Cloud Map.
import { Duration, RemovalPolicy, aws_ecr as ecr, aws_ecs as ecs, aws_efs as efs, aws_events as events, aws_events_targets as targets, aws_logs as logs, aws_secretsmanager as sm, aws_servicediscovery as sd } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import type { Data } from './data.ts';
import type { Events } from './events.ts';
import type { Mesh } from './mesh.ts';
import { VPC_ADDRESSES, type Network } from './network.ts';
import { partNames, parts, type PartName } from './policy.ts';
import type { Stage } from './stage.ts';

const NAMESPACE = 'medisync.internal';
const url = (part: PartName, port: string) => `https://${part}.${NAMESPACE}:${parts[part].ports[port]}`;

export interface ServicesProps {
  stage: Stage;
  network: Network;
  data: Data;
  events: Events;
  mesh: Mesh;
}

export class Services extends Construct {
  readonly cluster: ecs.Cluster;
  readonly services = new Map<PartName, ecs.FargateService>();

  constructor(scope: Construct, id: string, private readonly props: ServicesProps) {
    super(scope, id);
    this.cluster = new ecs.Cluster(this, 'Cluster', {
      vpc: props.network.vpc,
      clusterName: `medisync-${props.stage.name}`,
      containerInsightsV2: ecs.ContainerInsights.ENABLED,
      defaultCloudMapNamespace: { name: NAMESPACE, type: sd.NamespaceType.DNS_PRIVATE, vpc: props.network.vpc },
    });
    for (const part of partNames) this.services.set(part, this.makeService(part));
    this.rotateSigningKeys();
  }

  service(part: PartName): ecs.FargateService {
    return this.services.get(part)!;
  }

  private makeService(part: PartName): ecs.FargateService {
    const { stage, network } = this.props;
    const service = new ecs.FargateService(this, `Service-${part}`, {
      serviceName: part,
      cluster: this.cluster,
      taskDefinition: this.makeTask(part),
      desiredCount: stage.replicas.min,
      // A new one is healthy before an old one is told to leave.
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      circuitBreaker: { enable: true, rollback: true },
      vpcSubnets: network.subnets('parts'),
      securityGroups: [network.group(part)],
      assignPublicIp: false,
      platformVersion: ecs.FargatePlatformVersion.VERSION1_4,
      propagateTags: ecs.PropagatedTagSource.SERVICE,
      // Callers look names up every five seconds.
      cloudMapOptions: { name: part, dnsTtl: Duration.seconds(5) },
      healthCheckGracePeriod: part === 'gateway' ? Duration.seconds(60) : undefined,
    });
    const scaling = service.autoScaleTaskCount({ minCapacity: stage.replicas.min, maxCapacity: stage.replicas.max });
    scaling.scaleOnCpuUtilization('Cpu', {
      targetUtilizationPercent: 60,
      scaleOutCooldown: Duration.seconds(60),
      scaleInCooldown: Duration.minutes(5),
    });
    return service;
  }

  private makeTask(part: PartName): ecs.FargateTaskDefinition {
    const { stage, mesh } = this.props;
    const task = new ecs.FargateTaskDefinition(this, `Task-${part}`, {
      family: `medisync-${stage.name}-${part}`,
      cpu: stage.task.cpu,
      memoryLimitMiB: stage.task.memoryMiB,
      runtimePlatform: { cpuArchitecture: ecs.CpuArchitecture.X86_64, operatingSystemFamily: ecs.OperatingSystemFamily.LINUX },
      // What may be written goes with the task; EFS needs its transit encrypted.
      volumes: [{ name: 'data' }, this.mounted('mesh', mesh.certificates.get(part)!)],
    });
    const container = task.addContainer(part, {
      image: ecs.ContainerImage.fromEcrRepository(
        ecr.Repository.fromRepositoryName(this, `Image-${part}`, `medisync/${part}`),
        stage.tag,
      ),
      command: ['run', part],
      environment: this.environment(part),
      secrets: this.secrets(part),
      portMappings: Object.entries(parts[part].ports).map(([name, containerPort]) => ({ name, containerPort })),
      healthCheck: {
        command: ['CMD', '/usr/bin/medisync', 'healthcheck'],
        interval: Duration.seconds(10),
        timeout: Duration.seconds(6),
        retries: 3,
        startPeriod: Duration.seconds(60),
      },
      logging: ecs.LogDrivers.awsLogs({ logGroup: this.makeLogGroup(part), streamPrefix: part, mode: ecs.AwsLogDriverMode.NON_BLOCKING }),
      readonlyRootFilesystem: true,
      // Longer than drain_seconds.
      stopTimeout: Duration.seconds(20),
      linuxParameters: this.withoutCapabilities(part),
      user: '65532:65532',
    });
    container.addUlimits({ name: ecs.UlimitName.NOFILE, softLimit: 65536, hardLimit: 65536 });
    container.addMountPoints(
      { sourceVolume: 'data', containerPath: '/data', readOnly: false },
      { sourceVolume: 'mesh', containerPath: '/mesh', readOnly: true },
    );
    mesh.grantMount(task.taskRole, mesh.certificates.get(part)!, false);
    if (part === 'auth') {
      task.addVolume(this.mounted('keys', mesh.keys));
      container.addMountPoints({ sourceVolume: 'keys', containerPath: '/keys', readOnly: false });
      mesh.grantMount(task.taskRole, mesh.keys, true);
    }
    return task;
  }

  private mounted(name: string, point: efs.AccessPoint): ecs.Volume {
    return {
      name,
      efsVolumeConfiguration: {
        fileSystemId: this.props.mesh.files.fileSystemId,
        transitEncryption: 'ENABLED',
        authorizationConfig: { accessPointId: point.accessPointId, iam: 'ENABLED' },
      },
    };
  }

  private withoutCapabilities(part: PartName): ecs.LinuxParameters {
    const parameters = new ecs.LinuxParameters(this, `Linux-${part}`, { initProcessEnabled: false });
    parameters.dropCapabilities(ecs.Capability.ALL);
    return parameters;
  }

  private makeLogGroup(part: PartName): logs.LogGroup {
    return new logs.LogGroup(this, `Logs-${part}`, {
      logGroupName: parts[part].logGroup,
      retention: this.props.stage.logDays as logs.RetentionDays,
      removalPolicy: this.props.stage.keep ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
  }

  private environment(part: PartName): Record<string, string> {
    const { stage } = this.props;
    const common = {
      MEDISYNC_MESH__MTLS: 'strict',
      MEDISYNC_MESH__CA: '/mesh/ca.pem',
      MEDISYNC_MESH__CERT: `/mesh/${part}.pem`,
      MEDISYNC_MESH__KEY: `/mesh/${part}.key`,
      MEDISYNC_AUTH__URL: url('auth', 'rest'),
    };
    const events = { MEDISYNC_EVENTS__REPLICATION: String(stage.kafka.replication) };
    switch (part) {
      case 'gateway':
        return {
          ...common,
          MEDISYNC_PATIENT__URL: url('patient', 'rest'),
          MEDISYNC_BILLING__URL: url('billing', 'rest'),
          MEDISYNC_ANALYTICS__URL: url('analytics', 'rest'),
          MEDISYNC_NOTIFICATION__URL: url('notification', 'rest'),
          // The balancer says who the client is; nobody else is in front of the gateway.
          MEDISYNC_GATEWAY__TRUSTED_PROXIES: VPC_ADDRESSES,
        };
      case 'auth':
        return { ...common, MEDISYNC_AUTH__KEYS_DIR: '/keys/signing' };
      case 'patient':
        return { ...common, ...events, MEDISYNC_BILLING__GRPC_URL: url('billing', 'grpc') };
      case 'billing':
        return common;
      default:
        return { ...common, ...events };
    }
  }

  private secrets(part: PartName): Record<string, ecs.Secret> {
    const { data, events, mesh, stage } = this.props;
    const secrets: Record<string, ecs.Secret> = {};
    if (part !== 'gateway') secrets.MEDISYNC_AUDIT__KEY = ecs.Secret.fromSecretsManager(mesh.auditKey);
    const database = data.secrets.get(part);
    if (database) secrets[`MEDISYNC_${part.toUpperCase()}__DATABASE`] = ecs.Secret.fromSecretsManager(database, 'url');
    const login = events.secrets.get(part);
    if (login) secrets.MEDISYNC_EVENTS__LOG = ecs.Secret.fromSecretsManager(login, 'url');
    if (part === 'notification' && stage.smtpSecret) {
      const smtp = sm.Secret.fromSecretNameV2(this, 'Smtp', stage.smtpSecret);
      secrets.MEDISYNC_NOTIFICATION__SMTP = ecs.Secret.fromSecretsManager(smtp, 'url');
    }
    return secrets;
  }

  /** A new signing key each week; tokens of the old one stay good until they expire. */
  private rotateSigningKeys(): void {
    const auth = this.service('auth');
    new events.Rule(this, 'KeyRotation', {
      description: 'MediSync: a new key to sign tokens with',
      schedule: events.Schedule.rate(Duration.days(7)),
      targets: [
        new targets.EcsTask({
          cluster: this.cluster,
          taskDefinition: auth.taskDefinition,
          subnetSelection: this.props.network.subnets('parts'),
          securityGroups: [this.props.network.group('auth')],
          containerOverrides: [{ containerName: 'auth', command: ['keys', 'rotate'] }],
        }),
      ],
    });
  }
}
