#!/bin/sh
# Installs what the tests start: two major versions of PostgreSQL, Java, Apache Kafka, Prometheus,
# Chromium, which looks at the admin page; sslscan, slowhttptest and h2load, which try the front door;
# bash and curl, which run the tour of the README; and OpenSSL's headers, for TLS to Kafka (the cargo feature
# kafka-tls). Does nothing, and says nothing, when all is there.
#
# The distribution's packages come by apt; what it does not have lies in a cache folder (functions.sh).
set -eu
cd "$(dirname "$0")"
. ./versions.env
. ./functions.sh

java_is_new_enough() {
  java=java
  [ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
  version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${version:-0}" -ge "$JAVA_AT_LEAST" ]
}

distribution_postgres() { ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1; }

# maven GOAL SETTING...
maven() {
  need mvn maven
  goal=$1
  shift
  mvn --quiet --batch-mode --file pom.xml "-Dkafka.version=$KAFKA" \
    "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:$goal" "$@" > "$cache/log" ||
    { cat "$cache/log" >&2; return 1; }
}

# Programs that run on any Linux, with TLS.
portable_postgres() {
  place=$cache/postgres-$POSTGRES
  [ ! -x "$place/bin/postgres" ] || return 0
  case $(uname -m) in
    x86_64) machine=amd64 ;;
    aarch64) machine=arm64v8 ;;
    *) fail "PostgreSQL $POSTGRES is not there for this machine" ;;
  esac
  need xz xz-utils
  say "fetching PostgreSQL $POSTGRES"
  new_folder
  artifact=io.zonky.test.postgres:embedded-postgres-binaries-linux-$machine:$POSTGRES
  maven unpack "-Dartifact=$artifact" "-DoutputDirectory=$cache/new" ||
    fail "cannot fetch PostgreSQL $POSTGRES"
  tar -xJf "$cache"/new/*.txz -C "$cache/new"
  rm "$cache"/new/*.txz
  chmod -R go+rX "$cache/new"
  "$cache/new/bin/initdb" --version > /dev/null || fail "PostgreSQL $POSTGRES does not run"
  rm -rf "$place"
  mv "$cache/new" "$place"
}

kafka() {
  place=$cache/kafka-$KAFKA
  [ ! -e "$place/kafka_2.13-$KAFKA.jar" ] || return 0
  say "fetching Apache Kafka $KAFKA"
  new_folder
  maven copy-dependencies -DincludeScope=runtime \
    "-DoutputDirectory=$cache/new" || fail "cannot fetch Apache Kafka $KAFKA"
  chmod -R go+rX "$cache/new"
  rm -rf "$place"
  mv "$cache/new" "$place"
}

need bash bash
need curl curl ca-certificates
need_idle promtool prometheus
need chromium chromium
need sslscan sslscan
need slowhttptest slowhttptest
need h2load nghttp2-client
need pkg-config pkg-config
pkg-config --exists openssl || apt libssl-dev
pkg-config --exists openssl || fail "OpenSSL's headers are still missing"
distribution_postgres || apt postgresql
distribution_postgres || fail "PostgreSQL is still missing in /usr/lib/postgresql"
java_is_new_enough || apt default-jre-headless
java_is_new_enough || fail "Java $JAVA_AT_LEAST or newer is missing; set JAVA_HOME"
portable_postgres
kafka
