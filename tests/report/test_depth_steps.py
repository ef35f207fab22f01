"""Pictures of compute scaling, from a file that is written here."""

import json

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

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
    'analysis': 'compute_scaling',
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
  path = tmp_path / 'evaluations/compute_scaling.json'
  path.write_text(json.dumps(found))
  return tmp_path


def colors(path, least=20):
  """The colours that cover so many pixels, as hex."""
  image = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)
  packed = image @ np.array([65536, 256, 1])
  values, counts = np.unique(packed, return_counts=True)
  return {f'#{value:06x}' for value in values[counts >= least]}


@pytest.mark.filterwarnings('error')
def test_a_run_with_compute_scaling_has_two_more_pictures(tmp_path):
  folder = folder_with(tmp_path, record())
  written = report.write(folder)
  assert [p.name for p in written] == ['compute_scaling.png', 'exit_rules.png']
  heat, curves = map(colors, written)
  # A column of cells, more than the colour bar has of any colour.
  full = matplotlib.colors.to_hex(matplotlib.colormaps['viridis'](1.0))
  assert any(c[:-1] == full[:-1] for c in colors(written[0], least=2000))
  both = {style.BLUE.lower(), style.VERMILLION.lower()}
  assert both <= curves and style.VERMILLION.lower() in heat
  assert report.summary(folder) == f'{folder}: no evaluation yet'


@pytest.mark.filterwarnings('error')
def test_without_rules_or_times_less_is_drawn(tmp_path):
  folder = folder_with(tmp_path, record(exits={}, timing=None))
  assert [p.stem for p in report.write(folder)] == ['compute_scaling']
  untimed = record(timing=None)
  for points in untimed['exits'].values():
    for point in points:
      del point['seconds']
  folder = folder_with(tmp_path, untimed)
  assert len(report.write(folder)) == 2
  assert depth_steps.load(runs.load(folder)).curves['kl'].seconds is None
  files = folder / 'evaluations'
  (files / 'compute_scaling.json').rename(files / 'compute_scaling-x.y=8.json')
  assert [p.name for p in report.write(folder)] == [
    'compute_scaling-x.y=8.png', 'exit_rules-x.y=8.png'
  ]  # fmt: skip
  (files / 'compute_scaling-x.y=8.json').unlink()
  assert report.write(folder) == []


def test_numbers_are_those_of_the_file(tmp_path):
  found = depth_steps.load(runs.load(folder_with(tmp_path, record())))
  assert found.names == ('2', '3', '5')
  assert found.ceilings == (0.95, None, 0.95)
  np.testing.assert_allclose(found.exact_match[1], np.linspace(0.1, 1, N))
  np.testing.assert_allclose(found.curves['kl'].steps, [1.5, 2.5, 3.5, 4.5])


@pytest.mark.parametrize(
  'fields',
  [
    {'depths': [1, 2]},
    {'groups': []},
    {'groups': [{'group': 1}]},
    {'groups': ['x']},
    {'overall': {'exact_match': [float('nan')] * N}},
    {'exits': {'kl': [{'threshold': 1}]}},
    {'exits': {'kl': 3}},
    {'timing': {'full_seconds': None, 'batch_size': 1}},
    {'trained_depth': 'x'},
  ],
  ids=str,
)
def test_a_damaged_file_is_named(tmp_path, fields):
  folder = folder_with(tmp_path, record(**fields))
  with pytest.raises(ValueError, match='compute_scaling.json: ') as error:
    report.write(folder)
  assert '\n' not in str(error.value)
