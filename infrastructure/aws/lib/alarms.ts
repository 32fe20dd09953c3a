// What somebody should be woken for. Alarms on what the parts measure themselves are Prometheus'.
import { Duration, aws_cloudwatch as cw, aws_cloudwatch_actions as actions, aws_elasticloadbalancingv2 as elb, aws_iam as iam, aws_kms as kms, aws_sns as sns, aws_sns_subscriptions as subscriptions } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import type { Data } from './data.ts';
import type { Edge } from './edge.ts';
import type { Events } from './events.ts';
import { partNames } from './policy.ts';
import type { Services } from './services.ts';
import type { Stage } from './stage.ts';

export class Alarms extends Construct {
  private readonly action: actions.SnsAction;

  constructor(scope: Construct, id: string, stage: Stage, services: Services, data: Data, events: Events, edge: Edge) {
    super(scope, id);
    const key = new kms.Key(this, 'Key', { description: 'MediSync: alarms on their way', enableKeyRotation: true });
    key.grantEncryptDecrypt(new iam.ServicePrincipal('cloudwatch.amazonaws.com'));
    const topic = new sns.Topic(this, 'Topic', { displayName: `MediSync ${stage.name}`, masterKey: key, enforceSSL: true });
    if (stage.email) topic.addSubscription(new subscriptions.EmailSubscription(stage.email));
    this.action = new actions.SnsAction(topic);

    for (const part of partNames) {
      const service = services.service(part);
      this.over(`${part}-cpu`, service.metricCpuUtilization({ period: Duration.minutes(5) }), 90, 3, 'it does not scale any further');
      this.over(`${part}-memory`, service.metricMemoryUtilization({ period: Duration.minutes(5) }), 85, 2, 'it is about to be killed');
      this.under(`${part}-running`, new cw.Metric({
        namespace: 'ECS/ContainerInsights',
        metricName: 'RunningTaskCount',
        dimensionsMap: { ClusterName: services.cluster.clusterName, ServiceName: service.serviceName },
        statistic: 'Minimum',
        period: Duration.minutes(1),
      }), 1, 3, 'nobody is there');
    }
    this.over('answers-5xx', edge.targets.metrics.httpCodeTarget(elb.HttpCodeTarget.TARGET_5XX_COUNT, { period: Duration.minutes(5) }), 25, 2, 'requests fail');
    this.over('unhealthy', edge.targets.metrics.unhealthyHostCount({ period: Duration.minutes(1) }), 0, 5, 'a gateway gets no requests');
    this.over('latency', edge.targets.metrics.targetResponseTime({ period: Duration.minutes(5), statistic: 'p99' }), 1, 3, 'one in a hundred waits for a second');
    this.over('database-cpu', data.instance.metricCPUUtilization({ period: Duration.minutes(5) }), 85, 3, 'the database is busy');
    this.under('database-storage', data.instance.metricFreeStorageSpace({ period: Duration.minutes(5) }), 4 * 2 ** 30, 2, 'the disk fills up');
    const kafka = (metricName: string, statistic: string) =>
      new cw.Metric({ namespace: 'AWS/Kafka', metricName, statistic, period: Duration.minutes(5), dimensionsMap: { 'Cluster Name': events.clusterName } });
    this.over('events-disk', kafka('KafkaDataLogsDiskUsed', 'Maximum'), 80, 2, 'the disk fills up');
    this.over('events-offline', kafka('OfflinePartitionsCount', 'Maximum'), 0, 1, 'events cannot be published');
  }

  private over(id: string, metric: cw.IMetric, threshold: number, periods: number, meaning: string): void {
    this.alarm(id, metric, threshold, periods, meaning, cw.ComparisonOperator.GREATER_THAN_THRESHOLD, cw.TreatMissingData.NOT_BREACHING);
  }

  private under(id: string, metric: cw.IMetric, threshold: number, periods: number, meaning: string): void {
    this.alarm(id, metric, threshold, periods, meaning, cw.ComparisonOperator.LESS_THAN_THRESHOLD, cw.TreatMissingData.BREACHING);
  }

  private alarm(id: string, metric: cw.IMetric, threshold: number, evaluationPeriods: number, meaning: string, comparisonOperator: cw.ComparisonOperator, treatMissingData: cw.TreatMissingData): void {
    const alarm = new cw.Alarm(this, id, { metric, threshold, evaluationPeriods, comparisonOperator, treatMissingData, alarmDescription: `MediSync, ${id}: ${meaning}` });
    alarm.addAlarmAction(this.action);
    alarm.addOkAction(this.action);
  }
}
