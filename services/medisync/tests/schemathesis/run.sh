#!/usr/bin/env bash
# Schemathesis against every OpenAPI document, through the gateway, as an administrator: every
# documented operation with data that fits its schema and data that does not, with every check that
# there is and two of our own (hooks.py). What the documents list is asked; nothing is listed here.
#
# run.sh [ARGUMENTS OF schemathesis run...]: of $BINARY (target/dist/medisync unless it is set), in
# an empty folder, without rate limits. The seed is fixed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../../..

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

. "$root/services/testbed/mesh.sh"
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
