import dataclasses

import jax
import numpy as np
import pytest

from reasoning_depth.models import attention, kernels, relative

REACH, H = 3, 2
LATTICE = relative.Places(row=6)  # five cells and a separator
CELLS = relative.Places(row=5, separated=False)
LINE = relative.Places()


def table(places):
  return jax.random.normal(jax.random.key(0), places.shape(H, REACH))


def entry(places, i, j):
  """Table indices of a pair of tokens, one by one."""

  def clip(offset):
    return min(max(offset, -REACH), REACH) + REACH

  if not places.row:
    return 0, clip(j - i)
  (line, column), (other, there) = divmod(i, places.row), divmod(j, places.row)
  down = clip(other - line)
  if places.separated and not there:
    return down, 2 * REACH + (1 if column else 2)
  W = places.columns
  offset = (there - column) % W
  return down, clip(offset - W if offset > (W - 1) // 2 else offset)


@pytest.mark.parametrize('places', [LATTICE, CELLS, LINE])
def test_bias_is_the_entry_of_the_offset(places):
  entries, length = table(places), 13  # the last row cut off
  ours = relative.bias(entries, places, length, REACH)
  for i, j in np.ndindex(length, length):
    expected = relative.GAIN * entries[:, *entry(places, i, j)]
    np.testing.assert_allclose(ours[:, i, j], expected, atol=1e-5)


def test_a_table_serves_lattices_of_any_size():
  entries, wide = table(LATTICE), relative.Places(row=12)
  near = relative.bias(entries, LATTICE, 18, REACH)
  far = relative.bias(entries, wide, 36, REACH)
  # From the third cell, the five cells around it, one row down.
  np.testing.assert_array_equal(near[:, 3, 7:12], far[:, 3, 13:18])


def test_a_separator_predicts_the_first_cell_from_the_place_before_it():
  across = LATTICE.indices(6, REACH)[1]
  last = across[LATTICE.columns, 1:]
  np.testing.assert_array_equal(across[0, 1:], last)


@pytest.mark.parametrize(('before', 'behind'), [(0, 6), (2, 9)])
@pytest.mark.parametrize('window', [0, 1])
def test_memory_tokens_have_the_places_of_the_last_row(before, behind, window):
  entries, L = table(LATTICE), 12
  free = relative.bias(entries, LATTICE, L, REACH, window)
  places = dataclasses.replace(LATTICE, before=before, behind=behind)
  ours = relative.bias(entries, places, before + L + behind, REACH, window)
  last = np.arange(L)[-LATTICE.row :]
  at = [last[i % len(last)] for i in range(before)]
  at = [*at, *range(L), *(last[i % len(last)] for i in range(behind))]
  np.testing.assert_array_equal(ours, free[:, at][:, :, at])


@pytest.mark.parametrize('places', [LATTICE, CELLS])
def test_window_masks_what_is_farther_and_nothing_else(places):
  length, window = 12, 1
  free = relative.bias(table(places), places, length, REACH)
  ours = relative.bias(table(places), places, length, REACH, window)
  for i, j in np.ndindex(length, length):
    down, across = entry(places, i, j)
    near = across > 2 * REACH or abs(across - REACH) <= window
    near &= abs(down - REACH) <= window
    expected = free[:, i, j] if near else np.float32(kernels.MASKED)
    np.testing.assert_array_equal(ours[:, i, j], expected)


@pytest.mark.parametrize('stride', [1, 2, 8])
def test_near_attention_is_attention_to_a_sequence_with_zeros_before(stride):
  B, L, D, window = 2, 7, 4, 2
  q, k, v = jax.random.normal(jax.random.key(1), (3, B, H, L, D))
  bias = relative.near(table(LINE), REACH, window)
  ours = jax.jit(attention.attend_near)(q, k, v, bias, stride)
  for at in range(L):
    places = at - stride * np.arange(window + 1)
    seen = np.where(places >= 0, places, 0)
    keys, values = (
      np.where((places >= 0)[:, None], x[:, :, seen], 0) for x in (k, v)
    )
    scores = np.einsum('bhd,bhnd->bhn', q[:, :, at], keys) / D**0.5 + bias
    expected = np.einsum('bhn,bhnd->bhd', jax.nn.softmax(scores), values)
    np.testing.assert_allclose(ours[:, :, at], expected, atol=1e-5)


def test_near_entries_are_those_of_the_whole_bias():
  entries, L = table(LINE), 6
  whole = relative.bias(entries, LINE, L, REACH)
  few = relative.near(entries, REACH, 2)
  np.testing.assert_array_equal(few, whole[:, L - 1, L - 1 : L - 4 : -1])


@pytest.mark.parametrize(
  ('heads', 'expected'), [(4, [1, 1, 1, 0]), (3, [1, 1, 1]), (2, [2, 1])]
)
def test_cone_gives_each_head_an_offset(heads, expected):
  cone = ((-1, -1), (-1, 1), (0, 0))
  first = relative.start('cone', cone, CELLS, heads, REACH)
  assert [int(np.count_nonzero(head)) for head in first] == expected
  for i, (down, across) in enumerate(cone):
    score = relative.GAIN * first[i % heads, down + REACH, across + REACH]
    assert score == relative.CONE_SCORE


def test_start_at_zeros():
  assert not relative.start('zeros', ((0, 0),), LINE, H, REACH).any()


def test_places_without_rows_have_one_row_of_offsets():
  assert dataclasses.replace(LATTICE, row=0).shape(H, REACH) == (H, 1, 7)
