#!/bin/sh
# rustc for our own crates, with the counters by which libFuzzer learns what an input has reached.
case " $* " in
  # These run while others are built, without libFuzzer.
  *" --crate-name build_script_"*) exec "$@" ;;
esac
# CI has lints looked for in whatever it builds.
exec ${CLIPPY_ARGS:+clippy-driver} "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares
