// cdk synth --context stage=prod --context certificate=arn:aws:acm:…
import { App, Aspects } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';

import { MediSync } from '../lib/medisync.ts';
import { stageOf } from '../lib/stage.ts';

const app = new App();
const stage = stageOf(app);
new MediSync(app, `medisync-${stage.name}`, stage);
Aspects.of(app).add(new AwsSolutionsChecks());
app.synth();
