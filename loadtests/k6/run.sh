#!/usr/bin/env bash
# Runs a k6 script: loadtests/k6/run.sh SCRIPT [ARGUMENTS OF k6...]
#
# Against $BASE_URL when it is set; else against a mesh that it starts from $BINARY (the release build
# unless told otherwise) in an empty folder, without rate limits, and stops afterwards. What k6 saw goes
# to $REPORT (loadtests/k6/SCRIPT.html unless told otherwise).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
script=${1:?usage: loadtests/k6/run.sh smoke|load|stress|spike|soak|breakpoint [ARGUMENTS OF k6...]}
shift
[ -f "$here/$script.js" ] || { echo "there is no $here/$script.js" >&2; exit 64; }
k6=$("$here/../install.sh" k6)

if [ -z "${BASE_URL:-}" ]; then
  binary=$(realpath "${BINARY:-$here/../../target/release/medisync}")
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
fi

export BASE_URL K6_WEB_DASHBOARD=true K6_WEB_DASHBOARD_PORT=-1
export K6_WEB_DASHBOARD_EXPORT=${REPORT:-$here/$script.html}
export K6_NO_USAGE_REPORT=true
code=0
"$k6" run --quiet "$@" "$here/$script.js" || code=$?
echo "written to $K6_WEB_DASHBOARD_EXPORT"
exit "$code"
