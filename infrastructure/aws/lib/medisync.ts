// MediSync on AWS, in the order in which it is built.
import { CfnOutput, Stack, Tags, type App } from 'aws-cdk-lib';

import { Alarms } from './alarms.ts';
import { Data } from './data.ts';
import { Edge } from './edge.ts';
import { Events } from './events.ts';
import { Mesh } from './mesh.ts';
import { explain } from './nag.ts';
import { Network } from './network.ts';
import { Ready } from './ready.ts';
import { Services } from './services.ts';
import { allowRestart } from './restart.ts';
import type { Stage } from './stage.ts';

export class MediSync extends Stack {
  constructor(app: App, id: string, stage: Stage) {
    super(app, id, {
      env: { region: stage.region },
      description: `MediSync, ${stage.name}`,
      terminationProtection: stage.keep,
    });
    const network = new Network(this, 'Network', stage);
    const mesh = new Mesh(this, 'Mesh', stage, network);
    const data = new Data(this, 'Data', stage, network);
    const events = new Events(this, 'Events', stage, network);
    const ready = new Ready(this, 'Ready', stage, data, events, mesh);
    const services = new Services(this, 'Services', { stage, network, data, events, mesh });
    for (const service of services.services.values()) service.node.addDependency(ready);
    const edge = new Edge(this, 'Edge', stage, network, services);
    new Alarms(this, 'Alarms', stage, services, data, events, edge);
    allowRestart(this, stage);
    explain(this, stage);

    Tags.of(this).add('application', 'medisync');
    Tags.of(this).add('stage', stage.name);
    Tags.of(this).add('data', 'health');
    new CfnOutput(this, 'Address', { value: edge.balancer.loadBalancerDnsName, description: 'What the public name is an alias of' });
  }
}
