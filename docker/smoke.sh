#!/bin/sh
# Starts the seven images as they are meant to run (read-only, no capability, no new privileges, a
# number for a user), waits until each one's own health check passes, says how long that took, and
# ends them: SIGTERM must be answered with exit code 0.
#
# Needs the images (build.sh), curl, python3, and podman or docker: whichever is there, or TOOL. Parts run on the embedded default, on the host's
# network and free ports of loopback, with certificates of an authority made for the occasion.
set -eu
tag=${TAG:-dev} prefix=${PREFIX:-medisync}

if [ -n "${TOOL:-}" ]; then tool=$TOOL
elif command -v podman > /dev/null; then tool=podman
elif command -v docker > /dev/null; then tool=docker
else echo "smoke.sh: neither podman nor docker is there" >&2; exit 1
fi
# It would complain of every health check that there is no systemd.
[ "$tool" != podman ] || tool="podman --log-level=fatal"

folder=$(mktemp -d)
run=medisync-smoke-$$
started=""
end() {
  for name in $started; do $tool rm --force "$name" > /dev/null 2>&1 || true; done
  rm -rf "$folder"
}
trap end EXIT
trap 'exit 1' INT TERM
# Without systemd podman has no timer for health checks: they are asked for by hand.
case $tool in
  podman*) health="--health-interval=disable" ;;
  *) health="" ;;
esac
is_healthy() {
  case $tool in
    podman*) $tool healthcheck run "$1" ;;
    *) [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ] ;;
  esac
}

fail() { echo "smoke.sh: $*" >&2; exit 1; }
now_ms() { date +%s%3N; }

# A free port each: asked of the kernel, so that this can run beside anything.
ports=$(python3 -c '
import socket
held = [socket.socket() for _ in range(16)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')
port() { echo "$ports" | cut -d " " -f "$1"; }

hardened="--read-only --cap-drop=ALL --security-opt=no-new-privileges --network=host --memory=256m $health"
# shellcheck disable=SC2086  # flags, one a word
one_shot() { $tool run --rm $hardened --volume "$folder/mesh:/data" "$prefix/medisync:$tag" "$@" > /dev/null; }

mkdir "$folder/mesh" "$folder/one"
chown 65532:65532 "$folder/mesh" "$folder/one" 2> /dev/null || chmod 777 "$folder/mesh" "$folder/one"
one_shot pki init
for part in gateway auth patient billing analytics notification; do one_shot pki issue "$part"; done

# start IMAGE NAME ADMIN-PORT: waits until it is healthy.
start() {
  image=$1 name=$run-$2 admin=$3
  shift 3
  begun=$(now_ms)
  # shellcheck disable=SC2086  # flags, one a word
  $tool run --detach --name "$name" $hardened --env "MEDISYNC_ADMIN__LISTEN=127.0.0.1:$admin" "$@" \
    "$prefix/$image:$tag" > /dev/null || fail "$image does not start"
  started="$started $name"
  tries=0
  until is_healthy "$name" > /dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { $tool logs "$name" >&2; fail "$image does not become ready"; }
    sleep 0.1
  done
  echo "$image ready after $(($(now_ms) - begun)) ms"
}

at() { echo "--env=MEDISYNC_$1=$2"; }
addresses="$(at AUTH__LISTEN "127.0.0.1:$(port 1)") $(at PATIENT__LISTEN "127.0.0.1:$(port 2)")
  $(at BILLING__LISTEN "127.0.0.1:$(port 3)") $(at BILLING__GRPC_LISTEN "127.0.0.1:$(port 4)")
  $(at ANALYTICS__LISTEN "127.0.0.1:$(port 5)") $(at NOTIFICATION__LISTEN "127.0.0.1:$(port 6)")
  $(at GATEWAY__LISTEN "127.0.0.1:$(port 7)") $(at MESH__MTLS strict)"
number=8
# The gateway comes last: it is ready when it has auth's keys.
for part in auth billing patient analytics notification gateway; do
  # shellcheck disable=SC2086  # flags, one a word
  start "$part" "$part" "$(port "$number")" --volume "$folder/mesh:/data" $addresses
  number=$((number + 1))
done
curl --fail --silent --output /dev/null "http://127.0.0.1:$(port 7)/healthz" || fail "the gateway is silent"

# All in one.
# shellcheck disable=SC2046  # flags, one a word
start medisync medisync "$(port 14)" --volume "$folder/one:/data" \
  "$(at GATEWAY__LISTEN "127.0.0.1:$(port 15)")" \
  $(for part in AUTH PATIENT BILLING ANALYTICS NOTIFICATION; do at "${part}__LISTEN" 127.0.0.1:0; done) \
  "$(at BILLING__GRPC_LISTEN 127.0.0.1:0)"

for name in $started; do
  [ "$($tool inspect --format '{{.HostConfig.ReadonlyRootfs}}' "$name")" = true ] || fail "$name can write"
  if $tool exec "$name" /bin/sh -c true 2> /dev/null; then fail "$name has a shell"; fi
done
# shellcheck disable=SC2086  # names, one a word
$tool stop --time 15 $started > /dev/null
for name in $started; do
  code=$($tool inspect --format '{{.State.ExitCode}}' "$name")
  [ "$code" = 0 ] || { $tool logs "$name" >&2; fail "$name ended with $code"; }
done
echo "all ended with 0 on SIGTERM"
