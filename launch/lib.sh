# shellcheck shell=bash disable=SC2154
# What the launchers share. A launcher names its flags in `flags`, sets the
# variable of each (dashes become underscores) to its default and calls
# `parse "$@"`, which also puts the flags after -- into main_flags.

me=$(basename "$0")
dry_run=false
main_flags=()

die() {
  echo "$me: $*" >&2
  exit 2
}

parse() {
  local key value
  while (($#)); do
    case $1 in
      --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit
        ;;
      --dry-run) dry_run=true ;;
      --)
        shift
        main_flags=("$@")
        break
        ;;
      --?*)
        key=${1%%=*}
        key=${key#--}
        case " $flags " in
          *" $key "*) ;;
          *) die "--$key: not a flag; there are ${flags:+--${flags// / --} }--dry-run --help, and those of main.py after --" ;;
        esac
        if [[ $1 == *=* ]]; then
          value=${1#*=}
        else
          shift
          value=${1-}
        fi
        case $value in
          '' | --*) die "--$key: its value is missing: --$key=VALUE" ;;
        esac
        printf -v "${key//-/_}" %s "$value"
        ;;
      *) die "$1: not a flag; flags of main.py come after --" ;;
    esac
    shift
  done
  ((${#main_flags[@]})) || die 'the flags of main.py are missing: -- --config=configs/armt.py'
}

# Ends with 2 if a flag has no value. Usage: need FLAG...
need() {
  local key variable
  for key; do
    variable=${key//-/_}
    [ -n "${!variable}" ] || die "--$key is missing"
  done
}

# Checks a whole number. Usage: at_least LEAST FLAG
at_least() {
  local variable=${2//-/_}
  if ! [[ ${!variable} =~ ^[0-9]{1,9}$ ]] || ((10#${!variable} < $1)); then
    die "--$2=${!variable}: must be a whole number from $1"
  fi
}

# Ends with 2 if a program is not installed. Usage: tool NAME
tool() {
  $dry_run || command -v "$1" > /dev/null || die "$1 is not on the PATH: install it, or see --dry-run"
}

# Prints words, quoted so that a shell reads the same words.
quote() {
  local word line=
  for word; do
    case $word in
      '' | *[!A-Za-z0-9_./:=,@%+-]*)
        if [[ $word == *"'"* ]]; then
          printf -v word %q "$word"
        else
          word="'$word'"
        fi
        ;;
    esac
    line+=" $word"
  done
  printf '%s\n' "${line# }"
}

run() {
  if $dry_run; then quote "$@"; else "$@"; fi
}

# Checks the bucket's name, without gs://, and that --workdir is under runs/,
# where the bucket is mounted.
check_bucket() {
  local flag
  bucket=${bucket#gs://}
  bucket=${bucket%/}
  [[ $bucket =~ ^[a-z0-9][-a-z0-9_.]+$ ]] ||
    die "--bucket=$bucket: must be a bucket's name, without a folder"
  for flag in "${main_flags[@]}"; do
    case $flag in
      --workdir=runs/?*) ;;
      --workdir*) die "$flag: must be --workdir=runs/NAME, where the bucket is mounted" ;;
    esac
  done
}

# What follows is for Cloud TPU VMs, and reads the flags name, zone,
# accelerator-type, runtime-version and bucket.

check_tpu() {
  need name zone accelerator-type
  [[ $accelerator_type =~ ^v[0-9][a-z]*-[1-9][0-9]*$ ]] ||
    die "--accelerator-type=$accelerator_type: must be such as v4-8, v5litepod-16, v5p-8 or v6e-8"
  [ -n "$runtime_version" ] || case $accelerator_type in
    v6e-*) runtime_version=v2-alpha-tpuv6e ;;
    v5p-*) runtime_version=v2-alpha-tpuv5 ;;
    v5litepod-*) runtime_version=v2-alpha-tpuv5-lite ;;
    *) runtime_version=tpu-ubuntu2204-base ;;
  esac
  # A host has at most 8 of what the type counts (cores or chips).
  if ((${accelerator_type##*-} > 8)); then
    [ -n "$bucket" ] || die "--bucket is missing: the hosts of $accelerator_type share their run folder in a bucket"
    main_flags=(--distributed "${main_flags[@]}")
  fi
  [ -z "$bucket" ] || check_bucket
  archive=${TMPDIR:-/tmp}/reasoning_depth-$name.tar.gz
  tool gcloud
}

# This working tree, without what git ignores.
pack() {
  # shellcheck disable=SC2016
  run bash -o pipefail -c 'git ls-files -z --cached --others --exclude-standard | tar --null -czf "$0" -T - .git' "$archive"
}

# Connections to a host that is gone end within two minutes.
on_workers() {
  run gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
    --ssh-flag=-oConnectTimeout=20 --ssh-flag=-oServerAliveInterval=30 \
    --command="$1"
}

copy() {
  run gcloud compute tpus tpu-vm scp "$archive" \
    "$name:reasoning_depth.tar.gz" --zone="$zone" --worker=all &&
    on_workers "mkdir -p reasoning_depth && tar -xzf reasoning_depth.tar.gz -C reasoning_depth && bash reasoning_depth/launch/tpu_worker.sh${bucket:+ $bucket}"
}

train() {
  on_workers "cd reasoning_depth && exec .venv/bin/python main.py $(quote "${main_flags[@]}")"
}
