// Holds back the services until every first rotation is done: only then do their secrets have URLs.
import { CustomResource, Duration, aws_iam as iam } from 'aws-cdk-lib';
import { Construct } from 'constructs';

import type { Data } from './data.ts';
import type { Events } from './events.ts';
import { makeFunction } from './functions.ts';
import type { Mesh } from './mesh.ts';
import type { Stage } from './stage.ts';

export class Ready extends Construct {
  constructor(scope: Construct, id: string, stage: Stage, data: Data, events: Events, mesh: Mesh) {
    super(scope, id);
    const wait = makeFunction(this, 'ready', stage, undefined, { timeout: Duration.minutes(14) });
    const secrets = [...data.secrets.values(), ...events.secrets.values(), mesh.authority];
    const arns = secrets.map((secret) => secret.secretArn);
    // It looks at versions and never at values.
    wait.addToRolePolicy(new iam.PolicyStatement({ actions: ['secretsmanager:DescribeSecret'], resources: arns }));
    const resource = new CustomResource(this, 'Rotated', {
      serviceToken: wait.functionArn,
      resourceType: 'Custom::MediSyncRotated',
      properties: { Secrets: arns },
    });
    for (const rotation of [...data.rotations, ...events.rotations, mesh.rotation]) resource.node.addDependency(rotation);
  }
}
