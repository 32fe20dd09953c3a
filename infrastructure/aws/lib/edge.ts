// The way in: HTTPS at a load balancer, behind a web ACL, to the gateway and nothing else.
import { Duration, RemovalPolicy, aws_elasticloadbalancingv2 as elb, aws_s3 as s3, aws_wafv2 as waf } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import type { Network } from './network.ts';
import { parts } from './policy.ts';
import type { Services } from './services.ts';
import type { Stage } from './stage.ts';

export class Edge extends Construct {
  readonly balancer: elb.ApplicationLoadBalancer;
  readonly targets: elb.ApplicationTargetGroup;

  constructor(scope: Construct, id: string, stage: Stage, network: Network, services: Services) {
    super(scope, id);
    this.balancer = new elb.ApplicationLoadBalancer(this, 'Balancer', {
      vpc: network.vpc,
      vpcSubnets: network.subnets('public'),
      securityGroup: network.group('clients'),
      internetFacing: true,
      deletionProtection: stage.keep,
      dropInvalidHeaderFields: true,
      // Ends after the gateway's own deadlines, so that the gateway is who answers 504.
      idleTimeout: Duration.seconds(30),
    });
    this.balancer.logAccessLogs(this.makeBucket(stage));
    this.balancer.addListener('Http', {
      port: 80,
      open: false,
      defaultAction: elb.ListenerAction.redirect({ protocol: 'HTTPS', port: '443', permanent: true }),
    });
    this.targets = new elb.ApplicationTargetGroup(this, 'Targets', {
      vpc: network.vpc,
      port: parts.gateway.ports.http,
      protocol: elb.ApplicationProtocol.HTTP,
      targetType: elb.TargetType.IP,
      targets: [services.service('gateway')],
      deregistrationDelay: Duration.seconds(15),
      healthCheck: { path: '/healthz', interval: Duration.seconds(10), timeout: Duration.seconds(5), healthyThresholdCount: 2, unhealthyThresholdCount: 2 },
    });
    this.balancer.addListener('Https', {
      port: 443,
      open: false,
      certificates: [elb.ListenerCertificate.fromArn(stage.certificate)],
      sslPolicy: elb.SslPolicy.TLS13_RES,
      defaultTargetGroups: [this.targets],
    });
    this.makeAcl(stage);
  }

  private makeBucket(stage: Stage): s3.Bucket {
    return new s3.Bucket(this, 'AccessLogs', {
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      // The balancer writes to no other kind.
      encryption: s3.BucketEncryption.S3_MANAGED,
      enforceSSL: true,
      lifecycleRules: [{ expiration: Duration.days(stage.logDays) }],
      removalPolicy: stage.keep ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
  }

  /** What a flood should not even reach the gateway for. */
  private makeAcl(stage: Stage): void {
    const visible = (name: string) => ({ cloudWatchMetricsEnabled: true, sampledRequestsEnabled: false, metricName: name });
    const rate = (priority: number, name: string, limit: number, path?: string): waf.CfnWebACL.RuleProperty => ({
      name,
      priority,
      action: { block: { customResponse: { responseCode: 429 } } },
      statement: {
        rateBasedStatement: {
          aggregateKeyType: 'IP',
          evaluationWindowSec: 60,
          limit,
          scopeDownStatement: path && {
            byteMatchStatement: {
              fieldToMatch: { uriPath: {} },
              positionalConstraint: 'STARTS_WITH',
              searchString: path,
              textTransformations: [{ priority: 0, type: 'URL_DECODE' }, { priority: 1, type: 'NORMALIZE_PATH' }],
            },
          } || undefined,
        },
      },
      visibilityConfig: visible(name),
    });
    const acl = new waf.CfnWebACL(this, 'Acl', {
      name: `medisync-${stage.name}`,
      scope: 'REGIONAL',
      defaultAction: { allow: {} },
      visibilityConfig: visible('medisync'),
      rules: [
        rate(0, 'login', 10, '/auth/login'),
        rate(1, 'client', 12_000),
        {
          name: 'known-bad',
          priority: 2,
          overrideAction: { none: {} },
          statement: { managedRuleGroupStatement: { vendorName: 'AWS', name: 'AWSManagedRulesKnownBadInputsRuleSet' } },
          visibilityConfig: visible('known-bad'),
        },
      ],
    });
    new waf.CfnWebACLAssociation(this, 'Association', { resourceArn: this.balancer.loadBalancerArn, webAclArn: acl.attrArn });
  }
}
