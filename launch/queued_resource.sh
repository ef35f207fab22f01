#!/usr/bin/env bash
# Runs main.py on spot TPUs: queues for a slice, copies this working tree to all
# workers, installs it and runs it there. When the slice is preempted, it queues
# again, until the run is done. The slice is deleted at the end.
#
#   launch/queued_resource.sh --name=armt --zone=us-west4-a --bucket=my-bucket \
#     --accelerator-type=v5litepod-16 -- --config=configs/armt.py:gpu
#
# The bucket is mounted at runs/, so that a run resumes from its last
# checkpoint. The exit code is main.py's, or 75 when the restarts are used up:
# the same command again resumes. The launcher must keep running, such as in
# tmux on a small machine. For slices of several hosts the SSH key must be in an agent:
# ssh-add ~/.ssh/google_compute_engine. The Google Cloud project is the one that
# gcloud is set to.
#
#   --name=NAME              name of the queued resource and of its node
#   --zone=ZONE              such as us-west4-a
#   --accelerator-type=TYPE  such as v4-8, v5litepod-16, v5p-8 or v6e-8
#   --runtime-version=NAME   by default the one for JAX on that type
#   --bucket=BUCKET          Cloud Storage bucket for run folders
#   --max-restarts=N         how often to queue again, 20 by default
#   --dry-run                print the commands, run nothing

set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
source launch/lib.sh

flags='name zone accelerator-type runtime-version bucket max-restarts'
name='' zone='' accelerator_type='' runtime_version='' bucket='' max_restarts=20
parse "$@"
need bucket
at_least 0 max-restarts
check_tpu

created=false
delete() {
  if $created; then
    created=false
    run gcloud compute tpus queued-resources delete "$name" --zone="$zone" \
      --force --quiet || echo "$me: $name could not be deleted" >&2
  fi
}
trap delete EXIT

state() {
  run gcloud compute tpus queued-resources describe "$name" --zone="$zone" \
    --format='value(state.state)' || true
}

wait_for_slice() {
  local now seen=
  while true; do
    now=$(state)
    [ "$now" = "$seen" ] || echo "$name: $now" >&2
    seen=$now
    case $now in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDING | SUSPENDED) return 1 ;;
    esac
    sleep 30
  done
}

# Whether the slice leaves ACTIVE within a minute.
goes_away() {
  local i
  for ((i = 0; i < 6; i++)); do
    [ "$(state)" = ACTIVE ] || return 0
    sleep 10
  done
  return 1
}

pack
for ((restarts = 0; restarts <= max_restarts; restarts++)); do
  run gcloud compute tpus queued-resources create "$name" --node-id="$name" \
    --zone="$zone" --accelerator-type="$accelerator_type" \
    --runtime-version="$runtime_version" --spot
  created=true
  if $dry_run; then
    state
    echo '# until it is ACTIVE, then:'
    copy
    train
    delete
    echo "# and from the create on again, at most $max_restarts times, when that ended with 75 or the slice went away"
    exit
  fi
  code=75
  if wait_for_slice; then
    code=0
    { copy && train; } || code=$?
  fi
  # A preemption can end with any code: 255 is a lost connection, others come
  # from workers whose peers are gone.
  case $code in
    75 | 255) ;;
    0 | 2 | 3) exit "$code" ;;
    *) goes_away || exit "$code" ;;
  esac
  echo "$name: ended with $code; restarts so far: $restarts of $max_restarts" >&2
  delete
done
exit 75
