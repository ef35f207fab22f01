import jax.numpy as jnp
import numpy as np
import optax
import pytest

from reasoning_depth.training import config as whole
from reasoning_depth.training import optimizer


def config(**fields):
  c = whole.default('orbits', 'transformer').train
  c.update(
    num_steps=100, warmup_steps=10, decay_steps=0, learning_rate=1.0, **fields
  )
  return c


@pytest.mark.parametrize(
  'fields,expected',
  [
    ({'schedule': 'linear'}, {0: 0, 5: 0.5, 10: 1, 55: 0.5, 100: 0, 150: 0}),
    ({'schedule': 'cosine'}, {0: 0, 10: 1, 55: 0.5, 100: 0}),
    ({'schedule': 'constant'}, {5: 0.5, 10: 1, 100: 1}),
  ],
)
def test_schedules(fields, expected):
  rate = optimizer.schedule(config(**fields))
  for step, value in expected.items():
    np.testing.assert_allclose(rate(step), value, atol=1e-6)


def test_linear_decay_over_twice_the_steps_ends_at_half():
  c = config(schedule='linear')
  c.decay_steps = 200
  np.testing.assert_allclose(optimizer.schedule(c)(105), 0.5, atol=1e-6)


@pytest.mark.parametrize(
  'fields,gradient,clipped',
  [
    ({'clip': 1.0, 'clip_by': 'norm'}, [3.0, 4.0], [0.6, 0.8]),
    ({'clip': 1.0, 'clip_by': 'value'}, [3.0, -0.5], [1.0, -0.5]),
    ({'clip': 0.0}, [3.0, 4.0], [3.0, 4.0]),
  ],
)
def test_clipping_comes_before_adam(fields, gradient, clipped):
  tx = optimizer.make(config(schedule='constant', **fields))
  params = jnp.zeros(2)
  _, state = tx.update(jnp.array(gradient), tx.init(params), params)
  adam = next(
    s for s in _leaves(state) if isinstance(s, optax.ScaleByAdamState)
  )
  np.testing.assert_allclose(adam.mu, 0.1 * np.array(clipped), rtol=1e-5)


def _leaves(state):
  if isinstance(state, optax.ScaleByAdamState) or not isinstance(state, tuple):
    return [state]
  return [leaf for part in state for leaf in _leaves(part)]
