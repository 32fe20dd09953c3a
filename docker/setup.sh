#!/bin/sh
# Makes docker/secrets: passwords, the parts' settings that hold one, and the mesh's authority. What
# is there is kept, so this can be run again.
#
# The authority is made by the image `medisync` (build.sh), or by a binary that MEDISYNC names. Keep
# docker/secrets/authority/ca.key: with it anybody can be any part. The folder is for its owner only;
# the files in it can be read by all, since containers have users of their own.
set -eu
cd "$(dirname "$0")"
umask 022
secrets=${SECRETS:-secrets}
mkdir -p "$secrets/authority"
chmod 700 "$secrets"

# once FILE: whether it has to be written; it is read from standard input then.
once() { [ -s "$secrets/$1" ] && return 0; cat > "$secrets/$1.new"; mv "$secrets/$1.new" "$secrets/$1"; }
# 192 bits, in characters that mean the same in a URL, in TOML and in a shell.
random() { od -An "-N${1:-24}" -tx1 /dev/urandom | tr -d ' \n'; }

random | once postgres
random | once grafana
# What audit logs are sealed with: an audit log can be verified with this key and no other.
random 32 | once audit-key
for service in auth patient billing analytics notification; do
  random | once "$service-database"
  {
    echo "[$service]"
    echo "database = \"postgres://$service:$(cat "$secrets/$service-database")@postgres:5432/$service?sslmode=disable\""
    [ "$service" != notification ] || echo 'smtp = "smtp://mail:1025"'
    echo "[audit]"
    echo "key = \"$(cat "$secrets/audit-key")\""
  } | once "$service.toml"
done

if [ ! -s "$secrets/authority/ca.key" ]; then
  made=$(mktemp -d)
  trap 'rm -rf "$made"' EXIT
  if [ -n "${MEDISYNC:-}" ]; then
    "$MEDISYNC" --data-dir "$made" pki init > /dev/null
  else
    tool=docker
    command -v docker > /dev/null || tool=podman
    $tool run --rm --network none --user "$(id -u):$(id -g)" --volume "$made:/data" \
      "${MEDISYNC_IMAGES:-medisync}/medisync:${MEDISYNC_TAG:-dev}" pki init > /dev/null
  fi
  cp "$made/pki/ca.pem" "$made/pki/ca.key" "$secrets/authority/"
  chmod 644 "$secrets/authority/"*
fi
echo "secrets are in docker/$secrets"
