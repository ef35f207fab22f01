"""What observed states leave possible, against all rules tried one by one."""

import numpy as np
import pytest

from reasoning_depth.tasks import cases, possible

RULES = (np.arange(256)[:, None] >> np.arange(8)) & 1  # all of radius 1


def rolled(rules, state, steps):
  """All states [R, steps + 1, W], cell by cell."""
  states = np.zeros((len(rules), steps + 1, len(state)), int)
  states[:, 0] = state
  W = len(state)
  for t in range(steps):
    for w in range(W):
      left, own, right = (states[:, t, (w + j) % W] for j in (-1, 0, 1))
      index = 4 * left + 2 * own + right
      states[:, t + 1, w] = rules[np.arange(len(rules)), index]
  return states


@pytest.mark.parametrize('T', [1, 2, 3, 6])
def test_chances_are_shares_of_the_rules_that_agree(T):
  ks = (1, 2, 5)
  generator = np.random.default_rng(T)
  some_open = False
  for _ in range(12):
    state = generator.integers(0, 2, 7)
    true = generator.integers(0, 256)
    every = rolled(RULES, state, T - 1 + max(ks))
    agree = every[(every[:, :T] == every[true, :T]).all((1, 2))]
    found = possible.possible(every[true, :T], ks, radius=1)
    for i, k in enumerate(ks):
      ahead = agree[:, T - 1 + k]
      np.testing.assert_array_equal(found.chance[i], ahead.mean(0))
      assert found.count[i] == len(np.unique(ahead, axis=0))
    assert not found.contradiction
    some_open |= bool(((found.chance > 0) & (found.chance < 1)).any())
  assert some_open or T == 6


def test_too_many_cases_are_not_known():
  state = np.random.default_rng(0).integers(0, 2, (1, 40))
  found = possible.possible(state, (1, 2), radius=3)
  assert np.isnan(found.chance).all() and not found.count.any()


def test_cases_are_given_up_above_the_limit_alone():
  seen = cases.observe(np.array([[[0, 0, 1, 0, 0]]], np.uint8), radius=1)
  # 000, 001, 010 and 100 are read.
  assert len(cases.branched(seen, 1, 16).owner) == 16
  assert cases.branched(seen, 1, 15) is None


def test_a_contradiction_is_named():
  states = np.array([[0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 0]])
  found = possible.possible(states, (1,), radius=1)
  # 101 stands in row 2 alone; 010 gives 0 at row 2, cell 3, then again 0; 000
  # gives 0 at row 2, cell 1; 001 gives 1 at row 2, cell 2, then 1 and 0.
  assert found.contradiction == (
    'no rule of radius 1 makes these states: 100 gives 1 at row 2, cell 4 and '
    '0 at row 3, cell 5'
  )
  assert np.isnan(found.chance).all()
