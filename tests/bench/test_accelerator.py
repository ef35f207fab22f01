"""The list of parts: limits, order, files; and the parts' own numbers."""

import argparse
import json
import sys

import pytest

from reasoning_depth.bench import accelerator, ceiling

WAIT = 'import time; time.sleep(60)'


def part(name, program, seconds=60):
  return accelerator.Part(name, ('-c', program), seconds, ('-c', program))


def test_parts_run_in_order_and_a_bad_one_costs_only_itself(tmp_path):
  write = (
    "import pathlib; pathlib.Path('OUT/{}').write_text('x'); print('said')"
  )
  parts = [
    part('first', write.format('a.json')),
    part('broken', 'raise SystemExit(3)'),
    part('slow', WAIT, seconds=1),
    part('last', write.format('b.json')),
  ]
  ended = accelerator.run(parts, False, tmp_path, 60)
  assert {name: end['how'] for name, end in ended.items()} == {
    'first': 'done', 'broken': 'failed', 'slow': 'cut off at its limit',
    'last': 'done',
  }  # fmt: skip
  assert ended['broken']['exit_code'] == 3
  assert 1 <= ended['slow']['seconds'] < 30
  assert (tmp_path / 'a.json').exists() and (tmp_path / 'b.json').exists()
  assert (tmp_path / 'first.log').read_text() == 'said\n'
  written = json.loads((tmp_path / 'accelerator.json').read_text())
  assert written['parts'] == ended


def test_time_that_is_left_bounds_a_part(tmp_path, monkeypatch):
  monkeypatch.setattr(accelerator, '_LEAST', 1)
  parts = [part('slow', WAIT), part('late', WAIT)]
  ended = accelerator.run(parts, False, tmp_path, 1.5)
  assert ended['slow']['how'] == 'cut off at its limit'
  assert ended['late'] == {'how': 'no time left', 'seconds': 0.0}


def test_the_dry_run_lists_the_parts_and_writes_nothing(tmp_path, capsys):
  out = tmp_path / 'out'
  accelerator.main(['--dry-run', '--only', 'agreement', f'--out={out}'])
  listed = capsys.readouterr().out
  assert listed.startswith('agreement, at most 120 s: -m reasoning_depth.bench')
  assert str(out) in listed and not out.exists()


def test_commands_fit_the_benchmarks():
  # A flag that a benchmark lacks would be seen on the accelerator alone.
  from reasoning_depth.bench import __main__ as bench

  for each in accelerator.PARTS:
    for command in (each.command, each.smoke):
      if command[0] != '-m':
        assert command[0] == 'main.py'
        continue
      assert command[1] == 'reasoning_depth.bench'
      with pytest.raises(SystemExit) as ended:
        bench.BENCHMARKS[command[2]]([*command[3:], '--help'])
      assert ended.value.code == 0


def test_seconds_to_the_ceiling_are_the_first_that_reach_it(
  tmp_path, monkeypatch
):
  lines = [
    {'step': 50, 'split': 'train', 'exact_match': 0.99},
    {'step': 50, 'split': 'validation', 'exact_match': 0.6,
     'exact_match_1': 0.9, 'exact_match_4': 0.3},
    {'step': 100, 'split': 'validation', 'exact_match': 0.9,
     'exact_match_1': 0.96, 'exact_match_4': 0.8},
  ]  # fmt: skip
  written = ''.join(json.dumps(line) + '\n' for line in lines)
  program = (
    'import pathlib, sys, time\n'
    f'path = pathlib.Path({str(tmp_path)!r}, "run")\n'
    'path.mkdir()\n'
    f'(path / "metrics.jsonl").write_text({written!r} + "{{")\n'
    'time.sleep(60)\n'
  )
  best = {1: 1.0, 4: 0.9}
  command = [sys.executable, '-c', program]
  curve, error = ceiling._train(command, 3, tmp_path / 'run', best)
  assert not error
  assert [p['step'] for p in curve] == [50, 100]  # not the line cut short
  assert curve[1]['exact_match'] == {1: 0.96, 4: 0.8}
  model = ceiling.Model('recall', (1, 4))
  monkeypatch.setattr(ceiling, '_train', lambda *_: (curve, ''))
  monkeypatch.setattr(ceiling, '_ceilings', lambda *_: best)
  monkeypatch.setattr(ceiling, '_config', lambda *_: None)
  a = argparse.Namespace(limit=1, words='', every=1, seed=0, flags=[])
  found = ceiling.measure(a, model)
  assert found['reached'] == {1: curve[1]['seconds'], 4: None}
  assert '| not reached, 0.800 |' in ceiling.table({'recall': found})
