"""Tables of scores, and the notes below them."""

import io
import json

import pytest
import rich.console
import run_folders

from reasoning_depth import report
from reasoning_depth.report import lines, runs, tables


def test_tables_show_the_numbers_of_the_file(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8314, 2: 0.7126})
  bare = {'ceiling_is_exact': 0.97, 'majority_exact_match': None}
  run_folders.write_evaluation(
    folder, {1: run_folders.score(0.8314), 2: run_folders.score(0.7126, **bare)}
  )
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
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.5})
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
    {'group': i, 'label': name} | run_folders.score(scores[name][-1])
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


@pytest.mark.parametrize(
  'seconds,text',
  [(59.4, '59 s'), (723.2, '12 min 3 s'), (2 * 3600 + 5 * 60, '2 h 5 min')],
)
def test_the_time_of_training_is_told(tmp_path, seconds, text):
  folders = [
    run_folders.write_run(tmp_path / name, {1: 0.8}) for name in ('a', 'b')
  ]
  assert 'trained for' not in report.summary(folders[0])
  with (folders[0] / 'metrics.jsonl').open('a') as file:
    line = {'step': 400, 'split': 'validation', 'seconds': seconds}
    file.write(json.dumps(line) + '\n')
  told = f'trained for {text}'
  assert report.summary(folders[0]).splitlines()[-1] == told
  both = tables.notes([runs.load(folder) for folder in folders])
  assert [note for note in both if 'trained' in note] == [f'a: {told}']
