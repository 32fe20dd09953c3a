#!/usr/bin/env python3
"""Proves that no layer of an image holds a secret.

    docker/scan-secrets.py ARCHIVE...

Archives are what `docker save`, `podman save` or `docker/build.sh --save` write. Every file of every
layer is read, also those that a later layer hides, and the image's own configuration: environment,
labels, commands, history. A finding is printed with its place and its kind, never with its text, and
the exit code is 1.
"""

import hashlib
import io
import json
import re
import sys
import tarfile

# Of bytes: the binary is searched as well as texts.
PATTERNS = {
    # A key's first line alone is in every program that reads keys; one that is followed by a key's
    # text is a key.
    "private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}",
    "AWS access key": rb"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "GitHub token": rb"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9_]{60,}",
    "registry token": rb"\b(?:npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,}|cio[A-Za-z0-9]{32})\b",
    "JSON web token": rb"\beyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{20,}",
    "URL with a password": rb"\b(?:postgres(?:ql)?|kafka|smtps?|https?|amqps?|redis)://"
                           rb"[A-Za-z0-9._-]+:[^@\s/{}<>\"'`]{3,}@[A-Za-z0-9]",
    "password hash": rb"\$argon2id?\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]{16,}\$[A-Za-z0-9+/]{20,}",
}

# What help texts and error messages show as a form: nobody's password.
HARMLESS = re.compile(rb"://(?:user|username|name):(?:pass|password|secret)@")

# A file of such a name does not belong into an image, whatever it holds.
NAMES = re.compile(
    r"(?:^|/)(?:\.env(?:\..*)?|\.netrc|\.npmrc|\.pypirc|\.git-credentials|\.docker/config\.json"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)|credentials(?:\.toml|\.json)?|shadow|.*\.(?:key|p12|pfx|jks|db|sqlite))$"
)

# A setting of such a name must not be given by an image.
VARIABLES = re.compile(r"(?i)(?:password|passwd|secret|token|api_?key|__database$|__smtp$|__log$)")

COMPILED = {kind: re.compile(pattern) for kind, pattern in PATTERNS.items()}


def in_bytes(content):
    """Kinds of secrets in these bytes."""
    for kind, pattern in COMPILED.items():
        for match in pattern.finditer(content):
            if not HARMLESS.search(match.group()):
                yield kind
                break


def in_layer(layer):
    """Findings of one layer, as (path, kind)."""
    for member in layer:
        if NAMES.search(member.name):
            yield member.name, "a file of such a name"
        if member.isfile():
            for kind in in_bytes(layer.extractfile(member).read()):
                yield member.name, kind


# Layers are shared between images: what is known of one holds for all.
KNOWN = {}


def in_layer_once(content):
    """Findings of a layer, and how many files it has."""
    digest = hashlib.sha256(content).hexdigest()
    if digest not in KNOWN:
        with tarfile.open(fileobj=io.BytesIO(content)) as layer:
            KNOWN[digest] = list(in_layer(layer)), len(layer.getmembers())
    return KNOWN[digest]


def in_configuration(text):
    """Findings of an image's configuration."""
    for kind in in_bytes(text):
        yield "configuration", kind
    for variable in json.loads(text).get("config", {}).get("Env") or []:
        name, _, value = variable.partition("=")
        if value and VARIABLES.search(name):
            yield f"configuration, {name}", "a secret's variable"


def in_archive(path):
    """Findings of one archive, and how many layers and files were read."""
    findings, layers, files = [], 0, 0
    with tarfile.open(path) as archive:
        images = json.load(archive.extractfile("manifest.json"))
        for image in images:
            findings += in_configuration(archive.extractfile(image["Config"]).read())
            for name in image["Layers"]:
                content = archive.extractfile(name).read()
                found, count = in_layer_once(content)
                findings += [(f"{name[:12]}: {where}", kind) for where, kind in found]
                layers, files = layers + 1, files + count
    return findings, layers, files


def main(paths):
    if not paths:
        sys.exit(__doc__.strip())
    failed = False
    for path in paths:
        findings, layers, files = in_archive(path)
        for where, kind in findings:
            print(f"{path}: {where}: {kind}", file=sys.stderr)
        if not layers or not files:
            print(f"{path}: there is nothing in it", file=sys.stderr)
        failed = failed or bool(findings) or not files
        print(f"{path}: {layers} layers, {files} files, {len(findings)} secrets")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
