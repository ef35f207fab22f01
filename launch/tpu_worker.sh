#!/usr/bin/env bash
# Prepares a TPU worker; tpu_vm.sh and queued_resource.sh run it on each.
# Installs this copy of the code into .venv, and mounts a bucket, if one is
# named, at runs/.

set -euo pipefail
cd "$(dirname "$0")/.."

# The images come with Python 3.10, which is too old.
python3 -m pip install --quiet --user uv
python3 -m uv venv --quiet --allow-existing --python=3.12 .venv
python3 -m uv pip install --quiet --python=.venv . 'jax[tpu]'

if [ -n "${1:-}" ] && ! mountpoint --quiet runs; then
  key=/usr/share/keyrings/cloud.google.asc
  curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee "$key" > /dev/null
  echo "deb [signed-by=$key] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list > /dev/null
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 update
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 install -y gcsfuse
  mkdir -p runs
  # A checkpoint is finished by renaming its folder, and hosts must see at once
  # what another host wrote.
  gcsfuse --implicit-dirs --rename-dir-limit=10000 \
    --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 "$1" runs
fi
