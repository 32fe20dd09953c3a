"""The scan finds what it is there for, in any layer, and says nothing of what it found."""

import base64
import importlib.util
import io
import json
import pathlib
import tarfile
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("scan", HERE / "scan-secrets.py")
scan = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scan)


def tar(files):
    """A tar archive of these files, as bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def findings(layers, environment=()):
    """What the scan finds in an image of these layers."""
    files = {f"layer{i}.tar": tar(layer) for i, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "Layers": list(files)}]
    files["config.json"] = json.dumps({"config": {"Env": list(environment)}}).encode()
    files["manifest.json"] = json.dumps(manifest).encode()
    with tempfile.NamedTemporaryFile() as file:
        file.write(tar(files))
        file.flush()
        return scan.in_archive(file.name)[0]


def kinds(content):
    return {kind for _, kind in findings([{"etc/file": b"before\n" + content + b"\nafter"}])}


# Put together here, so that no text of this file is what it looks for.
TEXT = base64.b64encode(bytes(range(48)))


class Scan(unittest.TestCase):
    def test_a_private_key_is_found(self):
        self.assertEqual(kinds(b"-----BEGIN " + b"PRIVATE KEY-----\n" + TEXT), {"private key"})
        self.assertEqual(kinds(b"-----BEGIN EC " + b"PRIVATE KEY-----\n" + TEXT), {"private key"})

    def test_a_key_s_first_line_alone_is_none(self):
        self.assertEqual(kinds(b"-----BEGIN " + b"PRIVATE KEY-----\0other text"), set())

    def test_tokens_are_found(self):
        self.assertEqual(kinds(b"AKIA" + b"ABCDEFGHIJKLMNOP"), {"AWS access key"})
        self.assertEqual(kinds(b"ghp_" + b"a1" * 18), {"GitHub token"})
        self.assertEqual(kinds(b"npm_" + b"a1" * 18), {"registry token"})
        token = b".".join([b"eyJ" + b"hbGciOiJFUzI1NiJ9", b"eyJ" + b"zdWIiOiIxMjM0NTY3", b"x" * 24])
        self.assertEqual(kinds(token), {"JSON web token"})

    def test_a_url_with_a_password_is_found_and_its_form_is_not(self):
        self.assertEqual(kinds(b"postgres://patient:" + b"hunter22@db/patient"), {"URL with a password"})
        self.assertEqual(kinds(b"postgres://user:" + b"pass@host:port/db"), set())

    def test_a_password_hash_is_found(self):
        hashed = b"$argon2id$v=19$m=19456,t=2,p=1$" + b"c2FsdHNhbHRzYWx0c2FsdA$" + b"a" * 43
        self.assertEqual(kinds(hashed), {"password hash"})

    def test_a_layer_below_hides_nothing(self):
        key = b"-----BEGIN " + b"PRIVATE KEY-----\n" + TEXT
        found = findings([{"etc/file": key}, {"etc/file": b"gone"}])
        self.assertEqual([kind for _, kind in found], ["private key"])

    def test_names_and_variables_are_found(self):
        self.assertEqual(len(findings([{"data/pki/ca.key": b"", "root/.env": b""}])), 2)
        self.assertEqual(len(findings([{"a": b""}], ["MEDISYNC_PATIENT__DATABASE=x", "PATH=/"])), 1)

    def test_what_was_found_is_not_said(self):
        secret = b"hunter22"
        found = findings([{"a": b"smtp://mail:" + secret + b"@host"}])
        self.assertEqual(len(found), 1)
        self.assertNotIn(secret.decode(), str(found))


if __name__ == "__main__":
    unittest.main()
