"""The table of scores at further look-aheads."""

import json

import pytest
import run_folders

from reasoning_depth.report import ahead_table, records, runs

EXACT = {1: 0.9, 16: 0.75, 64: 0.5}


def score(exact_match, ceiling=0.9375, **fields):
  return run_folders.score(exact_match) | {
    'ceiling_exact_match': ceiling, 'determined_share': 0.8,
    'determined_exact_match': exact_match + 0.05, **fields,
  }  # fmt: skip


def write(folder, exact=EXACT, seed=0, name='look_ahead', **more):
  """A run folder with an evaluation at further look-aheads."""
  if not folder.exists():
    run_folders.write_run(folder, {1: 0.8}, seed=seed)
  found = {k: score(value) for k, value in exact.items()}
  more = {'horizon': 16} | more
  run_folders.write_evaluation(folder, found, name=name, **more)
  return folder


def cut(text):
  rows = [row for row in text.splitlines() if row.startswith('|')]
  return [[c.strip() for c in row.strip('|').split('|')] for row in rows]


def test_every_cell_by_hand(tmp_path):
  seeds = [
    runs.load(write(tmp_path / '0')).ahead,
    runs.load(
      write(tmp_path / '1', {1: 0.8, 16: 0.65, 64: 0.4}, seed=1, horizon=1)
    ).ahead,
  ]
  other = runs.load(write(tmp_path / '2', {1: 0.5, 4: 0.25}, seed=2)).ahead
  text = ahead_table.markdown({'both': seeds, 'one': [other]})
  head, _, both, one = cut(text)
  assert dict(zip(head, both, strict=True)) == {
    'setting': 'both', 'k = 1': '0.850 (0.800–0.900)', '4': '–',
    '16': '0.700 (0.650–0.750)', '64': '0.450 (0.400–0.500)',
    'ceiling': '0.938 / – / 0.938 / 0.938',
    'of the ceiling': '0.907 / – / 0.747 / 0.480',
    'determined, k = 1': '0.900 (0.850–0.950)',
    'determined, k = 16': '0.750 (0.700–0.800)',
    'determined, k = 64': '0.500 (0.450–0.550)',
    'horizon': '1–16', 'seeds': '2',
  }  # fmt: skip
  assert one[:6] == ['one', '0.500', '0.250', '–', '–', '0.938 / 0.938 / – / –']
  assert ahead_table._BOUND_NOTE not in text


def test_the_ceiling_of_hidden_orbits_is_a_bound(tmp_path):
  flipped = {
    k: run_folders.score(0.45, clean_ceiling_exact_match=0.9) for k in (1, 2)
  }
  for scores in flipped.values():
    for name in list(scores):
      if name.startswith(('ceiling', 'share')):
        del scores[name]
  folder = run_folders.write_run(tmp_path / 'a', {1: 0.8})
  run_folders.write_evaluation(folder, flipped, name='look_ahead')
  text = ahead_table.markdown({'flipped': [runs.load(folder).ahead]})
  head, _, row = cut(text)
  row = dict(zip(head, row, strict=True))
  assert row['ceiling'] == '≤ 0.900 / 0.900'
  assert row['of the ceiling'] == '0.500 / 0.500'
  assert (row['determined, k = 1'], row['horizon']) == ('–', '–')
  assert ahead_table._BOUND_NOTE in text
  # As is one for which entries of some rules were revealed.
  revealed = {1: score(0.5, ceiling_is_exact=0.99)}
  run_folders.write_evaluation(folder, revealed, name='look_ahead')
  text = ahead_table.markdown({'revealed': [runs.load(folder).ahead]})
  assert cut(text)[2][2] == '≤ 0.938'


def test_a_run_that_was_cut_off_is_named(tmp_path):
  folder = write(tmp_path / 'a', step=300)
  run_folders.write_evaluation(folder, {1: score(0.9)}, step=300)
  text = ahead_table.markdown({'row': [runs.load(folder).ahead]})
  assert 'row, seed 0: cut off at step 300 of 400.' in text


def test_evaluations_at_other_sizes_are_kept_apart_and_recorded(tmp_path):
  folder = write(tmp_path / 'run')
  sizes = {12: 0.7, 40: 0.6}
  for W, exact in sizes.items():
    over = ['eval.batch_size=64', f'task.width={W}']
    for name in ('test', 'look_ahead'):
      named = '-'.join([name, *over])
      write(folder, {1: exact}, name=named, overrides=over)
  write(folder, {1: 0.1}, name='test-older', overrides=over, step=200)
  path = records.write([folder], tmp_path / 'record.json')
  (read,) = records.read(path)
  for run in (runs.load(folder), read):
    assert [s.exact_match for s in run.ahead.scores] == list(EXACT.values())
    assert [s.exact_match for s in run.scores] == [0.8]
    for W, exact in sizes.items():
      asked = run.ahead_with([f'task.width={W}', 'eval.batch_size=64'])
      assert [s.exact_match for s in asked.scores] == [exact]
    assert run.ahead_with(['task.width=12']) is None
  assert 'test-older' not in read.evaluations


def test_a_record_without_names_is_read(tmp_path):
  folder = write(tmp_path / 'run')
  over = ['task.look_ahead=4']
  write(folder, {4: 0.3}, name='test-4', overrides=over)
  path = records.write([folder], tmp_path / 'record.json')
  entries = json.loads(path.read_text())
  assert entries[0]['further'][0].pop('name') == 'test-4'
  path.write_text(json.dumps(entries))
  (read,) = records.read(path)
  assert [s.group for s in read.scores] == [1, 4]


@pytest.mark.parametrize('lines', [{}, {'row': []}])
def test_nothing_finished_is_a_table_without_scores(lines):
  assert len(cut(ahead_table.markdown(lines))) == 2 + len(lines)
