"""TPU launchers: what is created, run, started over and deleted."""

import os
import shutil
import signal
import tarfile

import pytest
from launchers import CONFIG, GCLOUD, HOST, ODD, POD, ROOT


def queued(stubs, *args):
  return stubs.run(
    'queued_resource.sh', *POD, '--bucket=bu', *args, '--', CONFIG
  )


ROUND = ['create', 'scp', 'ssh', 'run', 'delete']


@pytest.mark.parametrize('code', [0, 2, 3])
def test_queue_stops_with_what_is_final(code, stubs):
  stubs.gcloud(states=['WAITING_FOR_RESOURCES', 'ACTIVE'], codes=[code])
  assert queued(stubs)[0] == code
  assert stubs.verbs() == ROUND


@pytest.mark.parametrize(
  'codes,states',
  [
    ([75, 0], ['ACTIVE']),
    ([255, 0], ['ACTIVE']),  # the connection is lost
    ([134, 0], ['ACTIVE', 'ACTIVE', 'SUSPENDING', 'CREATING', 'ACTIVE']),
  ],
)
def test_queue_starts_over_after_a_preemption(codes, states, stubs):
  stubs.gcloud(states=states, codes=codes)
  code, _, err = queued(stubs)
  assert code == 0
  assert stubs.verbs() == ROUND + ROUND
  assert f'ended with {codes[0]}; restarts so far: 0 of 20' in err


def test_queue_starts_over_when_there_was_no_slice(stubs):
  stubs.gcloud(states=['PROVISIONING', 'FAILED', 'ACTIVE'])
  assert queued(stubs)[0] == 0
  assert stubs.verbs() == ['create', 'delete', *ROUND]


def test_queue_starts_over_when_preempted_while_installing(stubs):
  stubs.gcloud(states=['ACTIVE', 'SUSPENDED', 'ACTIVE'], setup=[1, 0])
  assert queued(stubs)[0] == 0
  assert stubs.verbs() == ['create', 'scp', 'ssh', 'delete', *ROUND]


def test_queue_leaves_a_crash_alone(stubs):
  stubs.gcloud(codes=[1])
  assert queued(stubs)[0] == 1
  assert stubs.verbs() == ROUND


def test_queue_gives_up_at_the_limit(stubs):
  stubs.gcloud(codes=[75])
  assert queued(stubs, '--max-restarts=1')[0] == 75
  assert stubs.verbs() == ROUND + ROUND


def test_queue_deletes_only_what_it_created(stubs):
  stubs.gcloud(create=[1])
  assert queued(stubs)[0] == 1
  assert stubs.verbs() == ['create']


def test_queue_deletes_when_it_is_stopped(stubs):
  stubs.gcloud()
  stubs.add('gcloud', GCLOUD.replace('next codes', 'exec cat "$STUBS/pipe" #'))
  os.mkfifo(stubs.folder / 'pipe')
  launcher = stubs.start(
    'queued_resource.sh', *POD, '--bucket=bu', '--', CONFIG
  )
  stubs.wait_for('--command=cd')
  launcher.send_signal(signal.SIGTERM)
  with open(stubs.folder / 'pipe', 'w'):  # the call ends
    pass
  assert launcher.wait(timeout=120) != 0
  assert stubs.verbs() == ROUND


def test_tpu_vm_brings_runs_back_and_deletes(stubs):
  stubs.gcloud(codes=[3])
  assert stubs.run('tpu_vm.sh', *HOST, '--', CONFIG)[0] == 3
  assert stubs.verbs() == ['create', 'scp', 'ssh', 'run', 'scp', 'delete']


def test_tpu_vm_deletes_when_installing_fails(stubs):
  stubs.gcloud(setup=[1])
  assert stubs.run('tpu_vm.sh', *HOST, '--', CONFIG)[0] == 1
  assert stubs.verbs() == ['create', 'scp', 'ssh', 'delete']


def test_tpu_vm_is_kept_where_runs_cannot_be_copied(stubs):
  stubs.gcloud()
  stubs.add('gcloud', GCLOUD.replace('*create*', '*--recurse*) exit 5 ;;\n*x*'))
  code, _, err = stubs.run('tpu_vm.sh', *HOST, '--', CONFIG)
  assert code == 0 and 'n is kept' in err
  assert stubs.verbs()[-1] == 'scp'


@pytest.mark.skipif(not (ROOT / '.git').exists(), reason='no git repository')
def test_workers_get_this_tree_and_the_flags_as_they_are(stubs):
  stubs.gcloud()
  for tool in ('git', 'tar', 'mkdir', 'rm'):
    (stubs.bin / tool).unlink(missing_ok=True)
    (stubs.bin / tool).symlink_to(shutil.which(tool))
  # Copies into a home folder and runs there what it is told to.
  stubs.add(
    'gcloud',
    """
  home=$STUBS/home
  mkdir -p "$home"
  case "$4" in
    scp) [ "$5" = --recurse ] || cat "$5" > "$home/${6#*:}" ;;
    ssh)
      for word; do
        case "$word" in
          --command=*)
            (cd "$home" && HOME=$home bash -c "${word#--command=}") ;;
        esac
      done
      ;;
  esac
  """,
  )
  worker = """#!/usr/bin/env bash
  printf '%s\\0' "$@" > "$STUBS/argv"
  """
  stubs.add('python3', 'exit 1\n')  # the install stops here
  code, _, _ = stubs.run('tpu_vm.sh', *HOST, '--', CONFIG, ODD)
  assert code == 1
  home = stubs.folder / 'home/reasoning_depth'
  assert (home / 'main.py').read_text() == (ROOT / 'main.py').read_text()
  assert (home / '.git').exists() and not (home / 'runs').exists()
  with tarfile.open(stubs.folder / 'reasoning_depth-n.tar.gz') as archive:
    assert 'launch/tpu_worker.sh' in archive.getnames()
  stubs.add('python3')
  python = home / '.venv/bin/python'
  python.parent.mkdir(parents=True)
  python.write_text(worker)
  python.chmod(0o755)
  code, _, err = stubs.run('tpu_vm.sh', *HOST, '--', CONFIG, ODD)
  assert code == 0, err
  argv = (stubs.folder / 'argv').read_text().split('\0')[:-1]
  assert argv == ['main.py', CONFIG, ODD]
