"""The report on run folders that are written here, number by number."""

import io
import json
import math
import pathlib

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest
import rich.console

from reasoning_depth import report
from reasoning_depth.report import __main__ as program
from reasoning_depth.report import (
  lines,
  pictures,
  plots,
  records,
  runs,
  style,
  tables,
)

W, T = 8, 4


def _score(exact_match, **fields):
  return {
    'num_samples': 400,
    'exact_match': exact_match,
    'exact_match_interval': [exact_match - 0.03, exact_match + 0.02],
    'bit_accuracy': 0.9375,
    'ceiling_exact_match': 0.912,
    'ceiling_bit_accuracy': 0.987,
    'ceiling_is_exact': 1.0,
    'share_of_ceiling': exact_match / 0.912,
    'repeat_last_exact_match': 0.013,
    'majority_exact_match': 0.027,
    **fields,
  }


def _row(index, group, exact):
  target = '01101001'
  return {
    'index': index,
    'group': group,
    'exact': exact,
    'prediction': target if exact else '00001001',
    'target': target,
    'observed': ['01010101', '11001100', '11110000', '00000001'],
    'ceiling_exact_match': 0.5,
  }


def _evaluation(folder, scores, *, name='test', split='test', step=400, **more):
  """Writes an evaluation with a score for each look-ahead."""
  overall = _score(float(np.mean([s['exact_match'] for s in scores.values()])))
  text = json.dumps(
    {
      'split': split,
      'num_samples': 400 * len(scores),
      'seed': 0,
      'step': step,
      'group_name': 'look_ahead',
      'groups': [{'group': k, **score} for k, score in scores.items()],
      'overall': overall,
      **more,
    }
  )
  (folder / 'evaluations').mkdir(exist_ok=True)
  (folder / f'evaluations/{name}.json').write_text(text)


def _run(folder, scores, *, seed=0, model='armt', task=(), num_layers=4):
  """Writes a run folder; `scores` has an exact match for each look-ahead."""
  folder.mkdir(parents=True)
  config = {
    'seed': seed,
    'task': {
      'name': 'orbits',
      'variant': 'o_s' if len(scores) == 1 else 'multi_horizon',
      'look_ahead': list(scores),
      'width': W,
      'num_states': T,
      **dict(task),
    },
    'model': {'name': model, 'num_layers': num_layers},
    'train': {'num_steps': 400},
  }
  (folder / 'config.json').write_text(json.dumps(config))
  with (folder / 'metrics.jsonl').open('w') as file:
    for step in range(0, 401, 10):
      values = {'loss': math.exp(-step / 100), 'exact_match': step / 500}
      values |= {'step': step, 'split': 'train', 'bit_accuracy': 0.9}
      file.write(json.dumps(values) + '\n')
      if step % 100 == 0:
        values |= {'split': 'validation'}
        values |= {f'exact_match_{k}': 0.1 * k for k in scores}
        file.write(json.dumps(values) + '\n')
  _evaluation(folder, {k: _score(value) for k, value in scores.items()})
  rows = [_row(i, k, i % 3 > 0) for i in range(12) for k in scores]
  text = '\n'.join(map(json.dumps, rows)) + '\n'
  (folder / 'evaluations/test.jsonl').write_text(text)
  return folder


def _colors(path):
  """The colours in a PNG that cover at least 20 pixels, as hex."""
  image = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)
  packed = image @ np.array([65536, 256, 1])
  values, counts = np.unique(packed, return_counts=True)
  return {f'#{value:06x}' for value in values[counts >= 20]}


def _hex(color):
  return matplotlib.colors.to_hex(color)


@pytest.mark.filterwarnings('error')
def test_write_draws_everything_a_run_has(tmp_path):
  folder = _run(tmp_path / 'run', {1: 0.83, 2: 0.71})
  written = report.write(folder)
  names = ['curves.png', 'exact_match.png', 'orbits.png']
  assert written == [folder / 'plots' / name for name in names]
  curves, scores, orbits = (_colors(path) for path in written)
  assert {_hex(style.BLUE), _hex(style.VERMILLION)} <= curves
  assert {_hex(style.BLUE), _hex(style.GREY)} <= scores
  assert _hex(style.VERMILLION) in orbits  # cells that are wrong
  for path in written:
    assert min(matplotlib.image.imread(path).shape[:2]) > 300


@pytest.mark.filterwarnings('error')
def test_orbits_without_a_wrong_answer_have_no_error_colour(tmp_path):
  folder = _run(tmp_path / 'run', {1: 1.0})
  rows = [json.dumps(_row(i, 1, True)) + '\n' for i in range(3)]
  (folder / 'evaluations/test.jsonl').write_text(''.join(rows))
  assert _hex(style.VERMILLION) not in _colors(report.write(folder)[-1])


@pytest.mark.filterwarnings('error')
def test_write_leaves_out_what_the_run_does_not_have(tmp_path):
  folder = _run(tmp_path / 'run', {1: 0.8})
  (folder / 'evaluations/test.jsonl').unlink()
  assert [path.stem for path in report.write(folder)] == [
    'curves',
    'exact_match',
  ]
  (folder / 'evaluations/test.json').unlink()
  assert [path.stem for path in report.write(folder)] == ['curves']
  assert report.summary(folder) == f'{folder}: no evaluation yet'
  # A run that was stopped at once, and one that measures something else.
  (folder / 'metrics.jsonl').write_text(
    '{"step": 0, "split": "train", "reward": 0.1}\n'
  )
  assert [path.stem for path in report.write(folder)] == ['curves']
  (folder / 'metrics.jsonl').unlink()
  assert report.write(folder) == []


def test_series_keeps_the_later_value_and_drops_what_is_cut_off(tmp_path):
  folder = _run(tmp_path / 'run', {1: 0.8})
  (folder / 'metrics.jsonl').write_text(
    '{"step": 20, "split": "train", "loss": 3.0}\n'
    '{"step": 10, "split": "train", "loss": 2.0}\n'
    '{"step": 20, "split": "train", "loss": 1.0}\n'
    '{"step": 20, "split": "validation", "loss": 7.0}\n'
    '{"step": 30, "split": "train", "loss": NaN}\n'
    '{"step": 40, "split": "train", "los'
  )
  step, loss = runs.load(folder).series('train', 'loss')
  np.testing.assert_array_equal(step, [10, 20])
  np.testing.assert_array_equal(loss, [2.0, 1.0])


def test_smooth_is_a_centred_mean():
  values = np.random.default_rng(0).normal(size=20)
  expected = [values[max(0, i - 2) : i + 3].mean() for i in range(20)]
  np.testing.assert_allclose(plots.smooth(values, 5), expected)
  np.testing.assert_allclose(plots.smooth(values, 1), values)


def test_the_evaluation_reported_is_the_latest_on_the_test_split(tmp_path):
  folder = _run(tmp_path / 'run', {1: 0.5})
  later = {'split': 'validation', 'step': 900}
  _evaluation(folder, {1: _score(0.6)}, name='validation', **later)
  assert runs.load(folder).evaluation.name == 'test'
  _evaluation(folder, {1: _score(0.7)}, name='extra')
  assert runs.load(folder).evaluation.name == 'test'
  _evaluation(folder, {1: _score(0.8)}, name='final', step=500)
  assert runs.load(folder).evaluation.overall.exact_match == 0.8


def test_tables_show_the_numbers_of_the_file(tmp_path):
  folder = _run(tmp_path / 'run', {1: 0.8314, 2: 0.7126})
  bare = {'ceiling_is_exact': 0.97, 'majority_exact_match': None}
  _evaluation(folder, {1: _score(0.8314), 2: _score(0.7126, **bare)})
  table = tables.cells([runs.load(folder)])
  assert [row['k'] for row in table] == ['1', '2', 'all']
  assert table[1] == {
    'model': 'armt',
    'variant': 'multi_horizon',
    'k': '2',
    'n': '400',
    'exact match': '0.713',
    '95 % interval': '0.683–0.733',
    'ceiling': '0.912*',
    'share of ceiling': '0.781',
    'repeat last': '0.013',
    'majority': '–',
    'bit accuracy': '0.938',
  }
  assert table[0]['ceiling'] == '0.912'
  assert table[0]['majority'] == '0.027'
  assert table[2]['exact match'] == '0.772'
  head, rule, *body, blank, split, note = report.summary(folder).split('\n')
  for line, row in zip([head, *body], [list(table[0]), *table], strict=True):
    texts = row if isinstance(row, list) else list(row.values())
    assert [text.strip() for text in line.strip('|').split('|')] == texts
  assert all(part.strip(' :-') == '' for part in rule.strip('|').split('|'))
  assert all('---' in x or '--:' in x for x in rule.strip('|').split('|'))
  assert len({len(line) for line in (head, rule, *body)}) == 1
  assert not blank and split == 'Scores on the test split.'
  assert note.startswith('*')
  pretty = tables.pretty([runs.load(folder)])
  assert pretty.title == 'armt · multi_horizon'  # not in columns
  shown = zip(*(column.cells for column in pretty.columns), strict=True)
  expected = [tuple(row.values())[2:] for row in table]
  assert list(shown) == expected
  console = rich.console.Console(width=80, file=io.StringIO())
  console.print(pretty)
  lines_shown = console.file.getvalue().splitlines()
  assert [line.split() for line in lines_shown if '0.013' in line] == [
    list(row) for row in expected
  ]


@pytest.mark.filterwarnings('error')
def test_groups_with_names_are_shown_by_name_with_their_phases(tmp_path):
  folder = _run(tmp_path / 'run', {1: 0.5})
  (folder / 'evaluations/test.jsonl').unlink()
  config = json.loads((folder / 'config.json').read_text())
  config['task'] = {'name': 'composition'}
  (folder / 'config.json').write_text(json.dumps(config))
  scores = {'train': (0.4, 0.9, 1.0), 'id': (0.1, 0.5, 0.8), 'ood': (0, 0, 0.2)}
  written = [
    {'step': 100 * (i + 1), 'split': 'validation', 'loss': 1.0}
    | {f'exact_match_{name}': s[i] for name, s in scores.items()}
    for i in range(3)
  ]
  (folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, written)))
  path = folder / 'evaluations/test.json'
  found = json.loads(path.read_text()) | {'group_name': 'set'}
  found['groups'] = [
    {'group': i, 'label': name} | _score(scores[name][-1])
    for i, name in enumerate(scores)
  ]
  path.write_text(json.dumps(found))
  run = runs.load(folder)
  assert list(run.group_metrics()) == list(scores)
  assert run.phases() == {
    'train': {0.5: 200, 0.9: 200},
    'id': {0.5: 200, 0.9: None},
    'ood': {0.5: None, 0.9: None},
  }
  table = tables.cells([run])
  assert [row['set'] for row in table] == ['train', 'id', 'ood', 'all']
  assert report.summary(folder).splitlines()[-3:] == [
    'train: 0.5 passed at step 200, 0.9 passed at step 200',
    'id: 0.5 passed at step 200, 0.9 not passed',
    'ood: 0.5 not passed, 0.9 not passed',
  ]
  (line,) = lines.join([run])
  assert [point.name for point in line.points] == ['train', 'id', 'ood']
  assert [path.stem for path in report.write(folder)][:2] == [
    'curves',
    'exact_match',
  ]
  found['groups'][0]['label'] = '$x'
  path.write_text(json.dumps(found))
  with pytest.raises(ValueError, match=r'groups\[0\]: label is no word'):
    runs.load(folder)


def test_lines_join_look_aheads_and_average_seeds(tmp_path):
  scores = {(1, 0): 0.90, (1, 1): 0.80, (1, 2): 0.82, (2, 0): 0.60}
  folders = [
    _run(tmp_path / f'k{k}_seed{seed}', {k: value}, seed=seed)
    for (k, seed), value in reversed(scores.items())
  ]
  folders.append(_run(tmp_path / 'other', {2: 0.4}, model='transformer'))
  folders.append(_run(tmp_path / 'all', {1: 0.7, 2: 0.5}))
  armt, other, multi = lines.join([runs.load(path) for path in folders])
  assert armt.label == 'armt · o_s · 1–3 seeds'
  assert other.label == 'transformer · o_s'
  assert multi.label == 'armt · multi_horizon'
  assert {line.panel for line in (armt, other, multi)} == {''}
  first, second = armt.points
  assert (first.group, second.group) == (1, 2)
  assert first.by_seed == {0: 0.90, 1: 0.80, 2: 0.82}
  assert first.exact_match == pytest.approx(0.84)
  spread = 4.303 * np.std([0.90, 0.80, 0.82], ddof=1) / math.sqrt(3)
  expected = (0.84 - math.hypot(spread, 0.03), 0.84 + math.hypot(spread, 0.02))
  assert first.interval == pytest.approx(expected)
  assert second.exact_match == 0.60
  assert second.interval == pytest.approx((0.57, 0.62))
  assert second.references == {
    'ceiling_exact_match': 0.912,
    'repeat_last_exact_match': 0.013,
    'majority_exact_match': 0.027,
  }
  assert [p.exact_match for p in multi.points] == [0.7, 0.5]


def test_interval_stays_within_zero_and_one():
  assert lines.interval([0.2, 0.9], [(0.1, 0.3), (0.8, 1.0)]) == (0.0, 1.0)


def test_lines_keep_apart_what_differs(tmp_path):
  folders = [
    _run(tmp_path / 'a', {1: 0.9}),
    _run(tmp_path / 'b', {1: 0.8}, num_layers=6),
    _run(tmp_path / 'c', {1: 0.7}, task={'width': 16}),
  ]
  joint = lines.join([runs.load(folder) for folder in folders])
  assert [(line.panel, line.label) for line in joint] == [
    ('width=8', 'armt · o_s · num_layers=4'),
    ('width=8', 'armt · o_s · num_layers=6'),
    ('width=16', 'armt · o_s'),
  ]


def test_the_same_seed_twice_is_refused(tmp_path):
  folders = [_run(tmp_path / name, {1: 0.9}) for name in 'ab']
  with pytest.raises(ValueError, match='a and .*b: the same setting, seed 0'):
    lines.join([runs.load(folder) for folder in folders])


def test_choose_takes_right_and_wrong_of_each_group():
  rows = [_row(i, 1 + i % 2, i > 5) for i in range(10)]
  chosen = pictures.choose(rows, 4)
  picked = {k: [row['index'] for row in chosen[k]] for k in chosen}
  assert picked == {1: [6, 0, 8, 2], 2: [7, 1, 9, 3]}
  only_right = pictures.choose([_row(i, 1, True) for i in range(9)], 4)
  assert [row['index'] for row in only_right[1]] == [0, 1, 2, 3]


def test_cells_mark_what_is_wrong():
  row = _row(0, 1, False) | {'prediction': '0?101000'}  # target 01101001
  observed, answer = pictures.cells(row)
  assert observed.shape == (3, T, W) and answer.shape == (3, 1, W)
  np.testing.assert_array_equal(observed[0, 0], [0, 1, 0, 1, 0, 1, 0, 1])
  np.testing.assert_array_equal(observed[1], observed[0])
  np.testing.assert_array_equal(answer[0, 0], [2, 3, 3, 2, 3, 2, 2, 3])
  np.testing.assert_array_equal(answer[1, 0], [2, 7, 3, 2, 3, 2, 2, 2])
  np.testing.assert_array_equal(answer[2, 0], [4, 6, 5, 4, 5, 4, 4, 6])


@pytest.mark.filterwarnings('error')
def test_program_joins_runs(tmp_path, capsys):
  names = [str(_run(tmp_path / f'k{k}', {k: 0.9 - k / 9})) for k in (1, 2)]
  wide = _run(tmp_path / 'wide', {1: 0.3}, model='lstm', task={'width': 16})
  assert program.main([*names, str(wide), '--out', str(tmp_path / 'out')]) == 0
  joint = tmp_path / 'out/exact_match_joint.png'
  assert {_hex(style.BLUE), _hex(style.VERMILLION)} <= _colors(joint)
  for folder in map(pathlib.Path, [*names, wide]):
    assert len(list(folder.glob('plots/*.png'))) == 3
  head, _, *body = capsys.readouterr().out.splitlines()
  assert head.split()[1] == 'run'
  assert [line.split()[1] for line in body[:3]] == ['k1', 'k2', 'wide']
  assert program.main(names) == 0
  assert (tmp_path / 'k1/plots/exact_match_joint.png').is_file()


def _break_metrics(folder):
  path = folder / 'metrics.jsonl'
  path.write_text('{"step": 1, "split": "train"}\n{"step": 2, "sp\n{}\n')
  return 'metrics.jsonl: line 2 is damaged'


def _break_split(folder):
  (folder / 'metrics.jsonl').write_text('{"step": 1}\n')
  return "metrics.jsonl: line 1: no field 'split'"


def _break_value(folder):
  text = '{"step": 7, "split": "train", "loss": "low"}\n'
  (folder / 'metrics.jsonl').write_text(text)
  return "metrics.jsonl: step 7: loss='low', not of type float"


def _break_config(folder):
  (folder / 'config.json').write_text('{"seed": 0, "task": {}, "model": {}}')
  return "config.json: task: no field 'name'"


def _break_evaluation(folder):
  path = folder / 'evaluations/test.json'
  path.write_text(path.read_text()[:-9])
  return 'test.json: not readable as JSON'


def _break_group(folder):
  score = _score(0.5)
  del score['exact_match']
  found = {'split': 'test', 'step': 1, 'group_name': 'look_ahead'}
  found |= {'groups': [{'group': 1} | score], 'overall': score}
  (folder / 'evaluations/test.json').write_text(json.dumps(found))
  return "test.json: groups[0]: no field 'exact_match'"


def _break_row(folder):
  rows = [_row(0, 1, True), _row(1, 1, True) | {'prediction': '01'}]
  text = '\n'.join(map(json.dumps, rows)) + '\n'
  (folder / 'evaluations/test.jsonl').write_text(text)
  return 'test.jsonl: line 2: prediction has 2 characters, target 8'


def _break_observed(folder):
  row = _row(0, 1, True) | {'observed': ['01', '010']}
  (folder / 'evaluations/test.jsonl').write_text(json.dumps(row))
  return 'test.jsonl: line 1: observed states [2, 3] cells wide'


def _no_config(folder):
  (folder / 'config.json').unlink()
  return 'run: not a run folder, it has no config.json'


@pytest.mark.parametrize(
  'damage',
  [
    *(_break_metrics, _break_split, _break_value, _break_config),
    *(_break_evaluation, _break_group, _break_row, _break_observed),
    _no_config,
  ],
)
def test_bad_input_is_named_in_one_line(tmp_path, capsys, damage):
  folder = _run(tmp_path / 'run', {1: 0.8})
  message = damage(folder)
  assert program.main([str(folder)]) == 2
  shown = capsys.readouterr()
  assert shown.out == '' and shown.err.startswith('error: ')
  assert shown.err.count('\n') == 1 and message in shown.err


@pytest.mark.parametrize(
  'name,old,new,message',
  [
    ('config.json', '"seed": 0', '"seed": true', 'seed=True, not of type int'),
    ('config.json', '"seed": 0', f'"seed": {2**63}', 'not of type int'),
    ('config.json', '"train"', '"train": 5, "x"', 'train=5, not of'),
    ('config.json', '"o_s"', '1', 'variant=1, not of type'),
    ('config.json', '"orbits"', '"x", "u": [[1]]', 'task.u holds groups'),
    ('config.json', '"orbits"', '[' * 100_000, 'not readable as JSON'),
    ('config.json', '"orbits"', '"\xff', 'not readable as JSON'),
    ('evaluations/test.json', '0.9375', '"high"', "='high', not of type float"),
    ('evaluations/test.json', '0.9375', 'NaN', 'nan is no share of anything'),
    ('evaluations/test.json', '0.9375', '1e999', 'inf is no share of anything'),
    ('evaluations/test.json', '[0.', '[null, 0.', 'is not [low, high]'),
    ('evaluations/test.json', '[0.', '["low", 0.5], "x": [0.', "low='low'"),
    ('evaluations/test.json', ': 400', f': {10**400}', 'not of type int'),
    ('evaluations/test.json', '"overall"', '"over"', "no field 'overall'"),
    ('evaluations/test.json', '"seed"', '"overrides": 3, "x"', 'overrides=3'),
    ('evaluations/test.json', '"seed"', '"overrides": [3], "x"', 'no texts'),
    ('metrics.jsonl', '"step": ', f'"step": {10**30}', 'not of type int'),
    ('metrics.jsonl', '"loss": ', f'"loss": {10**400}, "x": ', 'not of type'),
    ('metrics.jsonl', '{', '[' * 100_000, 'line 1 is damaged'),
  ],
)
def test_a_damaged_value_is_named_in_one_line(
  tmp_path, capsys, name, old, new, message
):
  path = _run(tmp_path / 'run', {1: 0.8}) / name
  text = path.read_text()
  assert old in text
  path.write_bytes(text.replace(old, new).encode('latin-1'))
  assert program.main([str(tmp_path / 'run')]) == 2
  shown = capsys.readouterr()
  assert shown.out == '' and shown.err.startswith('error: ')
  assert shown.err.count('\n') == 1 and message in shown.err
  assert path.name in shown.err and len(shown.err) < 500


def test_a_file_that_is_a_folder_is_named(tmp_path):
  folder = _run(tmp_path / 'run', {1: 0.8})
  (folder / 'evaluations/other.json').mkdir()
  with pytest.raises(ValueError, match='other.json: not readable as JSON'):
    runs.load(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
  missing = tmp_path / 'nothing'
  assert program.main([str(missing)]) == 2
  assert capsys.readouterr().err == f'error: {missing}: no such folder\n'
  with pytest.raises(SystemExit) as stopped:
    program.main([])
  assert stopped.value.code == 2


def test_scores_further_than_trained_stand_beside_the_runs_own(tmp_path):
  folder = _run(tmp_path / 'run', {1: 0.8})
  for overrides, k, exact_match in (
    (['eval.batch_size=8', 'task.look_ahead=4'], 4, 0.4),
    (['task.look_ahead=2'], 2, 0.6),
    (['task.look_ahead=5', 'task.width=30'], 5, 0.1),  # not the same orbits
    (['eval.batch_size=8'], 1, 0.7),
  ):
    name = '-'.join(['test', *overrides])
    scores = {k: _score(exact_match)}
    _evaluation(folder, scores, name=name, overrides=overrides)
  run = runs.load(folder)
  table = [(row['k'], row['exact match']) for row in tables.cells([run])]
  assert table == [('1', '0.800'), ('2', '0.600'), ('4', '0.400')]
  (line,) = lines.join([run])
  assert [(p.group, p.exact_match) for p in line.points] == [
    (1, 0.8), (2, 0.6), (4, 0.4),
  ]  # fmt: skip
  path = records.write([folder], tmp_path / 'record.json')
  (entry,) = json.loads(path.read_text())
  assert [e['groups'][0]['group'] for e in entry['further']] == [4, 2]
  # Trained on two look-aheads and on one: not a single line.
  other = _run(tmp_path / 'other', {2: 0.9})
  assert len(lines.join([run, runs.load(other)])) == 2


def test_records_keep_config_and_scores(tmp_path, capsys):
  folder = _run(tmp_path / 'run', {1: 0.8})
  line = {'step': 999, 'split': 'validation', 'exact_match_1': 0.6}
  with (folder / 'metrics.jsonl').open('a') as file:
    file.write(json.dumps(line) + '\n')
  path = tmp_path / 'results' / 'x.json'
  assert program.main([str(folder), f'--record={path}']) == 0
  (entry,) = json.loads(path.read_text())
  assert entry['config'] == json.loads((folder / 'config.json').read_text())
  (source,) = (folder / 'evaluations').glob('*.json')
  assert entry['evaluation'] == json.loads(source.read_text())
  assert entry['phases'] == {'1': {'0.5': 999, '0.9': None}}
  capsys.readouterr()
  empty = _run(tmp_path / 'empty', {1: 0.8})
  (empty / 'evaluations' / source.name).unlink()
  assert program.main([str(empty), f'--record={path}']) == 2
  assert 'has no evaluation to record' in capsys.readouterr().err
