"""The command line over several runs, and records."""

import json
import pathlib

import pytest
import run_folders

from reasoning_depth.report import __main__ as program
from reasoning_depth.report import style


@pytest.mark.filterwarnings('error')
def test_program_joins_runs(tmp_path, capsys):
  names = [
    str(run_folders.write_run(tmp_path / f'k{k}', {k: 0.9 - k / 9}))
    for k in (1, 2)
  ]
  wide = run_folders.write_run(
    tmp_path / 'wide', {1: 0.3}, model='lstm', task={'width': 16}
  )
  assert program.main([*names, str(wide), '--out', str(tmp_path / 'out')]) == 0
  joint = tmp_path / 'out/exact_match_joint.png'
  assert {
    run_folders.hex_of(style.BLUE),
    run_folders.hex_of(style.VERMILLION),
  } <= run_folders.colors(joint)
  for folder in map(pathlib.Path, [*names, wide]):
    assert len(list(folder.glob('plots/*.png'))) == 3
  head, _, *body = capsys.readouterr().out.splitlines()
  assert head.split()[1] == 'run'
  assert [line.split()[1] for line in body[:3]] == ['k1', 'k2', 'wide']
  assert program.main(names) == 0
  assert (tmp_path / 'k1/plots/exact_match_joint.png').is_file()


def test_records_keep_config_and_scores(tmp_path, capsys):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
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
  empty = run_folders.write_run(tmp_path / 'empty', {1: 0.8})
  (empty / 'evaluations' / source.name).unlink()
  assert program.main([str(empty), f'--record={path}']) == 2
  assert 'has no evaluation to record' in capsys.readouterr().err
