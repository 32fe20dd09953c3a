#!/usr/bin/env bash
# Starts the mesh of a binary in an empty folder and prints: time to ready, on first and second start;
# memory and processor time when idle; memory with a thousand connections; time to stop.
#   loadtests/idle.sh target/dist/medisync
set -euo pipefail
binary=$(realpath "${1:?usage: loadtests/idle.sh BINARY}")
folder=$(mktemp -d)
idle_s=10
trap 'kill -KILL "${pid:-}" 2> /dev/null || true; rm -rf "$folder"' EXIT

# Else a thousand connections from one address are too many requests a second.
export MEDISYNC_GATEWAY__RATE_LIMIT__CLIENT=off
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
  gateway=$(sed -n 's/^ready .*http:\/\/\([^ ]*\) (gateway).*/\1/p' <<< "$line")
  echo "$(( ($(date +%s%N) - began) / 1000000 )) ms"
}

stop() {
  began=$(date +%s%N)
  kill -TERM "$pid"
  code=0; wait "$pid" || code=$?
  rm -f "$folder/out"
  echo "$(( ($(date +%s%N) - began) / 1000000 )) ms, exit code $code"
}

resident() { awk '/VmRSS/ { printf "%.1f MiB resident", $2 / 1024 }' "/proc/$pid/status"; }

# So many connections at the gateway, each of which has been answered and may ask again.
connect() {
  fds=()
  for ((n = 0; n < $1; n++)); do
    exec {fd}<> "/dev/tcp/${gateway%:*}/${gateway##*:}"
    printf 'GET /healthz HTTP/1.1\r\nhost: medisync\r\n\r\n' >&"$fd"
    fds+=("$fd")
  done
  for fd in "${fds[@]}"; do
    read -r status <&"$fd"
    case $status in *' 200 '*) ;; *) echo "answered: $status" >&2; exit 1 ;; esac
  done
}

# `start` must not run in a subshell: the process is this shell's child, so that it can be waited for.
start > "$folder/first"; echo "first start, with demo data: ready after $(cat "$folder/first")"
stop > "$folder/stop"; echo "stopped after $(cat "$folder/stop")"
start > "$folder/second"; echo "second start: ready after $(cat "$folder/second")"
sleep 2
before=$(ticks)
sleep "$idle_s"
after=$(ticks)
echo "idle: $(resident), $(
  awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v s="$idle_s" \
    'BEGIN { printf "%.2f %% of one processor over %d s", 100 * t / hz / s, s }')"
ulimit -n 4096
connect 1000
echo "with 1000 connections: $(resident)"
for fd in "${fds[@]}"; do exec {fd}>&-; done
stop > "$folder/stop"; echo "stopped after $(cat "$folder/stop")"
echo "binary: $(stat -c %s "$binary" | awk '{ printf "%.1f MiB", $1 / 1048576 }'), needs $(
  ldd "$binary" | awk '{ print $1 }' | grep -v vdso | xargs -n1 basename | paste -sd ' ')"
