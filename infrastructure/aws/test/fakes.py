#!/usr/bin/env python3
"""Deploys the synthesised template into a fake AWS, and looks whether what it says is there then.

    fakes.py moto|ministack ENDPOINT ASSEMBLY

No fake knows every type of resource. Those that it has no model of are left out (moto would say that
it created them, and not have done so), and what refers to them gets a text that looks right; every
other one has to be created. Custom resources are left out as well: no function runs in a fake here.
"""

import json
import pathlib
import sys
import time
import zipfile

import boto3
from botocore.config import Config

# Neither makes the secret that RDS keeps for a server's master.
UNKNOWN_ATTRIBUTES = {("AWS::RDS::DBInstance", "MasterUserSecret.SecretArn"), ("AWS::EFS::FileSystem", "Arn"), ("AWS::EFS::AccessPoint", "Arn")}
# Properties that a fake stumbles over, by type; each with what it says.
WITHOUT = {
    "moto": {"AWS::RDS::DBInstance": ["DBParameterGroupName"], "AWS::KMS::Key": ["Tags"]},
    "ministack": {},
}


def known_to(fake, types):
    """Of these types, those that the fake has a model of: asked of the fake's own table."""
    if fake == "moto":
        from moto.cloudformation.parsing import get_model_map

        return types & set(get_model_map())
    from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

    return types & set(_RESOURCE_HANDLERS)


def client(endpoint, service):
    return boto3.client(
        service, endpoint_url=endpoint, region_name="eu-central-1",
        aws_access_key_id="test", aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 1}, read_timeout=120),
    )


def stand_in(name, attribute):
    """A text in the place of what a resource that is left out would have told."""
    if attribute and attribute.endswith("Port"):
        return "5432"
    return f"arn:aws:fake:eu-central-1:123456789012:{name}"


def without(template, types, properties):
    """The template without resources of these types, and the names of those."""
    gone = {name for name, r in template["Resources"].items() if r["Type"] in types}

    def walk(node):
        if isinstance(node, list):
            return [walk(item) for item in node]
        if isinstance(node, str):
            for name in gone:
                node = node.replace("${" + name + "}", stand_in(name, None))
            return node
        if not isinstance(node, dict):
            return node
        if node.get("Ref") in gone:
            return stand_in(node["Ref"], None)
        if "Fn::GetAtt" in node:
            name, attribute = node["Fn::GetAtt"]
            if name in gone or (template["Resources"][name]["Type"], attribute) in UNKNOWN_ATTRIBUTES:
                return stand_in(name, attribute)
        result = {key: walk(value) for key, value in node.items()}
        needs = result.get("DependsOn")
        if needs is not None:
            needs = [needs] if isinstance(needs, str) else needs
            result["DependsOn"] = [name for name in needs if name not in gone]
        return result

    resources = {n: walk(r) for n, r in template["Resources"].items() if n not in gone}
    for resource in resources.values():
        resource.pop("Metadata", None)
        for name in properties.get(resource["Type"], ()):
            resource.get("Properties", {}).pop(name, None)
    outputs = walk(template.get("Outputs", {}))
    kept = {k: v for k, v in template.items() if k in ("AWSTemplateFormatVersion", "Description", "Parameters", "Mappings", "Conditions")}
    return {**kept, "Resources": resources, "Outputs": outputs}, gone


def prepare(endpoint, assembly):
    """What `cdk bootstrap` and `cdk deploy` do before: a version, a bucket, the functions' code."""
    client(endpoint, "ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String", Overwrite=True)
    s3 = client(endpoint, "s3")
    bucket = "assets"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for folder in assembly.glob("asset.*"):
        archive = assembly / f"{folder.name}.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in folder.iterdir():
                file.write(path, path.name)
        s3.upload_file(str(archive), bucket, folder.name.removeprefix("asset.") + ".zip")
        archive.unlink()
    certificate = client(endpoint, "acm").request_certificate(DomainName="medisync.example")
    return s3, bucket, certificate["CertificateArn"]


def deploy(endpoint, template, s3, bucket, certificate, name):
    """The states of the stack's resources, by name."""
    for resource in template["Resources"].values():
        code = resource.get("Properties", {}).get("Code")
        if resource["Type"] == "AWS::Lambda::Function":
            code["S3Bucket"] = bucket
        for listed in resource.get("Properties", {}).get("Certificates", ()):
            listed["CertificateArn"] = certificate
    s3.put_object(Bucket=bucket, Key="template.json", Body=json.dumps(template, separators=(",", ":")))
    cloudformation = client(endpoint, "cloudformation")
    cloudformation.create_stack(
        StackName=name, TemplateURL=f"{endpoint.replace('127.0.0.1', 'localhost')}/{bucket}/template.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    )
    for _ in range(120):
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if "IN_PROGRESS" not in stack["StackStatus"]:
            break
        time.sleep(0.5)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        why = [e["LogicalResourceId"] + ": " + e.get("ResourceStatusReason", "") for e in events if "FAILED" in e.get("ResourceStatus", "")]
        sys.exit(f"{stack['StackStatus']}: {stack.get('StackStatusReason')} {why[:5]}")
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    return [r for page in pages for r in page["StackResourceSummaries"]]


def look(fake, endpoint):
    """What is there now, asked of each service itself; a list of what is wrong."""
    policy = json.loads((pathlib.Path(__file__).parents[2] / "policy.json").read_text())
    parts = set(policy["parts"])
    wrong = []

    def expect(what, found, wanted):
        if found != wanted:
            wrong.append(f"{what}: {found}, not {wanted}")

    ecs = client(endpoint, "ecs")
    [cluster] = ecs.list_clusters()["clusterArns"]
    arns = ecs.list_services(cluster=cluster)["serviceArns"]
    services = ecs.describe_services(cluster=cluster, services=arns)["services"]
    expect("services", {service["serviceName"] for service in services}, parts)
    for service in services:
        task = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
        [container] = task["containerDefinitions"]
        wanted = set(policy["parts"][service["serviceName"]]["ports"].values())
        expect(f"{container['name']}'s ports", {p["containerPort"] for p in container["portMappings"]}, wanted)
        expect(f"{container['name']}'s file system is read-only", container["readonlyRootFilesystem"], True)
    groups = client(endpoint, "logs").describe_log_groups(logGroupNamePrefix="/ecs/")["logGroups"]
    expect("log groups", {g["logGroupName"] for g in groups}, {p["logGroup"] for p in policy["parts"].values()})
    [server] = client(endpoint, "rds").describe_db_instances()["DBInstances"]
    expect("the server", (server["Engine"], server["StorageEncrypted"]), ("postgres", True))
    balancing = client(endpoint, "elbv2")
    [balancer] = balancing.describe_load_balancers()["LoadBalancers"]
    listeners = balancing.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    expect("listeners", {l["Protocol"] for l in listeners}, {"HTTP", "HTTPS"})
    if fake == "moto":
        rules = client(endpoint, "ec2").describe_security_groups()["SecurityGroups"]
        ours = [g for g in rules if g["Description"].startswith("MediSync: ")]
        names = {g["GroupId"]: g["Description"].removeprefix("MediSync: ") for g in ours}
        open_ports = {
            (names[pair["GroupId"]], names[g["GroupId"]]) for g in ours
            for permission in g["IpPermissions"] for pair in permission["UserIdGroupPairs"]
        }
        paths = policy["paths"] + policy["aws"]["paths"]
        expect("paths", open_ports, {(path["from"], path["to"]) for path in paths})
    else:
        secrets = {s["Name"] for s in client(endpoint, "secretsmanager").list_secrets()["SecretList"]}
        wanted = {f"medisync/dev/{p}/database" for p, row in policy["parts"].items() if row.get("database")}
        expect("database secrets", {name for name in secrets if name.endswith("/database")}, wanted)
        found = client(endpoint, "servicediscovery").list_services()["Services"]
        expect("names", {service["Name"] for service in found}, parts)
    return wrong


def main(fake, endpoint, assembly):
    path = next(assembly.glob("*.template.json"))
    full = json.loads(path.read_text())
    types = {resource["Type"] for resource in full["Resources"].values()}
    unknown = types - known_to(fake, types)
    template, gone = without(full, unknown, WITHOUT[fake])
    resources = deploy(endpoint, template, *prepare(endpoint, assembly), path.name.removesuffix(".template.json"))
    states = {r["ResourceStatus"] for r in resources}
    wrong = look(fake, endpoint)
    if states != {"CREATE_COMPLETE"} or len(resources) != len(template["Resources"]):
        wrong.append(f"{len(resources)} of {len(template['Resources'])} resources, in states {states}")
    print(f"{fake}: {len(resources)} of {len(full['Resources'])} resources deployed, {len(gone)} of types that it does not know:")
    print("\n".join(f"  {kind}" for kind in sorted(unknown)))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))
