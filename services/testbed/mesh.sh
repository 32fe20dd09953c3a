# shellcheck shell=bash
# To be sourced: starts a whole mesh of $BINARY (target/dist/medisync unless it is set) in an empty
# $folder, without rate limits, and stops it when the script ends. Its gateway is at $BASE_URL then.
binary=$(realpath "${BINARY:-$(dirname "${BASH_SOURCE[0]}")/../../target/dist/medisync}")
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
