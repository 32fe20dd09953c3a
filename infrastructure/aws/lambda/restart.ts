// A new deployment of one service, so that its tasks read the secret that is in force now.
import { ECSClient, ServiceNotFoundException, UpdateServiceCommand } from '@aws-sdk/client-ecs';

export async function restart(service: string): Promise<void> {
  const cluster = process.env.CLUSTER_OF_SERVICES;
  try {
    await new ECSClient({}).send(new UpdateServiceCommand({ cluster, service, forceNewDeployment: true }));
  } catch (error) {
    // The first rotation comes before the services.
    if (error instanceof ServiceNotFoundException || (error as Error).name === 'ClusterNotFoundException') return;
    throw error;
  }
}
