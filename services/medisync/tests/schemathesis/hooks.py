"""What Schemathesis has to be told of MediSync: who asks, and what every refusal looks like.

The run is an administrator's. Nothing may end that user's own sign-in: a request that logs out
brings a token of its own, and none changes or removes the user itself.
"""

import os
import re

import requests
import schemathesis

BASE_URL = os.environ["BASE_URL"]
EMAIL, PASSWORD = os.environ["ADMIN_EMAIL"], os.environ["ADMIN_PASSWORD"]
NOBODY = "00000000-0000-4000-8000-000000000000"

# Words of databases, of Rust and of this machine that a caller has no business to see.
INTERNALS = re.compile(
    r"""
    \b(select|insert|update|delete)\b.{0,80}\b(from|into|set|where)\b  # statements
    | \b(sqlite|postgres|psql|sql|rusqlite|tokio|hyper|pingora|tonic|serde|kafka|rdkafka)\b
    | \b(unique|foreign\ key|check)\ constraint\b
    | \w+::\w+                                                        # paths of types
    | \b(Option|Result|Vec|String|struct|enum)\s*[<{(]
    | \bpanicked\b | \bunwrap\b | \bbacktrace\b | \.rs\b
    | (^|[\s"'(])/(home|root|tmp|var|usr|etc|data|app)/                # paths of files
    | \bline\ \d+\ column\ \d+                                        # a parser's own words
    | \b127\.0\.0\.1\b
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)

SECRET_KEY = re.compile(r'"\w*(password|hash|secret)\w*"\s*:', re.IGNORECASE)

# Why a request may be refused that fits its schema: no schema says these.
NOT_IN_A_SCHEMA = {
    "is not a cursor of this list",
    "is one of the most common passwords",
    # What Unicode calls a control character is more than a pattern can list.
    "must not have control characters",
    # Nor does one know anybody's password,
    "is wrong",
    # or what day it is, a first one, or which comes first of two,
    "must not be in the future",
    "must not be before 1850",
    "must not be before the birth",
    # who is there, or what all parts call what is done.
    "names nobody whom the audit log knows: give an id, a part's SPIFFE id, anonymous, shell or system",
    "must be an action of the audit log, such as patient.read",
}
CODES_NOT_IN_A_SCHEMA = {"idempotency_key_reused", "precondition_failed"}


def call(path, body=None, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    method = "POST" if body else "GET"
    answer = requests.request(method, BASE_URL + path, json=body, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()


def sign_in():
    return call("/auth/login", {"email": EMAIL, "password": PASSWORD})["token"]


OWN_ID = call("/auth/me", token=sign_in())["id"]


class Administrator:
    """Brings a token, and says how it is sent."""

    def get(self, case, context):
        return sign_in()

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


def ends_sign_ins(context):
    return context.operation.path.endswith(("/logout", "/auth/password"))


schemathesis.auth(refresh_interval=None).apply_to(ends_sign_ins)(
    type("AdministratorOnce", (Administrator,), {})
)
schemathesis.auth(refresh_interval=300).skip_for(ends_sign_ins)(Administrator)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Lets no answer say more than its schema: what is not listed is not there."""
    for schema in raw_schema.get("components", {}).get("schemas", {}).values():
        if schema.get("properties"):
            schema.setdefault("additionalProperties", False)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Spares the user of this run: an id that a list gave may be its own."""
    if case.method in ("PATCH", "PUT", "DELETE") and OWN_ID in case.path_parameters.values():
        case.path_parameters = {
            name: NOBODY if value == OWN_ID else value
            for name, value in case.path_parameters.items()
        }


def is_right(error, body):
    """Whether the field is refused for what no schema says; a text that nobody sees is none."""
    if error["message"] != "is required":
        return error["message"] in NOT_IN_A_SCHEMA
    text = body.get(error["field"]) if isinstance(body, dict) else None
    return isinstance(text, str) and not any(c.isprintable() and not c.isspace() for c in text)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keeps every failure but the refusals of a valid body that are right all the same."""
    if failure.title != "Schema-valid request rejected":
        return True
    problem = response.json()
    errors = problem.get("errors", [])
    right = errors and all(is_right(error, case.body) for error in errors)
    return not right and problem["code"] not in CODES_NOT_IN_A_SCHEMA


@schemathesis.check
def refusals_are_problems_without_internals(context, response, case):
    """Every error is a problem document (RFC 9457) with a trace id, and tells nothing of us."""
    if response.status_code < 400 or case.method == "HEAD":
        return
    kind = response.headers.get("content-type", [""])[0]
    assert kind == "application/problem+json", f"an error of type {kind!r}"
    problem = response.json()
    assert re.fullmatch("[0-9a-f]{32}", problem.get("traceId", "")), "an error without a trace id"
    assert problem["status"] == response.status_code, "an error of another status"
    told = INTERNALS.search(response.text)
    assert not told, f"an error that tells of internals: {told.group()!r}"


@schemathesis.check
def no_answer_has_a_secret(context, response, case):
    """Passwords and their hashes go in, and never come out."""
    assert not SECRET_KEY.search(response.text), "a key that names a secret"
