// The stack of a stage, synthesised once for all tests.
import { readFileSync } from 'node:fs';

import { App, Aspects } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { AwsSolutionsChecks } from 'cdk-nag';

import { MediSync } from '../lib/medisync.ts';
import { stageOf } from '../lib/stage.ts';

export const CERTIFICATE = 'arn:aws:acm:eu-central-1:123456789012:certificate/test';

export interface Resource {
  Type: string;
  Properties: Record<string, any>;
  DependsOn?: string[];
  DeletionPolicy?: string;
}

export function appOf(context: Record<string, string>): App {
  const { context: flags } = JSON.parse(readFileSync(new URL('../cdk.json', import.meta.url), 'utf8'));
  return new App({ context: { ...flags, ...context } });
}

export class Synthesised {
  readonly resources: Record<string, Resource>;
  /** What cdk-nag found and nobody explained. */
  readonly findings: string[];

  constructor(context: Record<string, string>) {
    const app = appOf({ certificate: CERTIFICATE, ...context });
    const stack = new MediSync(app, 'medisync-test', stageOf(app));
    Aspects.of(app).add(new AwsSolutionsChecks());
    this.resources = Template.fromStack(stack).toJSON().Resources;
    const annotations = Annotations.fromStack(stack);
    const any = Match.stringLikeRegexp('AwsSolutions-.*');
    this.findings = [...annotations.findError('*', any), ...annotations.findWarning('*', any)].map(
      ({ id, entry }) => `${id}: ${entry.data}`,
    );
  }

  ofType(type: string): [string, Resource][] {
    return Object.entries(this.resources).filter(([, resource]) => resource.Type === type);
  }

  /** The one container of a part's task. */
  container(part: string): Record<string, any> {
    const containers = this.ofType('AWS::ECS::TaskDefinition').flatMap(([, task]) => task.Properties.ContainerDefinitions);
    const found = containers.find((container) => container.Name === part);
    if (!found) throw new Error(`there is no container ${part}`);
    return found;
  }
}
