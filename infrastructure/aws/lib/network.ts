// The VPC and its security groups: what policy.json does not list is not open.
import { RemovalPolicy, aws_ec2 as ec2, aws_logs as logs } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import { partNames, paths } from './policy.ts';
import type { Stage } from './stage.ts';

/** All addresses of the VPC, the balancer's among them. */
export const VPC_ADDRESSES = '10.0.0.0/16';

/** Ends of paths that are no parts. `mail` is SES, which is reached by an endpoint. */
const OTHERS = ['clients', 'postgres', 'kafka', 'files', 'functions', 'endpoints', 'mail'];

export class Network extends Construct {
  readonly vpc: ec2.Vpc;
  /** By the name of a part, or of another end of a path. */
  readonly groups = new Map<string, ec2.SecurityGroup>();

  constructor(scope: Construct, id: string, stage: Stage) {
    super(scope, id);
    const flowLogs = new logs.LogGroup(this, 'FlowLogs', {
      retention: stage.logDays as logs.RetentionDays,
      removalPolicy: stage.keep ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
    // No NAT: nothing in here has business with the Internet, and a part that is broken into
    // cannot send anything there.
    this.vpc = new ec2.Vpc(this, 'Vpc', {
      ipAddresses: ec2.IpAddresses.cidr(VPC_ADDRESSES),
      maxAzs: 2,
      natGateways: 0,
      subnetConfiguration: [
        { name: 'public', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
        { name: 'parts', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 22 },
        { name: 'stores', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 },
      ],
      flowLogs: { all: { destination: ec2.FlowLogDestination.toCloudWatchLogs(flowLogs) } },
    });
    for (const name of [...partNames, ...OTHERS]) this.groups.set(name, this.makeGroup(name));
    for (const { from, to, port } of paths) this.open(from, to, port);
    this.makeEndpoints();
  }

  group(name: string): ec2.SecurityGroup {
    const group = this.groups.get(name);
    if (!group) throw new Error(`there is no security group ${name}`);
    return group;
  }

  subnets(name: 'public' | 'parts' | 'stores'): ec2.SubnetSelection {
    return { subnetGroupName: name };
  }

  private makeGroup(name: string): ec2.SecurityGroup {
    return new ec2.SecurityGroup(this, `Group-${name}`, {
      vpc: this.vpc,
      description: `MediSync: ${name}`,
      allowAllOutbound: false,
    });
  }

  /** Both ends have to allow it. */
  private open(from: string, to: string, port: number): void {
    const [source, target] = [this.group(from), this.group(to)];
    const label = `${from} to ${to}`;
    source.addEgressRule(target, ec2.Port.tcp(port), label);
    target.addIngressRule(source, ec2.Port.tcp(port), label);
  }

  private makeEndpoints(): void {
    const service = ec2.InterfaceVpcEndpointAwsService;
    const wanted = {
      Ecr: service.ECR,
      EcrDocker: service.ECR_DOCKER,
      Logs: service.CLOUDWATCH_LOGS,
      Secrets: service.SECRETS_MANAGER,
      Ecs: service.ECS,
    };
    for (const [id, what] of Object.entries(wanted)) this.makeEndpoint(id, what, 'endpoints');
    this.makeEndpoint('Mail', service.EMAIL_SMTP, 'mail');
    // ECR keeps image layers in S3. Its addresses are public ones, so that the groups of those who
    // pull name them; without NAT no other public address can be reached.
    this.vpc.addGatewayEndpoint('S3', {
      service: ec2.GatewayVpcEndpointAwsService.S3,
      subnets: [this.subnets('parts')],
    });
    for (const name of [...partNames, 'functions']) {
      this.group(name).addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), 'S3, by its gateway endpoint');
    }
    this.group('clients').addIngressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), 'clients');
    this.group('clients').addIngressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(80), 'sent on to 443');
  }

  private makeEndpoint(id: string, service: ec2.IInterfaceVpcEndpointService, group: string): void {
    this.vpc.addInterfaceEndpoint(id, {
      service,
      subnets: this.subnets('parts'),
      securityGroups: [this.group(group)],
      // Else CDK would let the whole VPC in.
      open: false,
      privateDnsEnabled: true,
    });
  }
}
