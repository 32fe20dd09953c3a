#!/bin/sh
# Makes the stores in `before/`: what a version that was in use has written, on both engines, as SQL.
# Every later version opens and migrates them (tests/it/upgrade.rs). They are made once for a
# version, and kept:
#
#   testbed with-servers services/medisync/tests/data/before.sh target/debug/medisync
#
# Demo data, a patient of its own who was changed, and one who was removed; and so an audit trail.
set -eu
medisync=$1
here=$(dirname "$0")/before
work=$(mktemp -d)
trap 'kill "$mesh" 2>/dev/null || true; rm -rf "$work"' EXIT
gateway=127.0.0.1:28404
for part in AUTH PATIENT BILLING ANALYTICS NOTIFICATION ADMIN; do
    export "MEDISYNC_${part}__LISTEN=127.0.0.1:0"
done
export MEDISYNC_BILLING__GRPC_LISTEN=127.0.0.1:0 MEDISYNC_GATEWAY__LISTEN=$gateway MEDISYNC_DEMO=true
export MEDISYNC_AUDIT__KEY="file:$work/audit.key"

call() { # METHOD PATH [BODY]
    curl --fail --silent --show-error -X "$1" "http://$gateway$2" \
        -H "authorization: Bearer ${token:-}" -H 'content-type: application/json' ${3:+-d "$3"}
}

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

use() { # a fresh mesh on these stores
    "$medisync" up --data-dir "$work/data" >"$work/out" 2>"$work/log" &
    mesh=$!
    until grep -q '^ready' "$work/out"; do
        kill -0 "$mesh"
        sleep 0.1
    done
    token=$(call POST /auth/login '{"email":"testuser@test.com","password":"password123"}' | field token)
    person='"address":"1 Test Street","dateOfBirth":"1990-02-28"'
    kept=$(call POST /api/patients "{\"name\":\"Ada Kept\",\"email\":\"ada@example.com\",$person}" | sed 's/.*"id":"\([^"]*\)".*/\1/')
    call PUT "/api/patients/$kept" "{\"name\":\"Ada Kept\",\"email\":\"kept@example.com\",$person}" >/dev/null
    gone=$(call POST /api/patients "{\"name\":\"Bob Gone\",\"email\":\"bob@example.com\",$person}" | sed 's/.*"id":"\([^"]*\)".*/\1/')
    call DELETE "/api/patients/$gone" >/dev/null
    call POST /api/users '{"email":"nurse@example.com","password":"violet tram 19 umbrella","role":"CLINICIAN"}' >/dev/null
    until call GET /api/analytics/summary | grep -q '"deleted":1,'; do sleep 0.1; done
    sleep 3 # copies of the audit trail, and messages
    kill -TERM "$mesh"
    wait "$mesh"
}

rm -rf "$here"
mkdir -p "$here"
use
for store in auth patient billing analytics notification events; do
    sqlite3 "$work/data/$store.db" .dump >"$here/$store.sqlite.sql"
done
rm -rf "$work/data"

server=${MEDISYNC_TEST_POSTGRES_OLD%/*}
for part in auth patient billing analytics notification; do
    psql -q "$MEDISYNC_TEST_POSTGRES_OLD" -c "create database before_$part"
    name=$(echo "$part" | tr '[:lower:]' '[:upper:]')
    export "MEDISYNC_${name}__DATABASE=$server/before_$part"
done
use
for part in auth patient billing analytics notification; do
    pg_dump --inserts --no-owner --no-privileges "$server/before_$part" |
        grep -v '^\\\|^--\|^$' >"$here/$part.postgres.sql"
done
cp "$work/audit.key" "$here/audit.key"
