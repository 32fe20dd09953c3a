# The checks themselves, in a network of their own (check.sh). Each says nothing when it is content.
# shellcheck shell=sh disable=SC2154  # python, postgres and here come from check.sh

ip link set lo up
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# try WHAT COMMAND...: runs it, and shows what it said when it failed.
try() {
  what=$1
  shift
  "$@" > "$work/said" 2>&1 && return 0
  echo "infrastructure: $what:" >&2
  cat "$work/said" >&2
  exit 1
}

# wait_for PORT: until somebody listens there.
wait_for() {
  "$python/bin/python" - "$1" <<'PY'
import socket, sys, time
for _ in range(200):
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", int(sys.argv[1]))) == 0:
            sys.exit()
    time.sleep(0.1)
sys.exit(f"nobody listens on {sys.argv[1]}")
PY
}

# --- Files, as they lie there. ---
try "shell scripts" shellcheck --external-sources check.sh ../docker/*.sh ../docker/image/*.sh ../docker/postgres/*.sh
try "docker/Dockerfile" "$python/bin/hadolint" ../docker/Dockerfile
try "the workflow" "$python/bin/check-jsonschema" --builtin-schema vendor.github-workflows ../.github/workflows/ci.yml
(cd checks && try "Compose, Kubernetes, the list of parts" "$python/bin/python" -m unittest --quiet test_compose test_kubernetes test_sbom)
(cd ../docker && try "the scan for secrets" "$python/bin/python" -m unittest --quiet test_scan_secrets)

# --- A PostgreSQL, which refuses to run as root. ---
as=""
if [ "$(id -u)" = 0 ]; then
  as="setpriv --reuid=nobody --clear-groups"
  mkdir "$work/postgres"
  chown nobody "$work/postgres"
fi
echo postgres > "$work/password"
chmod 644 "$work/password"
try "initdb" $as "$postgres/initdb" --pgdata "$work/postgres/data" --username postgres \
  --pwfile "$work/password" --auth scram-sha-256 --no-sync
$as "$postgres/postgres" -D "$work/postgres/data" -p 5432 -k "$work/postgres" -c fsync=off > "$work/server" 2>&1 &
wait_for 5432
export PGHOST=127.0.0.1 PGPASSWORD=postgres

# --- AWS. ---
cd aws
try "types" node_modules/.bin/tsc --noEmit
export MEDISYNC_TEST_POSTGRES_PORT=5432
try "tests" npm test --silent
for stage in dev prod; do
  try "synth of $stage" node_modules/.bin/cdk synth --quiet --no-notices --strict --output "$work/$stage" \
    --context stage=$stage --context certificate=arn:aws:acm:eu-central-1:123456789012:certificate/test
  # CDK writes dependencies that a reference implies already.
  try "template of $stage" "$python/bin/cfn-lint" --ignore-checks W3005 -- "$work/$stage"/*.template.json
done
"$python/bin/moto_server" -H 127.0.0.1 -p 4501 > "$work/moto" 2>&1 &
GATEWAY_PORT=4502 "$python/bin/ministack" > "$work/ministack" 2>&1 &
wait_for 4501
wait_for 4502
try "deployment into moto" "$python/bin/python" test/fakes.py moto http://127.0.0.1:4501 "$work/dev"
try "deployment into MiniStack" "$python/bin/python" test/fakes.py ministack http://127.0.0.1:4502 "$work/dev"
cd ..

# --- The roles that Compose makes: each in its own database, and in no other. ---
mkdir "$work/passwords"
for service in auth patient billing analytics notification; do echo "of-$service" > "$work/passwords/$service-database"; done
SECRETS=$work/passwords try "roles" sh ../docker/postgres/roles.sh
PGPASSWORD=of-patient try "patient in its database" psql --username patient --dbname patient --command 'CREATE TABLE t ()'
for database in billing postgres template1; do
  if PGPASSWORD=of-patient psql --username patient --dbname "$database" --command 'SELECT' > "$work/said" 2>&1; then
    echo "infrastructure: patient can enter $database" >&2
    exit 1
  fi
done
echo "infrastructure: all is well"
