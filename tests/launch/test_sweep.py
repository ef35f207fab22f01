import json
import pathlib
import sys

import pytest

from launch import sweep
from reasoning_depth.report import depth_score

ROOT = pathlib.Path(__file__).parents[2]


def flags(folder, *arguments):
  return sweep.parse(
    [f'--runs={folder}/runs', f'--results={folder}/results', *arguments]
  )


def fake_run(scores):
  """Writes the run folder that a cell's command would."""

  def run(command):
    value = dict(
      a.removeprefix('--').partition('=')[::2] for a in command if '=' in a
    )
    folder = pathlib.Path(value['workdir'])
    seed = int(value['config.seed'])
    words = value['config'].partition(':')[2].split(',')
    k = words[-1].removeprefix('k=')
    if scores is None:
      return 3
    asked = [int(k)] if k.isdecimal() else [1, 2, 3, 4]
    (folder / 'evaluations').mkdir(parents=True)
    config = {'seed': seed, 'task': {'name': 'orbits'}, 'model': {'name': 'm'}}
    (folder / 'config.json').write_text(json.dumps(config))
    group = [
      {
        'group': k, 'num_samples': 4, 'exact_match': scores[k] - 0.1 * seed,
        'exact_match_interval': [0.0, 1.0], 'bit_accuracy': 0.5,
      }
      for k in asked
    ]  # fmt: skip
    found = {
      'split': 'test', 'step': 1, 'group_name': 'look_ahead', 'groups': group,
      'overall': group[0],
    }  # fmt: skip
    (folder / 'evaluations/test.json').write_text(json.dumps(found))
    return 0

  return run


def test_goes_on_where_it_was_interrupted(tmp_path):
  f = flags(tmp_path, '--rows', 'armt', 'armt+cot', '--seeds', '0', '1')
  grid = sweep.cells(f)
  assert len(grid) == 4 * 2 + 2
  seen = []
  scores = fake_run({1: 1.0, 2: 0.8, 3: 0.5, 4: 0.3})

  def run(command):
    seen.append(command)
    return scores(command) if len(seen) != 3 else 3

  assert sweep.sweep(f, run) == [grid[2].name]
  assert len(seen) == 10
  assert sweep.sweep(f, scores) == []  # the one that failed, alone
  assert sweep.sweep(f, fake_run(None)) == []  # nothing is left
  text = sweep.table(f)
  # 1 + mean of (0.8 + 0.5 + 0.3) and of each 0.1 less.
  assert '| armt | 0.950 | 0.750 | 0.450 | 0.250 | 2.450 | 2 |' in text
  assert 'place 10 of 20' in text
  stored = json.loads(grid[0].result.read_text())
  assert stored[0]['evaluation']['groups'][0]['exact_match'] == 1.0


def test_missing_look_aheads_have_no_score(tmp_path):
  f = flags(tmp_path, '--rows', 'lstm', '--k', '1', '2')
  sweep.sweep(f, fake_run({1: 0.5, 2: 0.25}))
  assert '| lstm | 0.500 | 0.250 | – | – | – | 1 |' in sweep.table(f)


@pytest.mark.parametrize('row', sweep.ROWS)
def test_every_row_is_a_config_that_builds(row, tmp_path):
  from reasoning_depth.runtime import configuration
  from reasoning_depth.training import experiment

  for cell in sweep.cells(
    flags(tmp_path, '--rows', row, '--words', 'smoke', '--k', '2')
  ):
    assert cell.command[0] == sys.executable
    path = cell.command[2].removeprefix('--config=')
    config = configuration.load(path)
    for text in cell.command[5:]:
      name, _, value = text.removeprefix('--config.').partition('=')
      configuration.override(config, name, value)
    config.mesh.data = 1
    task = experiment.build(config).task
    asked = 4 if '1-4' in cell.name else 2 if cell.row else 1
    assert max(task.look_ahead) == asked


def test_runs_that_others_start_from_come_first(tmp_path):
  f = flags(tmp_path, '--rows', 'gptneox+grpo', '--k', '2', '3')
  start, *rest = sweep.cells(f)
  folder = [f'--config.train.init_from={start.folder}']
  assert [list(c.command[5:]) for c in (start, *rest)] == [[], folder, folder]
  sweep.sweep(f, fake_run({1: 1.0, 2: 0.5, 3: 0.5}))
  text = sweep.table(f)
  assert '| gptneox+grpo | – | 0.500 | 0.500 |' in text
  assert len(text.splitlines()) == 3  # two of the head, and no start


def test_flags_for_main_come_last(tmp_path):
  f = flags(
    tmp_path, '--rows', 'trm', '--k', '1', '--', '--config.train.ema=0.9'
  )
  assert sweep.cells(f)[0].command[-1] == '--config.train.ema=0.9'


def test_depth_score_by_hand():
  row = depth_score.Depth({1: 0.9, 2: 0.5, 3: 0.25, 4: 0.125}, 1)
  assert row.score == 1.875
