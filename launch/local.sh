#!/usr/bin/env bash
# Runs main.py on this machine.
#
#   launch/local.sh -- --config=configs/armt.py:cpu
#   launch/local.sh --processes=2 -- --config=configs/armt.py:smoke
#
# One process drives all devices of a machine, so the default of 1 is what to
# train with. More processes join through jax.distributed, as several hosts do:
# this is for trying that out. Process i sees GPU i alone. Signals to the
# launcher are passed on to all of them. When one fails, the others get 30 s to
# save and end. The exit code is that of the first that did not end with 0.
#
#   --processes=N  number of processes, 1 by default
#   --dry-run      print the commands, run nothing

set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
source launch/lib.sh

flags=processes
processes=1
parse "$@"
at_least 1 processes
tool python

if ((processes == 1)); then
  $dry_run || exec python main.py "${main_flags[@]}"
  run python main.py "${main_flags[@]}"
  exit
fi

pids=()
forward() { kill -s "$1" "${pids[@]}" 2> /dev/null || true; }
trap 'forward TERM' TERM HUP
trap 'forward INT' INT

port=$((20000 + RANDOM % 10000))
for ((i = 0; i < processes; i++)); do
  command=(
    env CUDA_VISIBLE_DEVICES="$i" python main.py --distributed
    --coordinator="localhost:$port" --num_processes="$processes"
    --process_id="$i" "${main_flags[@]}"
  )
  if $dry_run; then
    run "${command[@]}"
    continue
  fi
  # In its own process group, so that only the launcher gets Ctrl-C.
  set -m
  "${command[@]}" &
  set +m
  pids+=($!)
done

code=0 deadline=
while ((${#pids[@]})); do
  sleep 0.2 || true
  running=()
  failed=false
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2> /dev/null; then
      running+=("$pid")
      continue
    fi
    status=0
    wait "$pid" || status=$?
    ((status)) || continue
    ((code)) || code=$status
    # 75: stopped by a signal, which the others got as well.
    ((status == 75)) || failed=true
    [ -n "$deadline" ] || deadline=$((SECONDS + 30))
  done
  pids=("${running[@]}")
  if $failed; then forward TERM; fi
  if [ -n "$deadline" ] && ((SECONDS > deadline)); then forward KILL; fi
done
exit "$code"
