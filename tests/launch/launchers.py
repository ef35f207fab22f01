"""Runs the launchers with stubs of gcloud, srun and the like.

PATH holds these and a few links alone, so that no test reaches a cluster.
"""

import pathlib
import shlex
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(LAUNCH.glob('*.sh')) + [LAUNCH / 'slurm.sbatch']
CONFIG = '--config=configs/armt.py:gpu,k=2'
ODD = '--config.task.note=a b\'c"$HOME & \\d'
POD = ('--name=n', '--zone=z', '--accelerator-type=v5litepod-16')
HOST = ('--name=n', '--zone=z', '--accelerator-type=v6e-8')
GKE = (
  '--name=n', '--image=eu/i:1', '--bucket=gs://bu/',
  '--accelerator=tpu-v6e-slice', '--topology=4x4',
)  # fmt: skip

# Logs how it is called. `next` takes its answer from a file, one line for each
# call; the last line stays.
STUB = """#!/usr/bin/env bash
next() {
  read -r line < "$STUBS/$1"
  (($(wc -l < "$STUBS/$1") == 1)) || sed -i 1d "$STUBS/$1"
}
printf '%s\\n' "$(basename "$0") $*" >> "$STUBS/log"
"""
GCLOUD = """
case "$*" in
  *describe*) next states; echo "$line" ;;
  *create*) next create; exit "$line" ;;
  *--command=mkdir*) next setup; exit "$line" ;;
  *--command=cd*) next codes; exit "$line" ;;
esac
"""


class Stubs:
  """A folder of stubs, the environment that has them, and their log."""

  def __init__(self, folder):
    self.folder = folder
    self.bin = folder / 'bin'
    self.bin.mkdir()
    for tool in (
      'bash', 'basename', 'dirname', 'sed', 'env', 'wc', 'cat', 'touch',
      'sleep', 'gzip',
    ):  # fmt: skip
      (self.bin / tool).symlink_to(shutil.which(tool))
    self.environment = {
      'PATH': str(self.bin),
      'STUBS': str(folder),
      'TMPDIR': str(folder),
      'HOME': str(folder),
    }

  def add(self, tool, body='', head=STUB):
    path = self.bin / tool
    path.unlink(missing_ok=True)
    path.write_text(head + body)
    path.chmod(0o755)

  def answer(self, **lines):
    for name, values in lines.items():
      text = ''.join(f'{value}\n' for value in values)
      (self.folder / name).write_text(text)

  def gcloud(self, *, states=('ACTIVE',), codes=(0,), create=(0,), setup=(0,)):
    self.answer(states=states, codes=codes, create=create, setup=setup)
    self.add('gcloud', GCLOUD)
    self.add('git', head='#!/usr/bin/env bash\n')
    self.add('tar', 'cat > /dev/null\n', head='#!/usr/bin/env bash\n')
    self.add('sleep', head='#!/usr/bin/env bash\n')

  def log(self):
    path = self.folder / 'log'
    return path.read_text().splitlines() if path.exists() else []

  def verbs(self):
    """The gcloud calls by their verb, other than the looks at the state."""
    verbs = []
    for line in self.log():
      words = line.split()
      if words[0] == 'gcloud' and words[4] != 'describe':
        verbs.append('run' if '--command=cd' in line else words[4])
    return verbs

  def start(self, script, *args, **environment):
    # A shell cannot trap what is ignored from its start, as interrupts are in
    # background jobs. With `preexec_fn`, subprocess would fork this process,
    # whose JAX has threads.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
      return subprocess.Popen(
        ['bash', str(LAUNCH / script), *args],
        env=self.environment | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      )  # fmt: skip
    finally:
      signal.signal(signal.SIGINT, before)

  def run(self, script, *args, **environment):
    process = self.start(script, *args, **environment)
    try:
      out, err = process.communicate(timeout=60)
    finally:
      process.kill()
    return process.returncode, out, err

  def wait_for(self, name, count=1):
    """Waits until `count` lines of the log have `name` in them."""
    deadline = time.monotonic() + 30
    while sum(name in line for line in self.log()) < count:
      assert time.monotonic() < deadline, self.log()
      time.sleep(0.02)

  def dry(self, script, *args, **environment):
    """The commands of a dry run, as words."""
    code, out, err = self.run(script, '--dry-run', *args, **environment)
    assert (code, err) == (0, '')
    return [shlex.split(line) for line in out.splitlines() if line[0] != '#']


# A stub of a training process: it waits, and ends with 75 at a signal.
PYTHON = """
trap 'echo "TERM $*" >> "$STUBS/log"; exit 75' TERM
trap 'echo "INT $*" >> "$STUBS/log"; exit 75' INT
echo "ready $*" >> "$STUBS/log"
case "$*" in
  *--process_id=0*) [ ! -e "$STUBS/first" ] || { next first; exit "$line"; } ;;
esac
while [ ! -e "$STUBS/done" ]; do sleep 0.05; done
"""
