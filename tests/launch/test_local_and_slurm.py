"""Local and Slurm launchers: exit codes, signals and queueing again."""

import signal

import pytest
from launchers import CONFIG, PYTHON, ROOT


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
