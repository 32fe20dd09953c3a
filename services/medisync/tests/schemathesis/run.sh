#!/usr/bin/env bash
# Schemathesis against every OpenAPI document, through the gateway, as an administrator: every
# documented operation with data that fits its schema and data that does not, with every check that
# there is and two of our own (hooks.py). What the documents list is asked; nothing is listed here.
#
# run.sh [ARGUMENTS OF schemathesis run...]: of $BINARY (the release build unless told otherwise), in
# an empty folder, without rate limits. The seed is fixed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../../..
binary=$(realpath "${BINARY:-$root/target/release/medisync}")

. "$root/services/testbed/functions.sh"
need python3 python3
python=$cache/schemathesis-python
if ! cmp -s "$python/installed" "$here/requirements.txt"; then
  say "installing Schemathesis"
  rm -rf "$python"
  python3 -m venv "$python" 2> "$cache/log" || { apt python3-venv; python3 -m venv "$python"; }
  "$python/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" \
    > "$cache/log" 2>&1 || { cat "$cache/log" >&2; fail "cannot install Schemathesis"; }
  cp "$here/requirements.txt" "$python/installed"
fi
flock -u 9
exec 9>&-

folder=$(mktemp -d)
trap 'kill -TERM "$pid" 2> /dev/null && wait "$pid" || true; rm -rf "$folder"' EXIT
for part in GATEWAY AUTH PATIENT BILLING ANALYTICS NOTIFICATION ADMIN; do
  export "MEDISYNC_${part}__LISTEN=127.0.0.1:0"
done
export MEDISYNC_BILLING__GRPC_LISTEN=127.0.0.1:0
for limit in USER CLIENT LOGIN; do export "MEDISYNC_GATEWAY__RATE_LIMIT__$limit=off"; done
export MEDISYNC_AUTH__RATE_LIMIT__ACCOUNT=off
mkfifo "$folder/out"
"$binary" up --data-dir "$folder/data" > "$folder/out" 2> "$folder/log" &
pid=$!
# Read to its end: a mesh that cannot say that it is ready would not be.
exec 3< "$folder/out"
while read -r line <&3; do
  case $line in ready*) break ;; esac
done
BASE_URL=$(sed -n 's/^ready .*\(http:[^ ]*\) (gateway).*/\1/p' <<< "${line:-}")
[ -n "$BASE_URL" ] || { echo "the mesh did not start:" >&2; tail "$folder/log" >&2; exit 1; }

export BASE_URL ADMIN_EMAIL=testuser@test.com ADMIN_PASSWORD=password123
export SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
cd "$folder"
code=0
for document in auth patients billing analytics notifications; do
  url=$BASE_URL/api-docs/$document
  prefix=$(curl -sS --fail "$url" | "$python/bin/python" -c \
    'import json, sys; print(json.load(sys.stdin)["servers"][0]["url"].rstrip("/"))')
  echo "schemathesis: $document"
  "$python/bin/schemathesis" --no-color run "$url" --url "$BASE_URL$prefix" --checks all \
    --max-examples 30 --seed 1 --continue-on-failure --no-shrink "$@" > said 2>&1 || code=1
  if [ "$code" = 0 ]; then grep -A 1 '^Test cases' said; else cat said >&2; exit 1; fi
done
