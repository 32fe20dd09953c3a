#!/usr/bin/env bash
# Starts the mesh of a binary in an empty folder and prints: time to ready, on first and second start;
# memory and processor time when idle; time to stop.
#   loadtests/idle.sh target/release/medisync
set -euo pipefail
binary=$(realpath "${1:?usage: loadtests/idle.sh BINARY}")
folder=$(mktemp -d)
idle_s=10
trap 'kill -KILL "${pid:-}" 2> /dev/null || true; rm -rf "$folder"' EXIT

for part in GATEWAY AUTH PATIENT BILLING ANALYTICS NOTIFICATION ADMIN; do
  export "MEDISYNC_${part}__LISTEN=127.0.0.1:0"
done
export MEDISYNC_BILLING__GRPC_LISTEN=127.0.0.1:0

# Processor time of the process so far, in clock ticks (proc(5), fields 14 and 15 of stat).
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }

start() {
  mkfifo "$folder/out"
  began=$(date +%s%N)
  "$binary" up --data-dir "$folder/data" > "$folder/out" 2> "$folder/log" &
  pid=$!
  while read -r line; do
    case $line in ready*) break ;; esac
  done < "$folder/out"
  echo "$(( ($(date +%s%N) - began) / 1000000 )) ms"
}

stop() {
  began=$(date +%s%N)
  kill -TERM "$pid"
  code=0; wait "$pid" || code=$?
  rm -f "$folder/out"
  echo "$(( ($(date +%s%N) - began) / 1000000 )) ms, exit code $code"
}

# `start` must not run in a subshell: the process is this shell's child, so that it can be waited for.
start > "$folder/first"; echo "first start, with demo data: ready after $(cat "$folder/first")"
stop > "$folder/stop"; echo "stopped after $(cat "$folder/stop")"
start > "$folder/second"; echo "second start: ready after $(cat "$folder/second")"
sleep 2
before=$(ticks)
sleep "$idle_s"
after=$(ticks)
echo "idle: $(awk '/VmRSS/ { printf "%.1f MiB resident", $2 / 1024 }' "/proc/$pid/status"), $(
  awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v s="$idle_s" \
    'BEGIN { printf "%.2f %% of one processor over %d s", 100 * t / hz / s, s }')"
stop > "$folder/stop"; echo "stopped after $(cat "$folder/stop")"
echo "binary: $(stat -c %s "$binary" | awk '{ printf "%.1f MiB", $1 / 1048576 }'), needs $(
  ldd "$binary" | awk '{ print $1 }' | grep -v vdso | xargs -n1 basename | paste -sd ' ')"
