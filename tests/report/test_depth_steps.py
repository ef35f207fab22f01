"""Plots of an analysis of depth, from a file that is written here."""

import json

import matplotlib.colors
import numpy as np
import pytest
import run_folders

from reasoning_depth import report
from reasoning_depth.report import depth_steps, runs, style

N = 6


def record(**fields):
  exact = np.linspace(0.1, 1, N).tolist()
  points = [
    {'threshold': 1.0 - 0.1 * i, 'mean_steps': 1.5 + i,
     'exact_match': 0.2 + 0.1 * i, 'seconds': 0.01 * (i + 1)}
    for i in range(4)
  ]  # fmt: skip
  groups = [
    {'group': k, 'exact_match': exact, 'ceiling_exact_match': 0.95}
    for k in (2, 3, 5)
  ]
  del groups[1]['ceiling_exact_match']
  return {
    'analysis': 'depth',
    'group_name': 'hops',
    'trained_depth': 3,
    'depths': list(range(1, N + 1)),
    'overall': {'exact_match': exact},
    'groups': groups,
    'exits': {'kl': points, 'latent': [dict(p) for p in points[:2]]},
    'timing': {'full_seconds': 0.05, 'batch_size': 64},
    **fields,
  }


def folder_with(tmp_path, found):
  config = {'seed': 0, 'task': {'name': 'extrapolation'}}
  config['model'] = {'name': 'looped'}
  (tmp_path / 'evaluations').mkdir(exist_ok=True)
  (tmp_path / 'config.json').write_text(json.dumps(config))
  path = tmp_path / 'evaluations/depth.json'
  path.write_text(json.dumps(found))
  return tmp_path


@pytest.mark.filterwarnings('error')
def test_an_analysis_of_depth_has_two_plots(tmp_path):
  folder = folder_with(tmp_path, record())
  written = report.draw(runs.load(folder))
  assert [p.name for p in written] == ['depth.png', 'exit_rules.png']
  heat, curves = map(run_folders.colors, written)
  # A column of cells, more than the colour bar has of any colour.
  full = matplotlib.colors.to_hex(matplotlib.colormaps['viridis'](1.0))
  assert any(
    c[:-1] == full[:-1] for c in run_folders.colors(written[0], least=2000)
  )
  both = {style.BLUE.lower(), style.VERMILLION.lower()}
  assert both <= curves and style.VERMILLION.lower() in heat
  assert report.summary(folder) == f'{folder}: no evaluation yet'


@pytest.mark.filterwarnings('error')
def test_without_rules_or_times_less_is_drawn(tmp_path):
  folder = folder_with(tmp_path, record(exits={}, timing=None))
  assert [p.stem for p in report.draw(runs.load(folder))] == ['depth']
  untimed = record(timing=None)
  for points in untimed['exits'].values():
    for point in points:
      del point['seconds']
  folder = folder_with(tmp_path, untimed)
  assert len(report.draw(runs.load(folder))) == 2
  figure = depth_steps.exit_curves(untimed, 'title')
  assert len(figure.axes) == 1
  files = folder / 'evaluations'
  (files / 'depth.json').rename(files / 'depth-x.y=8.json')
  assert [p.name for p in report.draw(runs.load(folder))] == [
    'depth-x.y=8.png', 'exit_rules-x.y=8.png'
  ]  # fmt: skip
  (files / 'depth-x.y=8.json').unlink()
  assert report.draw(runs.load(folder)) == []


def test_numbers_are_those_of_the_file():
  found = record()
  found['groups'][2]['exact_match'] = np.linspace(1, 0.5, N).tolist()
  ax, _ = depth_steps.heat_map(found, 'title').axes
  rows = [label.get_text() for label in ax.get_yticklabels()]
  assert rows == ['2 (ceiling 0.95)', '3', '5 (ceiling 0.95)']
  np.testing.assert_allclose(
    ax.images[0].get_array()[1], np.linspace(0.1, 1, N)
  )
  peaks = ax.collections[0].get_offsets()[:, 0]
  np.testing.assert_array_equal(peaks, [N - 1, N - 1, 0])
  steps, times = depth_steps.exit_curves(found, 'title').axes
  kl = steps.lines[1]
  np.testing.assert_allclose(kl.get_xdata(), [1.5, 2.5, 3.5, 4.5])
  np.testing.assert_allclose(kl.get_ydata(), [0.2, 0.3, 0.4, 0.5])
  np.testing.assert_allclose(times.lines[0].get_xdata(), [10, 20, 30, 40])


@pytest.mark.parametrize(
  'fields,message',
  [
    ({'groups': [{'group': 1}]}, "no field 'exact_match'"),
    ({'overall': {}}, "no field 'exact_match'"),
    ({'exits': {'kl': [{'threshold': 1}]}}, "kl: no field 'mean_steps'"),
  ],
)
def test_a_missing_field_is_named(tmp_path, fields, message):
  folder = folder_with(tmp_path, record(**fields))
  with pytest.raises(ValueError, match=f'depth.json: {message}'):
    report.draw(runs.load(folder))


def test_a_rule_without_a_name_of_its_own_stands_in_the_legend():
  found = record(exits={'my_rule': record()['exits']['kl']})
  (legend,) = depth_steps.exit_curves(found, 'title').legends
  assert 'my rule' in [text.get_text() for text in legend.get_texts()]
