// What cdk-nag finds and we keep, each with its reason. Everything else that it finds fails the tests.
import { NagSuppressions, type NagPackSuppression } from 'cdk-nag';
import type { Construct } from 'constructs';

import { partNames } from './policy.ts';
import type { MediSync } from './medisync.ts';
import type { Stage } from './stage.ts';

const FUNCTIONS = ['Mesh/Function-mesh', 'Data/Function-postgres', 'Events/Function-kafka', 'Ready/Function-ready'];

/** Stack-wide, for a reason that holds wherever the rule looks. */
const EVERYWHERE: NagPackSuppression[] = [
  {
    id: 'AwsSolutions-IAM4',
    reason: "A function's own log and network interface: the managed policies allow just that.",
    appliesTo: ['AWSLambdaBasicExecutionRole', 'AWSLambdaVPCAccessExecutionRole'].map(
      (policy) => `Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/${policy}`,
    ),
  },
];

const ANY_RESOURCE = (reason: string): NagPackSuppression => ({ id: 'AwsSolutions-IAM5', reason, appliesTo: ['Resource::*'] });

export function explain(stack: MediSync, stage: Stage): void {
  NagSuppressions.addStackSuppressions(stack, EVERYWHERE);
  const at = (path: string, suppressions: NagPackSuppression[]) => suppress(stack, path, suppressions);

  for (const path of FUNCTIONS.slice(0, 3)) {
    at(path, [ANY_RESOURCE('secretsmanager:GetRandomPassword, which the rotation grants, knows no resources.')]);
  }
  for (const path of FUNCTIONS.slice(1, 3)) {
    at(path, [{
      id: 'AwsSolutions-IAM5',
      reason: "Starts new deployments of this cluster's services, whichever secret was rotated.",
      appliesTo: [`Resource::arn:<AWS::Partition>:ecs:${stage.region}:<AWS::AccountId>:service/medisync-${stage.name}/*`],
    }]);
  }
  for (const part of partNames) {
    at(`Services/Task-${part}`, [
      { id: 'AwsSolutions-ECS2', reason: 'What the environment says outright is no secret; secrets come from Secrets Manager.' },
      ANY_RESOURCE('ecr:GetAuthorizationToken knows no resources.'),
    ]);
  }
  at('Services/Task-auth', [{
    id: 'AwsSolutions-IAM5',
    reason: 'Tags the tasks of this cluster that the weekly rule starts; a task has no name before it is there.',
    appliesTo: [{ regex: '/^Resource::arn:aws:ecs:[a-z0-9-]+:\\*:task\\/<ServicesCluster[A-Z0-9]+>\\/\\*$/' }],
  }]);
  at('Mesh/AuditKey', [{
    id: 'AwsSolutions-SMG4',
    reason: 'An audit log is verified with the key that it was begun with: another one would end that.',
  }]);
  at('Network/Group-clients', [{ id: 'AwsSolutions-EC23', reason: 'The public door: HTTPS for everybody, and HTTP to be sent on to it.' }]);
  at('Edge/AccessLogs', [{ id: 'AwsSolutions-S1', reason: 'This is the bucket of access logs; logs of reading it would be logged in it.' }]);
  at('Data/Postgres', [{ id: 'AwsSolutions-RDS11', reason: 'Whoever gets as far as the server finds any port; its security group lets five services in.' }]);
  if (!stage.keep) {
    at('Data/Postgres', [
      { id: 'AwsSolutions-RDS3', reason: 'A stage for development may be away for as long as a zone is; prod has two.' },
      { id: 'AwsSolutions-RDS10', reason: 'A stage for development is there to be deleted; prod is protected.' },
    ]);
  }
}

function suppress(stack: MediSync, path: string, suppressions: NagPackSuppression[]): void {
  const construct = path.split('/').reduce<Construct>((scope, id) => scope.node.findChild(id) as Construct, stack);
  NagSuppressions.addResourceSuppressions(construct, suppressions, true);
}
