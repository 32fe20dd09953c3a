#!/bin/sh
# Installs what builds and runs images where there is no Docker: buildah, podman and runc, and a base
# image of Debian 12, made of the distribution's packages, since no hub is asked. Prints what to put
# into the environment of docker/build.sh and of the tests. Does nothing when all is there.
set -eu
cd "$(dirname "$0")"
. ./functions.sh

base=localhost/debian:bookworm
settings=$cache/containers.conf

[ "$(id -u)" = 0 ] || fail "containers are built and started by root"
need buildah buildah >&2
need podman podman >&2
need runc runc >&2
need curl curl >&2
need python3 python3 >&2

# Without systemd there is nobody who could be asked for a control group, and what a container may
# open at most must not be more than we may ourselves.
cat > "$settings" <<'EOF'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
EOF

if ! CONTAINERS_CONF=$settings podman image exists "$base" 2> /dev/null; then
  need debootstrap debootstrap >&2
  say "making a base image of Debian 12" >&2
  new_folder
  debootstrap --variant=minbase bookworm "$cache/new/root" > "$cache/log" 2>&1 ||
    { tail "$cache/log" >&2; fail "cannot make a base image"; }
  tar -C "$cache/new/root" -cf "$cache/new/root.tar" .
  CONTAINERS_CONF=$settings podman import --quiet "$cache/new/root.tar" "$base" > "$cache/log" 2>&1 ||
    { cat "$cache/log" >&2; fail "cannot import the base image"; }
  rm -rf "$cache/new"
fi
echo "CONTAINERS_CONF=$settings BASE=$base"
