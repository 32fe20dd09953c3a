#!/bin/sh
# Checks everything that deploys MediSync: images, Compose, Kubernetes, AWS. Quiet when all is well.
#
# Tools are installed once, each of a pinned version, below the folder that the other tests use.
# What is started (a PostgreSQL, two fakes of AWS) runs in a network of its own, so no port can be
# taken and none is open to others, and ends with it.
set -eu
cd "$(dirname "$0")"
here=$PWD

if [ "${1:-}" = --inside ]; then
  . ./checks/inside.sh
  exit
fi

# Servers first, since their installer and this one wait for each other.
. ../services/testbed/versions.env
for server in /var/cache/medisync-testbed "${XDG_CACHE_HOME:-$HOME/.cache}/medisync-testbed"; do
  [ ! -x "$server/postgres-$POSTGRES/bin/postgres" ] || found=yes
done
[ -n "${found:-}" ] || ../services/testbed/install.sh

. ../services/testbed/functions.sh
say() { echo "infrastructure: $*"; }

need shellcheck shellcheck
need psql postgresql-client
need ip iproute2
need python3 python3
need node nodejs
need npm npm
[ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -ge 20 ] || fail "Node 20 or newer is needed"

# installed MARK FILE: whether what FILE pins is what MARK says is there.
installed() { [ -f "$1" ] && cmp -s "$1" "$2"; }

python=$cache/infrastructure-python
if ! installed "$python/installed" requirements.txt; then
  say "installing Python tools"
  rm -rf "$python"
  python3 -m venv "$python" 2> "$cache/log" || { apt python3-venv; python3 -m venv "$python"; }
  "$python/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt > "$cache/log" 2>&1 ||
    { cat "$cache/log" >&2; fail "cannot install Python tools"; }
  cp requirements.txt "$python/installed"
fi
if ! installed aws/node_modules/.installed aws/package-lock.json; then
  say "installing Node packages"
  (cd aws && npm ci --silent --no-audit --no-fund) > "$cache/log" 2>&1 ||
    { cat "$cache/log" >&2; fail "cannot install Node packages"; }
  cp aws/package-lock.json aws/node_modules/.installed
fi
# Installed: whoever waits for the lock may go on.
flock -u 9
exec 9>&-

export python postgres="$cache/postgres-$POSTGRES/bin" here
# Everything that is started is killed with the first process of this.
if [ "$(id -u)" = 0 ]; then
  exec unshare --net --pid --fork --kill-child "$here/check.sh" --inside
fi
exec unshare --user --map-current-user --keep-caps --net --pid --fork --kill-child "$here/check.sh" --inside
