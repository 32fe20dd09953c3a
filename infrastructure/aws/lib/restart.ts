// A rotated secret is in the environment of tasks that start after it: the functions that rotate
// may start a new deployment of our services, and do nothing else to them.
import { Aws, Stack, aws_iam as iam, aws_lambda as lambda } from 'aws-cdk-lib';

import type { Stage } from './stage.ts';

export function allowRestart(stack: Stack, stage: Stage): void {
  const cluster = `medisync-${stage.name}`;
  for (const id of ['Data/Function-postgres', 'Events/Function-kafka']) {
    const rotate = stack.node.findChild(id.split('/')[0]!).node.findChild(id.split('/')[1]!) as lambda.Function;
    rotate.addEnvironment('CLUSTER_OF_SERVICES', cluster);
    rotate.addToRolePolicy(new iam.PolicyStatement({
      actions: ['ecs:UpdateService'],
      resources: [`arn:${Aws.PARTITION}:ecs:${stack.region}:${Aws.ACCOUNT_ID}:service/${cluster}/*`],
    }));
  }
}
