"""report.html and look_inside.html, without a browser."""

import json
import re
from html import parser

import matplotlib.figure
import pytest
import run_folders

from reasoning_depth import errors, report
from reasoning_depth.report import (
  halting,
  joint,
  labels,
  lines,
  pictures,
  plots,
  runs,
  style,
)
from reasoning_depth.report.pages import figures, html, look_inside, sections
from reasoning_depth.report.pages import report as report_page

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)>'


class Reader(parser.HTMLParser):
  """Reads a page: its elements, and the text of each kind of element."""

  def __init__(self, path):
    super().__init__()
    self.elements, self.texts, self._open = [], {}, ['']
    self.feed(path.read_text())

  def handle_starttag(self, tag, attributes):
    self.elements.append((tag, dict(attributes)))
    if tag not in ('meta', 'link', 'input', 'img'):
      self._open.append(tag)

  def handle_endtag(self, tag):
    if tag in self._open:
      while self._open.pop() != tag:
        pass

  def handle_data(self, data):
    self.texts.setdefault(self._open[-1], []).append(data.strip())

  def values(self, name):
    return [a[name] for _, a in self.elements if name in a]


def test_a_runs_page_says_what_is_shown_with_interval_and_ceiling(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.83, 2: 0.71})
  environment = {'devices': ['cpu', 'cpu'], 'packages': {'jax': '9.8.7'}}
  (folder / 'environment.json').write_text(json.dumps(environment))
  page = Reader(report.write(folder)[-1])
  (headline,) = page.texts['h1']
  assert headline == (
    'armt on multi_horizon: exact match 0.770 of at most 0.912'
  )
  assert page.texts['title'] == [headline]
  assert {'0.830', '0.800–0.850', '0.912'} <= {*page.texts['td']}
  assert {'2 × cpu', 'jax 9.8.7'} <= {*page.texts['td']}
  assert sum(tag == 'svg' for tag, _ in page.elements) == 3
  assert page.texts['h2'] == [
    'Results', 'Training', 'Configs', 'Hardware and time',
  ]  # fmt: skip


def test_text_of_run_folders_stays_text(tmp_path):
  folder = run_folders.write_run(
    tmp_path / 'run', {1: 0.8}, model=EVIL, task={'variant': EVIL}
  )
  run_folders.write_samples(folder)
  path = folder / 'evaluations/samples.json'
  found = json.loads(path.read_text()) | {'loop_name': EVIL, 'labels': [EVIL]}
  path.write_text(json.dumps(found))
  environment = {'processor': EVIL, 'revision': EVIL}
  (folder / 'environment.json').write_text(json.dumps(environment))
  for path in report.write(folder)[-2:]:
    page = Reader(path)
    tags = [tag for tag, _ in page.elements]
    assert 'img' not in tags and not page.values('onerror')
    assert tags.count('script') == (3 - 1) * (path.stem == 'look_inside')
    (headline,) = page.texts['h1']
    assert EVIL in headline
  data = re.search(r'id="data">(.*?)</script>', (
    folder / 'look_inside.html').read_text())[1]  # fmt: skip
  assert json.loads(data)['labels'] == [EVIL]


def test_pages_ask_nobody_for_anything(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  run_folders.write_samples(folder)
  run = runs.load(folder)
  for path in report.write_pages(run, [pictures.orbits(run)]):
    page = Reader(path)
    addresses = page.values('src') + page.values('href')
    addresses += page.values('xlink:href')
    assert addresses and all(a.startswith(('#', 'data:')) for a in addresses if
                             a != 'look_inside.html')  # fmt: skip
    assert "default-src 'none'" in page.values('content')[0]


def written(folder, folders, drawn=()):
  named = sections.by_setting([runs.load(path) for path in folders])
  return report_page.write(named, drawn, folder)


def test_configs_stand_side_by_side_with_their_differences_only(tmp_path):
  folders = [
    run_folders.write_run(tmp_path / f'{m}{s}', {1: x}, model=m, seed=s)
    for m, s, x in (('armt', 0, 0.8), ('armt', 1, 0.7), ('lstm', 0, 0.3))
  ]
  path = written(tmp_path, folders)
  assert Reader(path).texts['h1'] == ['3 runs of 2 settings']
  text = path.read_text()
  text = text[text.index('id="configs"') : text.index('id="hardware')]
  fields = re.findall('<th scope="row"[^>]*>([^<]*)', text)
  assert fields == ['seed', 'model.name']
  values = re.findall('<td[^>]*>([^<]*)', text)
  assert values == ['0; 1', '0', 'armt', 'lstm']


def test_a_page_of_several_runs_draws_horizons_and_costs(tmp_path):
  folders = []
  for name, gain in (('armt', 0.0), ('looped', 0.1)):
    scores = {k: 0.7 + gain - k / 20 for k in (1, 2, 3, 4)}
    folder = run_folders.write_run(tmp_path / name, scores, model=name)
    run_folders.write_cost(folder, 3e12 * (1 + gain))
    far = {k: run_folders.score(0.5) for k in (8, 16)}
    run_folders.write_evaluation(folder, far, name='look_ahead', horizon=8)
    path = folder / 'evaluations/test.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'horizon': 4}))
    folders.append(folder)
  all_runs = [runs.load(path) for path in folders]
  named = sections.by_setting(all_runs)
  drawn = joint.draw(all_runs, named, tmp_path, [4])
  page = Reader(report_page.write(named, drawn, tmp_path))
  assert page.texts['h1'] == [
    '2 runs of 2 settings: the highest DepthScore is 2.950, of '
    'looped · multi_horizon'
  ]
  assert page.texts['h2'] == [
    'Results', 'Look-ahead', 'DepthScore and horizon', 'Equal compute',
    'Training', 'Configs', 'Hardware and time',
  ]  # fmt: skip
  assert 'horizon (look-ahead)' in page.texts['text']
  names = page.values('id')
  assert len(names) == len({*names})  # also across drawings


def test_figures_that_do_not_fit_are_left_out_and_named(tmp_path, monkeypatch):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  drawn = report.draw(runs.load(folder))
  sizes = [len(figure.html.encode()) for figure in figures.load(drawn)]
  kept, left_out = figures.fitting(figures.load(drawn), sum(sizes) - 1)
  assert (len(kept), len(left_out)) == (2, 1)
  monkeypatch.setattr(report_page, '_MOST_BYTES', 0)
  text = written(folder, [folder], drawn).read_text()
  assert '<svg' not in text
  assert 'below 1 MB: plots/exact_match.png, plots/orbits.png' in text


def test_an_svg_is_the_same_each_time(tmp_path):
  run = runs.load(run_folders.write_run(tmp_path / 'run', {1: 0.8}))
  path = run.plot_path('x')
  drawn = []
  for _ in range(2):
    plots.exact_match(lines.join([run]), path)
    drawn.append(path.with_suffix('.svg').read_text())
  assert drawn[0] == drawn[1] and '>look-ahead k<' in drawn[0]


def test_samples_that_do_not_fit_are_left_out(tmp_path, monkeypatch):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  run_folders.write_samples(folder, count=9)
  run = runs.load(folder)
  (path,) = look_inside.write(run)
  assert '9 answers, 4 right' in path.read_text()
  sample = run.analyses['samples']['samples'][0]
  size = len(json.dumps(sample, separators=(',', ':')))
  monkeypatch.setattr(look_inside, '_MOST_BYTES', 3 * size + 50)
  look_inside.write(run)
  assert '3 answers, 1 right' in path.read_text()


def test_a_halting_model_gets_a_map(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  run_folders.write_samples(folder, halts=False)
  assert halting.draw(runs.load(folder)) == []
  run_folders.write_samples(folder)
  drawn = halting.draw(runs.load(folder))
  assert drawn == [folder / 'plots/halting.png']
  assert 'Halting' in Reader(written(folder, [folder], drawn)).texts['h2']


def test_an_analysis_without_a_field_is_named(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  run_folders.write_samples(folder)
  path = folder / 'evaluations/samples.json'
  found = json.loads(path.read_text())
  del found['samples'][1]['said']
  path.write_text(json.dumps(found))
  with pytest.raises(errors.UsageError, match=r"samples\[1\]: no field 'said'"):
    look_inside.write(runs.load(folder))


def test_pieces_escape():
  row = {'a': '<b>', 'c"d': '&'}
  made = html.table([row], '"x" <y>') + html.numbers(row)
  assert '<b>' not in made and '<y>' not in made and '"x"' not in made
  assert html.data('i', '</script>').count('</script>') == 1


def test_names_beside_points_are_text_in_an_svg(tmp_path):
  """With a halo they would be curves, and the file five times as large."""
  figure = matplotlib.figure.Figure()
  labels.write(figure.subplots(), [0.5], [0.5], ['a name'], ['red'])
  style.save(figure, tmp_path / 'x.png')
  assert '>a name<' in (tmp_path / 'x.svg').read_text()
