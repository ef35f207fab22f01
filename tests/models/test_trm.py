import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import layers, transformer, trm
from tests import tiny

TOKENS = tiny.tokens()


def build(mixer='attention', **fields):
  backbone = tiny.config(mixer=mixer, **tiny.TRM)
  model = tiny.model('trm', backbone, **fields)
  return model, {'params': tiny.init(model)}


def by_hand(model, variables, count):
  params, r = variables['params'], model.recursion
  x = params['embedding']['tokens']['embedding'][TOKENS] / layers.EMBED_STD

  @jax.jit
  def network(x):
    stack = transformer.Stack(model.config, model.layer)
    return stack.apply({'params': params['network']}, x)[0]

  latents = model.first_latents(TOKENS.shape)
  y, z, every = latents.answer, latents.reasoning, []
  for _ in range(count):
    for _ in range(r.cycles):
      for _ in range(r.inner_steps):
        z = network(x + y + z)
      y = network(y + z)
    every.append(y @ params['read_out']['logits']['kernel'])
  return jnp.stack(every)


@pytest.mark.parametrize('mixer', ['attention', 'mlp'])
def test_recursion_is_the_definition(mixer):
  model, variables = build(mixer, inner_steps=2, cycles=2, supervision=2)
  out = jax.jit(model.apply)(variables, TOKENS)
  # Rounding grows with every pass; a wrong recursion differs by about 1.
  expected = by_hand(model, variables, 2)
  np.testing.assert_allclose(out.depth_logits, expected, atol=5e-3)
  np.testing.assert_allclose(out.logits, expected[-1], atol=5e-3)
  deeper = jax.jit(functools.partial(model.apply, depth=3))(variables, TOKENS)
  assert deeper.depth_logits.shape[0] == 3


def test_gradient_goes_through_the_last_cycle_alone():
  def gradient(model, variables, latents):
    def loss(variables, latents):
      _, logits, halt = model.apply(
        variables, TOKENS, latents, method='recurse'
      )
      return jnp.sum(jax.nn.log_softmax(logits)[..., 0]) + halt.sum()

    return jax.jit(jax.grad(loss, (0, 1)))(variables, latents)

  many, variables = build(inner_steps=2, cycles=3)
  one, _ = build(inner_steps=2, cycles=1)
  first = many.first_latents(TOKENS.shape)
  ours, into = gradient(many, variables, first)
  assert all(not g.any() for g in jax.tree.leaves(into))
  # Two cycles without gradient, then the one that has it.
  latents = first
  recurse = jax.jit(functools.partial(one.apply, method='recurse'))
  for _ in range(2):
    latents, _, _ = recurse(variables, TOKENS, latents)
  theirs, _ = gradient(one, variables, latents)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), ours, theirs
  )


def test_bad_fields_are_named():
  with pytest.raises(ValueError, match='^cycles=0: must be at least 1'):
    trm.TinyRecursion(cycles=0)
  with pytest.raises(ValueError, match='^exploration=2: must be at most 1'):
    trm.TinyRecursion(exploration=2)


def test_step_by_step_is_the_call_at_every_depth():
  model, variables = build(inner_steps=2, cycles=2)

  @jax.jit
  def step(variables, state, n):
    state = model.apply(variables, state, n, method='again')
    return state, model.apply(variables, state, method='read')

  recurse = jax.jit(functools.partial(model.apply, method='recurse'))
  begin = jax.jit(functools.partial(model.apply, method='begin'))
  state = begin(variables, TOKENS)
  latents = model.first_latents(TOKENS.shape)
  called = jax.jit(functools.partial(model.apply, depth=3))(variables, TOKENS)
  np.testing.assert_array_equal(called.logits, called.depth_logits[-1])
  for n in range(3):
    state, (logits, halt) = step(variables, state, jnp.int32(n))
    latents, theirs, halt_theirs = recurse(variables, TOKENS, latents)
    np.testing.assert_allclose(logits, theirs, atol=1e-4)
    np.testing.assert_allclose(halt, halt_theirs, atol=1e-4)
    np.testing.assert_allclose(logits, called.depth_logits[n], atol=5e-3)
