"""What all models have in common."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from tests.models import test_hooks


@pytest.mark.parametrize('name', test_hooks.MODELS)
def test_a_tied_read_out_is_the_embedding_transposed(name):
  free, tokens = test_hooks.MODELS[name][0], test_hooks.ONE
  params = tiny.init(free, test_hooks.L)
  tied = free.clone(config=dataclasses.replace(free.config, tied=True))
  own = jax.eval_shape(tied.init, jax.random.key(1), tokens)['params']
  assert 'logits' not in own.get('read_out', {})

  ours = jax.jit(tied.apply)({'params': params}, tokens).logits
  table = params['embedding']['tokens']['embedding']
  read_out = params.get('read_out', {}) | {'logits': {'kernel': table.T}}
  params = params | {'read_out': read_out}
  theirs = jax.jit(free.apply)({'params': params}, tokens).logits
  assert jnp.std(ours) > 1e-3
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
