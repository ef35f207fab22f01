import json

import matplotlib
import numpy as np
import pytest

from reasoning_depth import report
from reasoning_depth.report import heat_maps, runs


def write(folder, **analyses):
  (folder / 'evaluations').mkdir(parents=True, exist_ok=True)
  config = {
    'seed': 0, 'task': {'name': 'composition'}, 'model': {'name': 'looped'},
  }  # fmt: skip
  (folder / 'config.json').write_text(json.dumps(config))
  for name, found in analyses.items():
    text = json.dumps({'analysis': name, 'loop_name': 'loop', **found})
    (folder / f'evaluations/{name}.json').write_text(text)
  return folder


def lens(loops=3, layers=2):
  values = np.linspace(0, 1, 2 * loops * layers * 2)
  values = values.reshape(2, loops, layers, 2).tolist()
  values[0][0][0][0] = None
  entry = {'set': 'k = 2', 'num_samples': 9, 'probability': values}
  return {
    'positions': ['entity', 'relation 1'],
    'milestones': ['bridge entity', 'answer'],
    'logit': [entry],
  }


def patching():
  values = np.linspace(-1, 2, 2 * 3 * 2).reshape(2, 3, 2).tolist()
  hooks = [
    {'hook': 'mlp', 'places': ['row 0', 'row 1'], 'recovered': values},
    {'hook': 'input', 'places': ['row 0'], 'recovered': [[[1], [0.5], [0]]]},
  ]
  pair = {'other': 'entity', 'num_pairs': 9, 'told_apart': 8, 'hooks': hooks}
  return {'pairs': [pair]}


def panels(make):
  """Label, title and values of each panel that is drawn."""
  with matplotlib.rc_context(heat_maps._RC):
    figure = make()
  return [
    (ax.get_ylabel().split('\n')[0], ax.get_title(), ax.images[0].get_array())
    for ax in figure.axes
    if ax.images
  ]


@pytest.mark.filterwarnings('error')
def test_values_are_where_the_labels_say(tmp_path):
  folder = write(tmp_path / 'run', lens=lens(), patching=patching())
  run = runs.load(folder)
  assert not run.evaluations
  (_, first), (_, second) = heat_maps.pictures(run)
  drawn = panels(first)
  assert [p[:2] for p in drawn] == [
    ('bridge entity', 'layer 1'), ('', 'layer 2'),
    ('answer', ''), ('', ''),
  ]  # fmt: skip
  values = np.array(lens()['logit'][0]['probability'], float)
  np.testing.assert_array_equal(drawn[3][2], values[1, :, 1])
  drawn = panels(second)
  names = [('mlp', 'row 0'), ('', 'row 1'), ('input', 'row 0')]
  assert [p[:2] for p in drawn] == names
  recovered = np.array(patching()['pairs'][0]['hooks'][0]['recovered'])
  np.testing.assert_array_equal(drawn[1][2], recovered[1].T)
  written = {path.name for path in report.draw(runs.load(folder))}
  assert written == {'lens-logit-k=2.png', 'patching-entity.png'}


def test_layers_take_the_place_of_loops_where_there_are_none(tmp_path):
  folder = write(tmp_path / 'run', lens=lens(loops=1, layers=3))
  ((_, make),) = heat_maps.pictures(runs.load(folder))
  assert [p[2].shape for p in panels(make)] == [(3, 2)] * 2


@pytest.mark.parametrize(
  'name, change, message',
  [
    ('lens', {'logit': [{'set': 'x'}]}, "no field 'num_samples'"),
    ('patching', {'pairs': [{}]}, "no field 'other'"),
    (
      'patching',
      {'pairs': [{**patching()['pairs'][0], 'hooks': [{'site': 'mlp'}]}]},
      "no field 'hook'",
    ),
  ],
)
def test_a_missing_field_is_named(tmp_path, name, change, message):
  good = {'lens': lens, 'patching': patching}[name]()
  folder = write(tmp_path / 'run', **{name: {**good, **change}})
  with pytest.raises(ValueError, match=f'{name}.json: .*{message}'):
    report.draw(runs.load(folder))
