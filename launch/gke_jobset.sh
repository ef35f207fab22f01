#!/usr/bin/env bash
# Runs main.py on a TPU slice of a GKE cluster: fills in gke_jobset.yaml and
# applies it with kubectl.
#
#   launch/gke_jobset.sh --name=armt --image=IMAGE --bucket=my-bucket \
#     --accelerator=tpu-v5-lite-podslice --topology=4x4 \
#     -- --config=configs/armt.py:gpu
#
# The cluster is the one that kubectl is set to. It needs JobSet 0.6 or later,
# the Cloud Storage FUSE driver, a node pool of that accelerator and topology,
# and a service account that may write to the bucket, which is mounted at runs/.
# launch/Dockerfile builds the image. To resume a run after its JobSet has
# ended: kubectl delete jobset NAME, then the same command again.
#
#   --name=NAME             name of the JobSet
#   --image=IMAGE           container image that the cluster can pull
#   --bucket=BUCKET         Cloud Storage bucket for run folders
#   --accelerator=NAME      label of the node pool, such as tpu-v6e-slice
#   --topology=AxB[xC]      chips of the slice, such as 2x4 or 2x2x2
#   --chips=N               chips of a host, 4 by default
#   --service-account=NAME  Kubernetes service account, 'default' by default
#   --max-restarts=N        of the JobSet, 20 by default
#   --dry-run               print the manifest, apply nothing

set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
source launch/lib.sh

flags='name image bucket accelerator topology chips service-account max-restarts'
name='' image='' bucket='' accelerator='' topology='' chips=4
service_account=default max_restarts=20
parse "$@"
need name image bucket accelerator topology
[[ $name =~ ^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$ ]] ||
  die "--name=$name: must be at most 32 of a-z, 0-9 and -, from a letter to no -"
[[ $topology =~ ^[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){1,2}$ ]] ||
  die "--topology=$topology: must be such as 2x4 or 2x2x2"
at_least 1 chips
at_least 0 max-restarts
total=$((${topology//x/*}))
((total % chips == 0)) ||
  die "--chips=$chips: the $total chips of --topology=$topology must be a multiple"
hosts=$((total / chips))
for key in image accelerator service_account; do
  [[ ${!key} =~ ^[A-Za-z0-9][A-Za-z0-9_./:@-]*$ ]] ||
    die "--${key//_/-}=${!key}: must be of letters, digits and _./:@-"
done
check_bucket
tool kubectl

((hosts == 1)) || main_flags=(--distributed "${main_flags[@]}")
args=
for flag in "${main_flags[@]}"; do
  flag=${flag//\\/\\\\}
  args+=", \"${flag//\"/\\\"}\""
done

# Newer versions of bash would replace & in a value by the text matched.
shopt -u patsub_replacement 2> /dev/null || true
manifest=$(< launch/gke_jobset.yaml)
fill() { manifest=${manifest//"\${$1}"/$2}; }
fill NAME "$name"
fill IMAGE "$image"
fill BUCKET "$bucket"
fill ACCELERATOR "$accelerator"
fill TOPOLOGY "$topology"
fill CHIPS "$chips"
fill HOSTS "$hosts"
fill SERVICE_ACCOUNT "$service_account"
fill MAX_RESTARTS "$max_restarts"
fill ARGS "[${args#, }]"

if $dry_run; then
  echo '# kubectl apply --filename=-'
  echo "$manifest"
else
  kubectl apply --filename=- <<< "$manifest"
fi
