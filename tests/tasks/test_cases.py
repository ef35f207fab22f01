"""Ways to fill in a rule."""

import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.tasks import automata, cases


@pytest.mark.parametrize('radius', automata.RADII)
def test_neighbourhoods_are_those_of_automata(radius):
  states = np.random.default_rng(0).integers(0, 2, (3, 40), np.uint8)
  states[0] = 1  # the largest neighbourhood
  index = cases.neighbourhoods(states, radius)
  assert index.max() == automata.table_size(radius) - 1
  np.testing.assert_array_equal(
    index, automata.neighbourhoods(jnp.asarray(states), radius)
  )
