#!/usr/bin/env bash
# Runs a k6 script: loadtests/k6/run.sh SCRIPT [ARGUMENTS OF k6...]
#
# Against $BASE_URL when it is set; else against a mesh that it starts from $BINARY (target/dist/medisync
# unless it is set) in an empty folder, without rate limits, and stops afterwards. What k6 saw goes
# to $REPORT (loadtests/k6/SCRIPT.html unless told otherwise).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
script=${1:?usage: loadtests/k6/run.sh smoke|load|stress|spike|soak|breakpoint [ARGUMENTS OF k6...]}
shift
[ -f "$here/$script.js" ] || { echo "there is no $here/$script.js" >&2; exit 64; }
k6=$("$here/../install.sh" k6)

if [ -z "${BASE_URL:-}" ]; then
  . "$here/../../services/testbed/mesh.sh"
fi

export BASE_URL K6_WEB_DASHBOARD=true K6_WEB_DASHBOARD_PORT=-1
export K6_WEB_DASHBOARD_EXPORT=${REPORT:-$here/$script.html}
export K6_NO_USAGE_REPORT=true
code=0
"$k6" run --quiet "$@" "$here/$script.js" || code=$?
echo "written to $K6_WEB_DASHBOARD_EXPORT"
exit "$code"
