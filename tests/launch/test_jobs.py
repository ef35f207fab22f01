"""Several cells at once, here and as a job array of Slurm."""

import pathlib
import signal
import threading
import time

import pytest
from launchers import ROOT

from launch import cells, running, slurm, sweep
from reasoning_depth import errors
from reasoning_depth.runtime import gpus


def flags(folder, *arguments):
  return sweep.parse(
    [f'--runs={folder}/runs', f'--results={folder}/results', *arguments]
  )


def grid(folder, *after):
  """Cells a, b, …, each after the named one."""
  return [
    cells.Cell(name, (name,), folder, folder / f'{name}.json', after=first)
    for name, first in zip('abcdef', after, strict=False)
  ]


def names(folder, after, jobs, fails=()):
  """What ran when, and the failed: runs that meet begin in pairs."""
  lock, now, most, began = threading.Lock(), set(), 0, []

  def run(command, seconds):
    nonlocal most
    with lock:
      now.add(command[0])
      began.append(command[0])
      most = max(most, len(now))
    time.sleep(0.05)
    with lock:
      now.remove(command[0])
    return 3 * (command[0] in fails), False

  failed = running.sweep(grid(folder, *after), jobs, None, run)
  return began, most, failed


@pytest.fixture(autouse=True)
def no_records(monkeypatch):
  monkeypatch.setattr(running.records, 'write', lambda folders, path: None)


def test_as_many_cells_at_once_as_asked(tmp_path):
  for jobs in (1, 3):
    began, most, failed = names(tmp_path, [''] * 6, jobs, fails='eb')
    assert sorted(began) == list('abcdef') and most == jobs
    assert failed == ['b', 'e']


def test_a_cell_waits_for_the_one_that_it_starts_from(tmp_path):
  began, most, _ = names(tmp_path, ['', 'a', 'a', ''], 2)
  assert set(began[:2]) == {'a', 'd'} and most == 2
  assert set(began[2:]) == {'b', 'c'}


def test_stopping_stops_all_and_starts_nothing_more(tmp_path):
  processes = running.Processes(2)
  begun = [tmp_path / '0', tmp_path / '1']
  codes = []

  def start(path):
    command = ['bash', '-c', f'touch {path}; exec sleep 60']
    codes.append(processes.run(command, None))

  threads = [threading.Thread(target=start, args=[path]) for path in begun]
  for thread in threads:
    thread.start()
  while not all(path.exists() for path in begun):
    time.sleep(0.01)
  processes.stop()
  for thread in threads:
    thread.join(30)
  assert codes == [(-signal.SIGTERM, False)] * 2
  assert processes.run(['false'], None) == (running.STOPPED, False)


def test_jobs_share_the_gpus(monkeypatch, tmp_path):
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  monkeypatch.setattr(gpus, '_DEVICES', tmp_path)
  assert running.places(2) == [{}, {}]
  for name in ('nvidia0', 'nvidia1', 'nvidiactl', 'null'):
    (tmp_path / name).touch()
  found = running.places(3)
  assert [p['CUDA_VISIBLE_DEVICES'] for p in found] == ['0', '1', '0']
  assert found[0]['XLA_PYTHON_CLIENT_MEM_FRACTION'] == '0.45'
  assert running.places(1) == [{}]  # one run may use them all
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '1')
  assert {p['CUDA_VISIBLE_DEVICES'] for p in running.places(2)} == {'1'}


@pytest.fixture
def cluster(stubs, monkeypatch):
  """Stubs of Slurm's commands; sbatch answers 7, then 8."""
  stubs.answer(jobs=[7, 8], queue=[''])
  stubs.add('sbatch', 'next jobs; echo "$line"')
  stubs.add('squeue', 'next queue; echo "$line"')
  for name, value in stubs.environment.items():
    monkeypatch.setenv(name, value)
  return stubs


def test_one_array_has_the_cells_without_a_result(cluster, tmp_path, capsys):
  f = flags(tmp_path, '--rows', 'lstm', 'armt', '--apart', '--k', '1', '2')
  done = cells.cells(f)[1].result
  done.parent.mkdir()
  done.touch()
  arguments = [*f.arguments, '--jobs=5', '--slurm=--time=60', '--', '--x=a b']
  assert sweep.main(arguments) == 0
  queue, call = cluster.log()
  name = queue.split('--name=')[1].split()[0]
  assert call == (
    f'sbatch --parsable --job-name={name} --array=0,2,3%5 --time=60 '
    f'launch/slurm.sbatch -- {" ".join(arguments)}'
  )
  assert capsys.readouterr().out == 'job 7: 3 cells\n'


def test_runs_that_others_start_from_are_an_array_of_their_own(
  cluster, tmp_path
):
  f = flags(tmp_path, '--rows', 'gptneox+grpo', '--k', '1', '2')
  assert len(slurm.submit(cells.cells(f), f.results, '', None, [])) == 2
  first, second = cluster.log()[1:]
  assert '--array=0 ' in first and '--dependency' not in first
  assert '--array=1,2 ' in second and '--dependency=afterany:7 ' in second


def test_what_is_in_the_queue_is_not_submitted_again(cluster, tmp_path, capsys):
  cluster.answer(queue=['7'])
  assert sweep.main([*flags(tmp_path).arguments, '--slurm']) == 2
  error = capsys.readouterr().err
  assert 'are in the queue, as 7' in error and error.count('\n') == 1
  cluster.add('squeue', 'echo "no such cluster" >&2; exit 1')
  with pytest.raises(errors.UsageError, match='squeue: no such cluster'):
    slurm.submit([], pathlib.Path('x'), '', None, [])


def test_without_slurm_it_is_told(stubs, monkeypatch, tmp_path, capsys):
  monkeypatch.setenv('PATH', stubs.environment['PATH'])
  assert sweep.main([*flags(tmp_path).arguments, '--slurm']) == 2
  assert 'sbatch is not on the PATH' in capsys.readouterr().err


def test_a_task_of_an_array_trains_its_cell(stubs, tmp_path):
  command, _ = stubs.dry(
    'slurm.sbatch', '--', '--grid=law', '--slurm', '--', '--x=1',
    SLURM_ARRAY_TASK_ID='2',
  )  # fmt: skip
  assert command[3:] == [
    'python', '-m', 'launch.sweep', '--cell=2', '--grid=law', '--slurm', '--',
    '--x=1',
  ]  # fmt: skip
  f = flags(tmp_path, '--grid=law', '--slurm', '--cell=2')
  seen = []
  sweep.sweep(f, lambda command, seconds: seen.append(command) or (0, False))
  assert seen == [cells.cells(f)[2].command]
  code, _, error = stubs.run(
    'slurm.sbatch', '--dry-run', '--', '--grid=law', SLURM_ARRAY_TASK_ID='2',
    SLURM_NTASKS='2',
  )  # fmt: skip
  assert code == 2 and 'one task a cell' in error


def test_a_cell_that_is_not_there_is_refused(tmp_path, capsys):
  for cell in ('-1', '999'):
    with pytest.raises(SystemExit):
      flags(tmp_path, f'--cell={cell}')
    assert f'--cell {cell}: of ' in capsys.readouterr().err
  assert (ROOT / slurm.SCRIPT).is_file()
