"""The list of what an image is made of: of the standard's schema, complete, and the same each time."""

import json
import subprocess
import tomllib
import unittest

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from policy import ROOT


def written():
    script = ROOT / "docker/image/sbom.sh"
    return subprocess.run([script, ROOT / "Cargo.lock"], capture_output=True, text=True, check=True).stdout


class Sbom(unittest.TestCase):
    def test_it_is_of_the_schema(self):
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_5).validate_str(written()))

    def test_it_is_the_same_each_time(self):
        self.assertEqual(written(), written())

    def test_it_has_what_the_binary_is_linked_from(self):
        listed = {(c["name"], c["version"]): c for c in json.loads(written())["components"]}
        locked = {(p["name"], p["version"]): p for p in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
        names = {name for name, _ in listed}
        self.assertLessEqual({"tokio", "rustls", "ring", "pingora-core", "rdkafka-sys", "patient"}, names)
        for key, package in locked.items():
            if key in listed and "checksum" in package:
                self.assertEqual(listed[key]["hashes"][0]["content"], package["checksum"])


if __name__ == "__main__":
    unittest.main()
