#!/bin/sh
# run.sh [SECONDS] [TARGET...]: fuzzes every target, or these, for so long each (10 s); with SEED=N
# and RUNS=N the same inputs each time, as CI does. Fails when one breaks, or does nothing. What breaks it is written to fuzz/found/; with the fix it goes to the corpus.
#
# libFuzzer is linked as any crate is, by the toolchain that builds everything else: only our own
# crates are instrumented, so that what `cargo test` has built of others serves here as well.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-10}
[ $# = 0 ] || shift
[ $# -gt 0 ] || set -- $(ls fuzz/corpus)

. services/testbed/functions.sh
need g++ g++
flock -u 9

# With medisync, so that other crates have the features that they have everywhere else.
RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/instrument.sh \
  cargo build --quiet --locked --package fuzz --package medisync --features fuzz/targets --bin 'fuzz_*'

mkdir -p fuzz/found
failed=""
for target in "$@"; do
  # New inputs go to the first folder, which nobody keeps.
  work=$(mktemp -d)
  if ! "target/debug/fuzz_$target" -max_total_time="$seconds" -seed="${SEED:-0}" -runs="${RUNS:--1}" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="fuzz/found/$target-" "$work" "fuzz/corpus/$target" 2> "$work/said"; then
    cat "$work/said" >&2
    failed=yes
  fi
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/said")
  echo "fuzz: $target: ${executed:-0} executions, $(grep -o 'cov: [0-9]*' "$work/said" | tail -n 1)"
  [ "${executed:-0}" -gt 0 ] || failed=yes
  rm -rf "$work"
done
[ -z "$failed" ] || { echo "fuzz: something does not hold" >&2; exit 1; }
