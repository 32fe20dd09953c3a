// The functions that make and rotate secrets: how each is built and what all of them need.
import { fileURLToPath } from 'node:url';

import { Duration, RemovalPolicy, aws_lambda as lambda, aws_logs as logs } from 'aws-cdk-lib';
import { NodejsFunction, type NodejsFunctionProps } from 'aws-cdk-lib/aws-lambda-nodejs';
import type { Construct } from 'constructs';

import type { Network } from './network.ts';
import type { Stage } from './stage.ts';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The function of lambda/NAME.ts, inside the VPC if a network is given. */
export function makeFunction(
  scope: Construct,
  name: string,
  stage: Stage,
  network: Network | undefined,
  props: NodejsFunctionProps = {},
): NodejsFunction {
  const inside = network && {
    vpc: network.vpc,
    vpcSubnets: network.subnets('parts'),
    securityGroups: [network.group('functions')],
  };
  return new NodejsFunction(scope, `Function-${name}`, {
    entry: at(`../lambda/${name}.ts`),
    depsLockFilePath: at('../package-lock.json'),
    projectRoot: at('..'),
    runtime: lambda.Runtime.NODEJS_24_X,
    architecture: lambda.Architecture.ARM_64,
    memorySize: 256,
    timeout: Duration.minutes(2),
    // Rotations of one kind come one after the other.
    logGroup: new logs.LogGroup(scope, `Logs-${name}`, {
      retention: stage.logDays as logs.RetentionDays,
      removalPolicy: RemovalPolicy.DESTROY,
    }),
    bundling: { minify: true, target: 'node24', externalModules: ['@aws-sdk/*', 'pg-native'] },
    ...inside,
    ...props,
  });
}
