"""report.html and look_inside.html, without a browser."""

import json
import re
from html import parser

import pytest
import run_folders

from reasoning_depth import errors, report
from reasoning_depth.report import __main__ as program
from reasoning_depth.report import style
from reasoning_depth.report.pages import figures, html, look_inside
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
  for path in report.write(folder)[-2:]:
    page = Reader(path)
    addresses = page.values('src') + page.values('href')
    addresses += page.values('xlink:href')
    assert addresses and all(a.startswith(('#', 'data:')) for a in addresses if
                             a != 'look_inside.html')  # fmt: skip
    assert "default-src 'none'" in page.values('content')[0]


def test_configs_stand_side_by_side_with_their_differences_only(tmp_path):
  folders = [
    run_folders.write_run(tmp_path / f'{m}{s}', {1: x}, model=m, seed=s)
    for m, s, x in (('armt', 0, 0.8), ('armt', 1, 0.7), ('lstm', 0, 0.3))
  ]
  out = tmp_path / 'out'
  assert program.main([*map(str, folders), f'--out={out}']) == 0
  page = Reader(out / report_page.NAME)
  assert page.texts['h1'] == ['3 runs of 2 settings']
  text = (out / report_page.NAME).read_text()
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
    test = json.loads((folder / 'evaluations/test.json').read_text())
    test |= {'horizon': 4}
    (folder / 'evaluations/test.json').write_text(json.dumps(test))
    folders.append(str(folder))
  assert program.main([*folders, f'--out={tmp_path}']) == 0
  page = Reader(tmp_path / report_page.NAME)
  (headline,) = page.texts['h1']
  assert headline == (
    '2 runs of 2 settings: the highest DepthScore is 2.950, of '
    'looped · multi_horizon'
  )
  assert page.texts['h2'] == [
    'Results', 'Look-ahead', 'DepthScore and horizon', 'Equal compute',
    'Training', 'Configs', 'Hardware and time',
  ]  # fmt: skip
  assert 'horizon (look-ahead)' in page.texts['text']
  names = page.values('id')
  assert len(names) == len({*names})  # also across drawings


def test_figures_that_do_not_fit_are_left_out_and_named(tmp_path, monkeypatch):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  drawn = report.write(folder)[:-1]
  sizes = [len(figure.html) for figure in figures.load(drawn)]
  kept, left_out = figures.fitting(figures.load(drawn), sum(sizes) - 1)
  assert (len(kept), len(left_out)) == (2, 1)
  monkeypatch.setattr(report_page, '_MOST_BYTES', 0)
  text = report.write(folder)[-1].read_text()
  assert '<svg' not in text
  assert 'below 1 MB: plots/exact_match.png, plots/orbits.png' in text


def test_an_svg_is_the_same_each_time(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  path = folder / 'plots/exact_match.svg'
  report.write(folder)
  before = path.read_bytes()
  report.write(folder)
  assert path.read_bytes() == before and b'>look-ahead k<' in before


def test_samples_that_do_not_fit_are_left_out(tmp_path, monkeypatch):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  run_folders.write_samples(folder, count=9)
  path = folder / 'look_inside.html'
  report.write(folder)
  assert '9 answers, 4 right' in path.read_text()
  sample = json.loads((folder / 'evaluations/samples.json').read_text())
  size = len(json.dumps(sample['samples'][0], separators=(',', ':')))
  monkeypatch.setattr(look_inside, '_MOST_BYTES', 3 * size + 50)
  report.write(folder)
  assert '3 answers, 1 right' in path.read_text()


def test_a_halting_model_gets_a_map(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  run_folders.write_samples(folder, halts=False)
  assert not [p for p in report.write(folder) if p.stem == 'halting']
  run_folders.write_samples(folder)
  assert [p for p in report.write(folder) if p.stem == 'halting']
  assert 'Halting' in Reader(folder / 'report.html').texts['h2']


def test_an_analysis_without_a_field_is_named(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  run_folders.write_samples(folder)
  path = folder / 'evaluations/samples.json'
  found = json.loads(path.read_text())
  del found['samples'][1]['said']
  path.write_text(json.dumps(found))
  with pytest.raises(errors.UsageError, match=r"samples\[1\]: no field 'said'"):
    report.write(folder)


def test_pieces_escape():
  row = {'a': '<b>', 'c"d': '&'}
  made = html.table([row], '"x" <y>') + html.numbers(row)
  assert '<b>' not in made and '<y>' not in made and '"x"' not in made
  assert html.data('i', '</script>').count('</script>') == 1


def test_names_beside_points_are_text_in_an_svg(tmp_path):
  """A halo would make curves of them, and the file five times as large."""
  figure = style.matplotlib.figure.Figure()
  ax = figure.subplots()
  halo = style.matplotlib.patheffects.withStroke(linewidth=2)
  ax.text(0.5, 0.5, 'a name', path_effects=[halo])
  style.save(figure, tmp_path / 'x.png')
  assert '>a name<' in (tmp_path / 'x.svg').read_text()
