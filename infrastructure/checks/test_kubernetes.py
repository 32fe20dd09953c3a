"""Kubernetes: the schemas, the restricted profile, and NetworkPolicies that are the policy table."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

from policy import ADMIN, PARTS, PATHS, ROOT, ports

BASE = ROOT / "infrastructure/kubernetes/base"
COMPONENT = ROOT / "infrastructure/kubernetes/components/cert-manager"
# Of operators, whose schemas are not Kubernetes' own.
FOREIGN = {"ServiceMonitor", "Certificate"}
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yml").read_text())


def rendered():
    """What kustomize makes of the base, as far as the base asks for: a namespace, labels, tags."""
    labels = KUSTOMIZATION["labels"][0]["pairs"]
    tags = {image["name"]: image["newTag"] for image in KUSTOMIZATION["images"]}
    for name in KUSTOMIZATION["resources"]:
        for resource in yaml.safe_load_all((BASE / name).read_text()):
            if resource["kind"] != "Namespace":
                resource["metadata"]["namespace"] = KUSTOMIZATION["namespace"]
            resource["metadata"].setdefault("labels", {}).update(labels)
            if resource["kind"] == "Deployment":
                template = resource["spec"]["template"]
                template["metadata"]["labels"].update(labels)
                for container in template["spec"]["containers"]:
                    container["image"] += ":" + tags[container["image"]]
            yield resource


RESOURCES = list(rendered())


def of_kind(kind):
    return {r["metadata"]["name"]: r for r in RESOURCES if r["kind"] == kind}


def validate(resources):
    """What kubernetes-validate says, and whether it was content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rendered.yml"
        path.write_text(yaml.safe_dump_all(resources))
        program = Path(sys.executable).parent / "kubernetes-validate"
        done = subprocess.run([program, "--strict", path], capture_output=True, text=True, check=False)
        return done.returncode == 0 and "WARN" not in done.stdout + done.stderr, done.stdout + done.stderr


def selected(peer):
    """The name that a NetworkPolicy's peer selects."""
    if "podSelector" in peer:
        return peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
    return peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]


class Kubernetes(unittest.TestCase):
    def test_every_resource_is_of_its_schema(self):
        ok, said = validate([r for r in RESOURCES if r["kind"] not in FOREIGN])
        self.assertTrue(ok, said)

    def test_the_schema_finds_what_is_wrong(self):
        wrong = {**of_kind("Deployment")["auth"]}
        wrong["spec"] = {**wrong["spec"], "replicas": "two"}
        self.assertFalse(validate([wrong])[0])

    def test_every_file_is_in_the_kustomization(self):
        files = {path.name for path in BASE.glob("*.yml")} - {"kustomization.yml"}
        self.assertEqual(set(KUSTOMIZATION["resources"]), files)

    def test_every_part_is_whole(self):
        for kind in ("Deployment", "ServiceAccount", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
            self.assertEqual(set(of_kind(kind)), set(PARTS), kind)
        self.assertEqual(set(of_kind("Service")), set(PARTS) | {"admin"})
        for name, scaler in of_kind("HorizontalPodAutoscaler").items():
            self.assertGreaterEqual(scaler["spec"]["minReplicas"], 2, name)

    def test_pods_meet_the_restricted_profile(self):
        for name, deployment in of_kind("Deployment").items():
            pod = deployment["spec"]["template"]["spec"]
            [container] = pod["containers"]
            with self.subTest(name):
                self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(pod["securityContext"]["runAsUser"], 65532)
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                self.assertIs(pod["automountServiceAccountToken"], False)
                self.assertEqual(container["securityContext"], {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                })
                for key in ("hostNetwork", "hostPID", "hostIPC"):
                    self.assertNotIn(key, pod)
                allowed = {"emptyDir", "secret", "persistentVolumeClaim"}
                self.assertLessEqual({k for v in pod["volumes"] for k in v} - {"name"}, allowed)
                self.assertIn("memory", container["resources"]["limits"])
        labels = of_kind("Namespace")["medisync"]["metadata"]["labels"]
        self.assertEqual(labels["pod-security.kubernetes.io/enforce"], "restricted")

    def test_ports_and_probes(self):
        for name, deployment in of_kind("Deployment").items():
            [container] = deployment["spec"]["template"]["spec"]["containers"]
            listened = {port["containerPort"] for port in container["ports"]}
            self.assertEqual(listened, ports(name) | {ADMIN})
            self.assertEqual({p["port"] for p in of_kind("Service")[name]["spec"]["ports"]}, ports(name))
            for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
                self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "admin"})

    def test_network_policies_are_the_table(self):
        found, left = set(), set()
        for name, policy in of_kind("NetworkPolicy").items():
            if name not in PARTS:
                continue
            self.assertEqual(policy["spec"]["podSelector"]["matchLabels"], {"app.kubernetes.io/name": name})
            for rule in policy["spec"].get("ingress", []):
                for peer in rule["from"]:
                    source = "clients" if selected(peer) == "ingress" else selected(peer)
                    found |= {(source, name, port["port"]) for port in rule["ports"]}
            for rule in policy["spec"].get("egress", []):
                for peer in rule["to"]:
                    left |= {(name, selected(peer), port["port"]) for port in rule["ports"]}
        self.assertEqual(found, {path for path in PATHS if path[1] in PARTS})
        self.assertEqual(left, {path for path in PATHS if path[0] in PARTS})

    def test_what_is_not_listed_is_denied(self):
        policies = of_kind("NetworkPolicy")
        self.assertEqual(policies["deny-all"]["spec"], {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        self.assertEqual(set(policies), set(PARTS) | {"deny-all", "dns", "watch"})

    def test_nothing_holds_a_secret(self):
        self.assertEqual(of_kind("Secret"), {})
        for value in of_kind("ConfigMap")["medisync"]["data"].values():
            self.assertNotIn("@", value)

    def test_certificates_are_as_the_binary_s_own(self):
        issued = list(yaml.safe_load_all((COMPONENT / "certificates.yml").read_text()))
        self.assertEqual({c["spec"]["secretName"] for c in issued}, {f"mesh-{part}" for part in PARTS})
        for certificate in issued:
            part = certificate["spec"]["secretName"].removeprefix("mesh-")
            self.assertEqual(certificate["spec"]["uris"], [f"spiffe://medisync/{part}"])
            self.assertIn(part, certificate["spec"]["dnsNames"])

    def test_prometheus_finds_the_admin_port(self):
        monitor = of_kind("ServiceMonitor")["medisync"]["spec"]
        service = of_kind("Service")["admin"]
        self.assertEqual(monitor["selector"]["matchLabels"].items() - service["metadata"]["labels"].items(), set())
        self.assertEqual(monitor["endpoints"][0]["port"], service["spec"]["ports"][0]["name"])
        self.assertEqual(service["spec"]["ports"][0]["port"], ADMIN)


if __name__ == "__main__":
    unittest.main()
