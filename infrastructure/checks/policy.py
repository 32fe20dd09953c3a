"""The table of policy.json, as the other checks read it."""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = json.loads((ROOT / "infrastructure/policy.json").read_text())
PARTS = TABLE["parts"]
ADMIN = TABLE["adminPort"]
# Where no part but a store or the like is called.
ELSEWHERE = {("kafka", "events"): 9092, ("mail", "smtp"): 1025}


def port_of(to, port):
    """A port's number."""
    if isinstance(port, int):
        return port
    return PARTS[to]["ports"][port] if to in PARTS else ELSEWHERE[to, port]


PATHS = {(p["from"], p["to"], port_of(p["to"], p["port"])) for p in TABLE["paths"]}


def ports(part):
    """What a part listens on, its admin port aside."""
    return set(PARTS[part]["ports"].values())
