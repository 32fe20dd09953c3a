#!/bin/sh
# Builds the seven images with buildah or docker, whichever is there.
#
#   docker/build.sh                                   compile in the image's own build stage
#   docker/build.sh --binary target/dist/medisync     put a binary into images: seconds
#   docker/build.sh --save FOLDER gateway auth        only these, and as archives beside
#
# TOOL (buildah or docker), TAG (dev), PREFIX (medisync) and BASE (what the Dockerfile says) come from the environment; so do
# FEATURES, CONTAINERS_CONF and STORAGE_CONF.
set -eu
cd "$(dirname "$0")/.."

all="gateway auth patient billing analytics notification medisync"
binary="" save="" targets=""
tag=${TAG:-dev} prefix=${PREFIX:-medisync}

fail() { echo "build.sh: $*" >&2; exit 1; }
while [ $# -gt 0 ]; do
  case $1 in
    --binary) [ $# -gt 1 ] || fail "--binary needs a file"; binary=$2; shift ;;
    --save) [ $# -gt 1 ] || fail "--save needs a folder"; save=$2; shift ;;
    --*) fail "there is no $1" ;;
    *) case " $all " in *" $1 "*) targets="$targets $1" ;; *) fail "there is no image $1" ;; esac ;;
  esac
  shift
done
[ -n "$targets" ] || targets=$all

if [ -n "${TOOL:-}" ]; then tool=$TOOL
elif command -v buildah > /dev/null; then tool=buildah
elif command -v docker > /dev/null; then tool=docker
else fail "neither buildah nor docker is there"
fi

set -- --build-arg "REVISION=$(git rev-parse HEAD 2> /dev/null || echo unknown)" \
  --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
[ -z "${BASE:-}" ] || set -- "$@" --build-arg "BASE=$BASE"
[ -z "${FEATURES:-}" ] || set -- "$@" --build-arg "FEATURES=$FEATURES"

context=. source=build
if [ -n "$binary" ]; then
  # A context of its own: neither is the tree read, nor does the binary stay in it.
  context=$(mktemp -d)
  trap 'rm -rf "$context"' EXIT
  mkdir -p "$context/docker/prebuilt"
  cp -r Cargo.lock "$context/"
  cp -r docker/image docker/Dockerfile "$context/docker/"
  cp "$binary" "$context/docker/prebuilt/medisync"
  chmod 755 "$context/docker/prebuilt/medisync"
  source=prebuilt
fi
# Said in any case: not every tool takes a stage's name from a default.
set -- "$@" --build-arg "SOURCE=$source"

# The same sources give the same images: no time of day is in them.
build_buildah() {
  buildah bud --quiet --layers --isolation chroot --format docker --timestamp 0 \
    --file "$context/docker/Dockerfile" "$@" "$context" > /dev/null
}
build_docker() {
  SOURCE_DATE_EPOCH=0 docker build --quiet --file "$context/docker/Dockerfile" "$@" "$context" > /dev/null
}

for target in $targets; do
  image=$prefix/$target:$tag
  "build_$tool" "$@" --target "$target" --tag "$image" || fail "cannot build $image"
  echo "$image"
  [ -n "$save" ] || continue
  mkdir -p "$save"
  archive=$save/$target.tar
  rm -f "$archive"
  case $tool in
    buildah) buildah push --quiet "$image" "docker-archive:$archive:$image" ;;
    docker) docker save --output "$archive" "$image" ;;
  esac
done
