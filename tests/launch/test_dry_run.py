"""The commands that the launchers would run."""

import shlex

import pytest
import yaml
from launchers import CONFIG, GKE, HOST, LAUNCH, ODD, POD, ROOT


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


def test_commands_of_the_docs_run_dry(stubs):
  text = (ROOT / 'docs/launching.md').read_text()
  section = text.partition('# Launching')[2].partition('\n## ')[0]
  block = section.split('```')[1].replace('\\\n', ' ')
  commands = [line for line in block.splitlines() if line and line[0] != '#']
  assert len(commands) >= 5
  for command in commands:
    words = shlex.split(command)
    start = next(i for i, w in enumerate(words) if w.startswith('launch/'))
    script = words[start].removeprefix('launch/')
    code, _, err = stubs.run(script, '--dry-run', *words[start + 1 :])
    assert (code, err) == (0, ''), command
