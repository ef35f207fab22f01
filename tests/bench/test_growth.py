"""How things grow: the fit, and what is said of an axis."""

import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.bench import growth


def test_the_exponent_of_a_power_is_found_at_the_largest_sizes():
  sizes = [2, 4, 8, 16]
  assert growth.exponent(sizes, [99, 16, 64, 256]) == pytest.approx(2)
  assert growth.exponent(sizes, [7, 3, 3, 3]) == pytest.approx(0)


def test_memory_of_a_loop_that_keeps_its_turns_is_linear(tmp_path):
  def work(n):
    def run(x):
      every = jnp.sin(x * jnp.arange(1.0, n + 1)[:, None, None])
      return jnp.linalg.matrix_power(every, 2).sum()

    return run, (jnp.ones((32, 32)),)

  axis = growth.Axis((8, 16, 32), work, None, 1)
  found = growth.measure(axis, axis.sizes, 1)
  assert found['exponents']['memory'] == pytest.approx(1, abs=0.1)
  assert len(found['seconds']) == 3 and np.isfinite(found['exponents']['time'])
  told = growth.table({'turns': found}).splitlines()[-1]
  assert told.startswith('| turns | 8, 16, 32 |') and told.endswith('| 1 |')
  growth.plot({'turns': found}, tmp_path / 'a.png')
  assert (tmp_path / 'a.png').stat().st_size > 1000
