#!/usr/bin/env bash
# Runs main.py on a Cloud TPU VM: creates it, copies this working tree to all
# workers, installs it and runs it there, and deletes the VM, also on a failure.
#
#   launch/tpu_vm.sh --name=armt --zone=us-west4-a \
#     --accelerator-type=v5litepod-8 -- --config=configs/armt.py:gpu
#   launch/tpu_vm.sh --name=armt --zone=us-west4-a --bucket=my-bucket \
#     --accelerator-type=v5litepod-16 -- --config=configs/armt.py:gpu
#
# With --bucket, the bucket is mounted at runs/, and the same command again
# resumes. Without it (one host only) runs/ is copied here before the VM is
# deleted. For slices of several hosts the SSH key must be in an agent:
# ssh-add ~/.ssh/google_compute_engine. The Google Cloud project is the one that
# gcloud is set to.
#
#   --name=NAME              name of the VM
#   --zone=ZONE              such as us-west4-a
#   --accelerator-type=TYPE  such as v4-8, v5litepod-16, v5p-8 or v6e-8
#   --runtime-version=NAME   by default the one for JAX on that type
#   --bucket=BUCKET          Cloud Storage bucket for run folders
#   --dry-run                print the commands, run nothing

set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
source launch/lib.sh

flags='name zone accelerator-type runtime-version bucket'
name='' zone='' accelerator_type='' runtime_version='' bucket=''
parse "$@"
check_tpu

trained=false
finish() {
  local code=$?
  if $trained && [ -z "$bucket" ]; then
    run gcloud compute tpus tpu-vm scp --recurse "$name:reasoning_depth/runs" . \
      --zone="$zone" --worker=0 || {
      echo "$me: $name is kept, for its runs/ could not be copied" >&2
      exit "$code"
    }
  fi
  run gcloud compute tpus tpu-vm delete "$name" --zone="$zone" --quiet ||
    echo "$me: $name could not be deleted" >&2
  exit "$code"
}

pack
run gcloud compute tpus tpu-vm create "$name" --zone="$zone" \
  --accelerator-type="$accelerator_type" --version="$runtime_version"
trap finish EXIT
copy
trained=true
train
