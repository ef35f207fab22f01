import itertools

import jax
import numpy as np
import pytest

from reasoning_depth import tasks
from reasoning_depth.tasks import groups


@pytest.mark.parametrize('name', groups.GROUPS)
def test_tables_are_groups(name):
  table = groups.GROUPS[name]()
  N = 120 if name == 's5' else 60
  i = np.arange(N)
  assert table.shape == (N, N)
  # Closed, and every row and column a permutation: inverses exist.
  np.testing.assert_array_equal(np.sort(table, 0), np.tile(i[:, None], N))
  np.testing.assert_array_equal(np.sort(table, 1), np.tile(i, (N, 1)))
  identity = np.flatnonzero((table == i).all(1))
  assert len(identity) == 1
  np.testing.assert_array_equal(table[:, identity[0]], i)
  left = table[table, :]  # (ab)c
  right = table[i[:, None, None], table[None]]  # a(bc)
  np.testing.assert_array_equal(left, right)


def test_groups_are_the_ones_named():
  tables = {name: make() for name, make in groups.GROUPS.items()}

  def centre(table):
    return int((table == table.T).all(1).sum())

  def orders(table):
    identity = np.flatnonzero((table == np.arange(len(table))).all(1))[0]
    counts = {}
    for a in range(len(table)):
      power, n = a, 1
      while power != identity:
        power, n = table[power, a], n + 1
      counts[n] = counts.get(n, 0) + 1
    return counts

  assert centre(tables['z60']) == 60
  assert centre(tables['a4_z5']) == 5
  assert centre(tables['a5']) == 1
  # Elements by order: the classes of A5, and of A4 times a five-cycle.
  assert orders(tables['a5']) == {1: 1, 2: 15, 3: 20, 5: 24}
  assert orders(tables['a4_z5']) == {
    1: 1, 2: 3, 3: 8, 5: 4, 10: 12, 15: 32
  }  # fmt: skip


def test_composition_is_in_the_order_of_reading():
  even = [
    p for p in itertools.permutations(range(4))
    if sum(a > b for a, b in itertools.combinations(p, 2)) % 2 == 0
  ]  # fmt: skip
  table = groups.alternating(4)
  for a, b in itertools.product(range(12), repeat=2):
    first_a_then_b = tuple(even[b][even[a][i]] for i in range(4))
    assert even[table[a, b]] == first_a_then_b


@pytest.mark.parametrize('name', groups.GROUPS)
def test_answers_are_prefix_products(name):
  task = tasks.make({'name': 'groups', 'group': name, 'word_length': 7})
  batch = jax.jit(lambda k: task.sample(k, 5))(jax.random.key(0))
  for word, answer in zip(batch.inputs, batch.targets, strict=True):
    total = word[0]
    for element, said in zip(word[1:], answer[1:], strict=True):
      total = task.table[total, element]
      assert total == said
  other = jax.jit(lambda k: task.sample(k, 5, 'test'))(jax.random.key(0))
  assert not np.array_equal(batch.inputs, other.inputs)


def test_bad_fields_are_named():
  with pytest.raises(ValueError, match='group=a6: allowed are z60'):
    groups.Groups(group='a6')
  with pytest.raises(ValueError, match='word_length=0'):
    groups.Groups(word_length=0)
