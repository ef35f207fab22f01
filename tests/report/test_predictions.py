"""The picture of a user's own orbits."""

import matplotlib.image
import numpy as np
import pytest
import run_folders

from reasoning_depth.report import pictures, predictions, style


def row(determined, chance=(), **more):
  return {
    'observed': ['0010', '0111'],
    'answers': [
      {
        'look_ahead': 3,
        'state': '01?0',
        'determined': determined,
        'chance_of_1': list(chance) or None,
      }
    ],
    **more,
  }


def test_cells_are_open_wrong_or_right():
  predicted, determined = predictions.cells(row('0?11', (0, 0.5, 1, 1)))
  W, A = pictures.WRONG, pictures.ASKED
  np.testing.assert_array_equal(predicted, [[A, A + 1, W, W]])
  np.testing.assert_array_equal(
    determined, [[A, pictures.FOREIGN, A + 1, A + 1]]
  )
  assert predictions.cells(row('????'))[1] is None


@pytest.mark.filterwarnings('error')
def test_colours_are_those_of_what_is_there(tmp_path):
  path = predictions.draw(
    tmp_path / 'new/a.png', [row('0?11', (0, 0.5, 1, 1)), row('????')]
  )
  colors = run_folders.colors(path)
  wrong, open_ = map(run_folders.hex_of, (style.VERMILLION, style.ORANGE))
  assert {wrong, open_} <= colors
  path = predictions.draw(tmp_path / 'b.png', [row('01?0', contradiction='no')])
  assert open_ not in run_folders.colors(path)
  assert min(matplotlib.image.imread(path).shape[:2]) > 200


@pytest.mark.filterwarnings('error')
def test_many_wide_orbits_are_a_picture_of_bounded_size():
  wide = row('0' * 400, [0] * 400)
  wide['observed'] = ['01' * 200] * 30
  wide['answers'][0]['state'] = '0' * 400
  made = predictions.figure([wide] * 50)
  assert max(made.get_size_inches()) < 30
  assert len(made.axes) == 2 * predictions.MOST
