// What is open between security groups is what policy.json lists, no more and no less.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { partNames, parts, paths } from '../lib/policy.ts';
import { Synthesised } from './stack.ts';

const stack = new Synthesised({ stage: 'prod' });

const names = new Map(
  stack.ofType('AWS::EC2::SecurityGroup').map(([id, { Properties }]) => [id, Properties.GroupDescription.replace('MediSync: ', '')]),
);
const nameOf = (reference: any): string => names.get(reference?.['Fn::GetAtt']?.[0]) ?? JSON.stringify(reference);
const sorted = (lines: Iterable<string>) => [...new Set(lines)].sort();
const wanted = sorted(paths.map(({ from, to, port }) => `${from} → ${to}:${port}`));

test('whoever is called lets in its callers only', () => {
  const found = stack.ofType('AWS::EC2::SecurityGroupIngress').map(([, { Properties: rule }]) => {
    assert.equal(rule.IpProtocol, 'tcp');
    assert.equal(rule.FromPort, rule.ToPort);
    return `${nameOf(rule.SourceSecurityGroupId)} → ${nameOf(rule.GroupId)}:${rule.FromPort}`;
  });
  assert.deepEqual(sorted(found), wanted);
});

test('whoever calls gets out to those it calls only', () => {
  const found = stack.ofType('AWS::EC2::SecurityGroupEgress').map(
    ([, { Properties: rule }]) => `${nameOf(rule.GroupId)} → ${nameOf(rule.DestinationSecurityGroupId)}:${rule.FromPort}`,
  );
  assert.deepEqual(sorted(found), wanted);
});

test('addresses are let in at the door only, and reached on 443 only', () => {
  for (const [id, { Properties: group }] of stack.ofType('AWS::EC2::SecurityGroup')) {
    const name = names.get(id);
    const ingress = (group.SecurityGroupIngress ?? []).map((rule: any) => rule.FromPort).sort();
    assert.deepEqual(ingress, name === 'clients' ? [443, 80] : [], `${name} lets in`);
    for (const rule of group.SecurityGroupEgress ?? []) {
      const closed = rule.CidrIp === '255.255.255.255/32';
      assert.ok(closed || (rule.FromPort === 443 && rule.ToPort === 443), `${name} gets out on ${rule.FromPort}`);
    }
  }
});

test('there is no way out to the Internet', () => {
  assert.equal(stack.ofType('AWS::EC2::NatGateway').length, 0);
  for (const [, { Properties: service }] of stack.ofType('AWS::ECS::Service')) {
    assert.equal(service.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp, 'DISABLED');
  }
});

test('a part listens on its ports and has its own group', () => {
  for (const part of partNames) {
    const ports = stack.container(part).PortMappings.map((mapping: any) => mapping.ContainerPort).sort();
    assert.deepEqual(ports, Object.values(parts[part].ports).sort(), part);
    const service = stack.ofType('AWS::ECS::Service').find(([, { Properties }]) => Properties.ServiceName === part);
    const groups = service?.[1].Properties.NetworkConfiguration.AwsvpcConfiguration.SecurityGroups.map(nameOf);
    assert.deepEqual(groups, [part]);
  }
});

test('a part is told of those that it calls, and of nobody else', () => {
  for (const part of partNames) {
    const told = stack.container(part).Environment.map((variable: any) => variable.Value)
      .flatMap((value: string) => [...value.matchAll(/https:\/\/([a-z]+)\.medisync\.internal:(\d+)/g)])
      .map((match: RegExpMatchArray) => `${match[1]}:${match[2]}`)
      .filter((place: string) => place !== `auth:${parts.auth.ports.rest}` || part !== 'auth');
    const calls = paths.filter(({ from, to }) => from === part && to in parts).map(({ to, port }) => `${to}:${port}`);
    assert.deepEqual(sorted(told), sorted(calls), part);
  }
});
