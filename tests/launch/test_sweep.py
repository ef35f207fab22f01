"""Grids of runs: what is run, what goes on, and the table of what there is."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from launch import cells, grids, running, sweep
from reasoning_depth.report import records, runs

ROOT = pathlib.Path(__file__).parents[2]
CEILINGS = {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6}


def flags(folder, *arguments):
  return sweep.parse(
    [f'--runs={folder}/runs', f'--results={folder}/results', *arguments]
  )


def values(command):
  return dict(
    a.removeprefix('--').partition('=')[::2] for a in command if '=' in a
  )


def write(folder, name, value):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(value) + '\n')


def score(k, exact_match):
  return {
    'group': k, 'num_samples': 4, 'exact_match': exact_match,
    'exact_match_interval': [exact_match - 0.05, 1.0], 'bit_accuracy': 0.5,
    'ceiling_exact_match': CEILINGS[k],
    'share_of_ceiling': exact_match / CEILINGS[k],
    'repeat_last_exact_match': 0.1, 'majority_exact_match': 0.0,
  }  # fmt: skip


def fake_run(scores, steps=40):
  """Writes the run folder that a cell's command would; a `sweep.Runner`."""

  def run(command, seconds):
    del seconds
    value = values(command)
    folder = pathlib.Path(value['workdir'])
    words = value.get('config', 'k=1').partition(':')[2].split(',')
    k = words[-1].removeprefix('k=')
    if scores is None:
      return 3, False
    asked = [int(k)] if k.isdecimal() else [1, 2, 3, 4]
    seed = int(value['config.seed'])
    start = value.get('config.train.init_from', '')
    train = {'num_steps': 40, 'init_from': start}
    config = {
      'seed': seed, 'train': train, 'task': {'name': 'orbits'},
      'model': {'name': 'm', 'num_layers': 4},
    }  # fmt: skip
    write(folder, 'config.json', config)
    write(
      folder, 'metrics.jsonl', {'step': steps, 'split': 'train', 'seconds': 90}
    )
    groups = [score(k, scores[k] - 0.1 * seed) for k in asked]
    found = {
      'split': 'test', 'step': steps, 'group_name': 'look_ahead',
      'groups': groups, 'overall': groups[0], 'horizon': 2,
    }  # fmt: skip
    write(folder, 'evaluations/test.json', found)
    training = {'operations': 3e12, 'bound': '', 'minutes': 1.5}
    cost = {
      'analysis': 'cost', 'parameters': 121_000, 'training': training,
      'start': training | {'operations': 1e12} if start else None,
      'answer': {'operations': 5e6, 'bound': 'at most'}, 'depth_steps': 1.5,
    }  # fmt: skip
    write(folder, 'evaluations/cost.json', cost)
    return 0, False

  return run


SCORES = {1: 0.9, 2: 0.8, 3: 0.5, 4: 0.3}


def cut(text):
  """The cells of a table's rows."""
  rows = [row for row in text.splitlines() if row.startswith('|')]
  return [[c.strip() for c in row.strip('|').split('|')] for row in rows]


def test_goes_on_where_it_was_interrupted(tmp_path):
  f = flags(
    tmp_path, '--rows', 'armt', 'armt+cot', '--seeds', '0', '1', '--apart'
  )
  grid = cells.cells(f)
  assert len(grid) == 4 * 2 + 2
  seen = []
  run = fake_run(SCORES)

  def fails_once(command, seconds):
    seen.append(command)
    return run(command, seconds) if len(seen) != 3 else (3, False)

  assert sweep.sweep(f, fails_once) == [grid[2].name]
  assert len(seen) == 10
  assert sweep.sweep(f, run) == []  # the one that failed, alone
  assert sweep.sweep(f, fake_run(None)) == []  # nothing is left
  stored = json.loads(grid[0].result.read_text())
  assert stored[0]['evaluation']['groups'][0]['exact_match'] == 0.9


def test_the_table_is_made_from_the_json_files_alone(tmp_path, capsys):
  arguments = ['--rows', 'armt', 'lstm', '--seeds', '0', '1']
  f = flags(tmp_path, *arguments)
  assert sweep.sweep(f, fake_run(SCORES)) == []
  assert len(cells.cells(f)) == 4
  shutil.rmtree(tmp_path / 'runs')
  assert sweep.main([f'--results={tmp_path}/results', '--table']) == 0
  told = capsys.readouterr()
  head, _, first, second = cut(told.out)
  assert dict(zip(head, first, strict=True)) == {
    'model': 'armt', 'k = 1': '0.850 (0.800–0.900)',
    '2': '0.750 (0.700–0.800)', '3': '0.450 (0.400–0.500)',
    '4': '0.250 (0.200–0.300)', 'of the ceiling': '0.94 / 0.94 / 0.64 / 0.42',
    # 1 + 0.8 + 0.5 + 0.3, and of seed 1 three times 0.1 less.
    'DepthScore': '2.450 (2.300–2.600)', 'at most': '3.100', 'horizon': '2',
    'parameters': '121k', 'training': '3T', 'answer': '≤ 5M', 'minutes': '1.5',
    'seeds': '2', 'the paper': 'place 10 of 20; one for all k: 0.43 at k = 2',
  }  # fmt: skip
  assert second[0] == 'lstm'
  drawn = {path.name for path in (tmp_path / 'results').glob('*.png')}
  assert drawn == {
    'depth_score.png', 'compute_parameters.png', 'compute_training.png',
    'compute_answer.png', 'exact_match.png',
  }  # fmt: skip
  assert all(name in told.err for name in drawn)
  page = (tmp_path / 'results/report.html').read_text()
  assert '4 runs of 2 settings: the highest DepthScore is 2.450' in page


def test_one_model_for_all_and_one_for_each_stay_apart(tmp_path):
  together = flags(tmp_path, '--rows', 'gptneox', 'gptneox+grpo')
  apart = flags(tmp_path, '--rows', 'gptneox', 'gptneox+cot', '--apart')
  names = [cell.name for cell in cells.cells(together)]
  assert names == [
    'gptneox-k1-4-seed0', 'gptneox+grpo-start-seed0',
    *(f'gptneox+grpo-k{k}-seed0' for k in (1, 2, 3, 4)),
  ]  # fmt: skip
  names = [cell.name for cell in cells.cells(apart)]
  assert names[3:] == ['gptneox-k4-seed0', 'gptneox+cot-k1-4-seed0']
  sweep.sweep(together, fake_run(SCORES))
  sweep.sweep(apart, fake_run(dict.fromkeys(SCORES, 0.6)))
  (row,) = (r for r in cut(sweep.table(together)) if r[0] == 'gptneox')
  assert row[1:5] == ['0.900', '0.800', '0.500', '0.300']
  (row,) = (r for r in cut(sweep.table(apart)) if r[0] == 'gptneox')
  assert row[1:5] == ['0.600'] * 4 and row[10] == '12T'  # four runs of 3T
  assert sweep.parse([]).results == pathlib.Path('results/figure5')
  words = ['--words', 'cpu,curriculum', '--apart']
  where = pathlib.Path('runs/cpu-curriculum/figure5-apart')
  assert sweep.parse(words).runs == where


def test_missing_look_aheads_have_no_score(tmp_path):
  f = flags(tmp_path, '--rows', 'lstm', '--k', '1', '2', '--apart')
  sweep.sweep(f, fake_run({1: 0.5, 2: 0.25}))
  row = cut(sweep.table(f))[2]
  assert row[:5] == ['lstm', '0.500', '0.250', '–', '–']
  assert row[5:8] == ['0.56 / 0.31 / – / –', '–', '–']


def test_what_learned_nothing_is_named(tmp_path):
  f = flags(tmp_path, '--rows', 'lstm', 'armt')
  nothing = dict.fromkeys(SCORES, 0.14)  # 0.09 to 1, of 0.1 by repeating
  lstm, armt = cells.cells(f)
  for cell, scores in ((lstm, nothing), (armt, SCORES)):
    fake_run(scores)(cell.command, None)
    records.write([cell.folder], cell.result)
  (note,) = (x for x in sweep.table(f).splitlines() if 'Learned nothing' in x)
  assert note.endswith(': lstm.')


EVERY = [(grid, row) for grid, g in grids.GRIDS.items() for row in g.rows]


@pytest.mark.parametrize('apart', [False, True])
@pytest.mark.parametrize('grid,row', EVERY)
def test_every_row_is_a_config_that_builds(grid, row, apart, tmp_path):
  from reasoning_depth.runtime import configuration
  from reasoning_depth.training import curriculum, experiment

  options = ['--words', 'smoke', '--k', '2', '--steps', '80']
  options += ['--apart'] * apart
  for cell in cells.cells(
    flags(tmp_path, '--grid', grid, '--rows', row, *options)
  ):
    assert cell.command[0] == sys.executable
    path = cell.command[2].removeprefix('--config=')
    config = configuration.load(path)
    configuration.apply(config, cell.command[5:])
    config.mesh.data = 1
    task = experiment.build(config).task
    curriculum.check(config)
    asked = 4 if '-k1-4' in cell.name else 1 if '-start' in cell.name else 2
    assert max(task.look_ahead) == asked
    assert config.train.num_steps == 80
    if config.train.curriculum.field:
      assert config.train.curriculum.most_steps == config.eval.every == 20
    for extra in cell.evaluations:
      other = config.copy_and_resolve_references()
      configuration.apply(other, extra)
      assert experiment.build(other).config.eval.look_ahead


def test_runs_that_others_start_from_come_first_and_are_paid_once(tmp_path):
  f = flags(tmp_path, '--rows', 'gptneox+grpo', '--k', '2', '3')
  start, *rest = cells.cells(f)
  folder = [f'--config.train.init_from={start.folder}']
  assert [list(c.command[6:]) for c in (start, *rest)] == [[], folder, folder]
  sweep.sweep(f, fake_run({1: 1.0, 2: 0.5, 3: 0.5}))
  head, _, row = cut(sweep.table(f))  # and no start
  found = dict(zip(head, row, strict=True))
  assert [found[k] for k in ('k = 1', '2', '3')] == ['–', '0.500', '0.500']
  assert found['training'] == '7T'  # 3T twice, and once 1T


def test_flags_for_main_come_last(tmp_path):
  f = flags(
    tmp_path, '--rows', 'trm', '--k', '1', '--', '--config.train.ema=0.9'
  )
  assert cells.cells(f)[0].command[-1] == '--config.train.ema=0.9'


@pytest.mark.parametrize(
  'arguments,message',
  [
    (['--grid', 'figure6'], 'figure6'),
    (['--grid', 'law', '--rows', 'armt'], '--rows armt: allowed are layers_2'),
    (['--minutes', '0'], '0: must be above 0'),
    (['--steps', '1.5'], '1.5'),
  ],
)
def test_bad_flags_are_named(arguments, message, capsys):
  with pytest.raises(SystemExit) as stopped:
    sweep.parse(arguments)
  assert stopped.value.code == 2
  assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_cell_that_reaches_its_limit_is_scored_and_says_so(tmp_path):
  f = flags(tmp_path, '--rows', 'armt', '--minutes', '2')
  (cell,) = cells.cells(f)
  asked = []

  def run(command, seconds):
    asked.append((command, seconds))
    if '--mode=evaluate' in command:
      return 0, False
    fake_run(SCORES, steps=30)(command, seconds)
    return running.STOPPED, True

  assert sweep.sweep(f, run) == []
  train, evaluate = asked
  assert train == (cell.command, 120)
  assert evaluate[0][2:] == ('--mode=evaluate', f'--workdir={cell.folder}')
  assert evaluate[1] is None
  (entry,) = json.loads(cell.result.read_text())
  assert entry['cut_off'] == {'step': 30, 'of': 40}
  assert 'armt, seed 0: cut off at step 30 of 40.' in sweep.table(f)
  # Going on: 90 of its 120 seconds are spent; then all of them.
  cell.result.unlink()
  asked.clear()
  sweep.sweep(f, run)
  assert asked[0][1] == 30
  cell.result.unlink()
  line = {'step': 40, 'split': 'train', 'seconds': 130}
  write(cell.folder, 'metrics.jsonl', line)
  asked.clear()
  sweep.sweep(f, run)
  assert [command[2] for command, _ in asked] == ['--mode=evaluate']


def test_a_run_that_stops_by_itself_failed(tmp_path):
  f = flags(tmp_path, '--rows', 'armt', '--minutes', '2')
  assert sweep.sweep(f, lambda *_: (running.STOPPED, False)) == [
    'armt-k1-4-seed0'
  ]


def test_a_command_is_stopped_in_time():
  program = (
    'import signal, sys, time;'
    'signal.signal(signal.SIGTERM, lambda *_: sys.exit(75));'
    'time.sleep(float(sys.argv[1]))'
  )
  command = [sys.executable, '-c', program]
  assert running.Processes(1).run([*command, '0'], 60) == (0, False)
  begun = time.monotonic()
  assert running.Processes(1).run([*command, '600'], 2) == (75, True)
  assert time.monotonic() - begun < 60


def test_a_sweep_that_is_stopped_stops_its_run(tmp_path):
  """Runs main.py in its own process, which saves and goes on later."""
  command = [
    sys.executable, '-m', 'launch.sweep', '--rows', 'gptneox', '--words',
    'smoke', f'--runs={tmp_path}', f'--results={tmp_path}/results', '--',
    '--config.mesh.data=1', '--config.train.num_steps=100000',
  ]  # fmt: skip
  process = subprocess.Popen(command, cwd=ROOT)
  folder = tmp_path / 'gptneox-k1-4-seed0'
  try:
    while not (folder / 'checkpoints').exists() and process.poll() is None:
      time.sleep(0.2)
    while not list((folder / 'checkpoints').glob('[0-9]*')):
      time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == running.STOPPED
  finally:
    process.kill()
  assert not (folder / 'evaluations/test.json').exists()
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  saved = max(int(p.name) for p in (folder / 'checkpoints').glob('[0-9]*'))
  assert json.loads(lines[-1])['step'] <= saved
  assert runs.load(folder).seconds > 0


def test_layers_are_counted_as_often_as_they_are_applied(tmp_path):
  f = flags(tmp_path, '--grid', 'law', '--rows', 'layers_4', 'act', '--k', '1')
  sweep.sweep(f, fake_run(SCORES))
  (run,) = sweep.finished(f)['act']
  assert grids.law.applied_layers(run) == 4 * 1.5
  run.config['model']['recurrence'] = {'prelude': 1, 'coda': 2}
  assert grids.law.applied_layers(run) == 4 * 1.5 + 3
  drawn = [path.name for path in sweep.draw(f)]
  assert drawn[0] == 'layers.png' and 'the paper' not in sweep.table(f)
