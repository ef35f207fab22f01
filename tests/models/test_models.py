"""What all models have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import models, tasks
from reasoning_depth.runtime import configuration


@pytest.mark.parametrize(
  'config', ['transformer', 'rmt', 'armt', 'looped', 'recall', 'trm']
)
def test_a_tied_read_out_is_the_embedding_transposed(config):
  c = configuration.load(f'configs/{config}.py:smoke')
  task = tasks.make(c.task)
  sample = jax.jit(task.sample, static_argnums=1)
  tokens = sample(jax.random.key(0), 2).inputs
  c.model.tied = True
  tied = models.make(c.model, task)
  params = jax.jit(tied.init)(jax.random.key(1), tokens)['params']
  assert 'logits' not in params.get('read_out', {})
  ours = jax.jit(tied.apply)({'params': params}, tokens).logits

  c.model.tied = False
  free = models.make(c.model, task)
  table = params['embedding']['tokens']['embedding']
  read_out = params.get('read_out', {}) | {'logits': {'kernel': table.T}}
  params = params | {'read_out': read_out}
  theirs = jax.jit(free.apply)({'params': params}, tokens).logits
  assert jnp.std(ours) > 1e-3
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
