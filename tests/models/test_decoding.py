import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import decoding, halting
from tests import tiny

B, V = tiny.B, tiny.V
MODELS = {
  'transformer': tiny.model('transformer'),
  'lstm': tiny.model('lstm'),
  'mamba': tiny.model('mamba'),
  'adaptive': tiny.model(
    'transformer', adaptive=halting.Halting('layer', max_steps=2)
  ),
  'looped': tiny.model('looped', mean_loops=2),
  'rmt': tiny.model('rmt'),
  'armt': tiny.model('armt', stride=2),
}


def build(name):
  # Weights large enough that what is remembered changes what is said.
  return MODELS[name], tiny.init(MODELS[name], noise=0.2)


@functools.partial(
  jax.jit, static_argnums=(0, 3), static_argnames='temperature'
)
def run(model, params, prompt, length=tiny.L, key=None, temperature=0.0):
  return decoding.generate(model, params, prompt, length, key, temperature)


@pytest.mark.parametrize(
  'name, prompted',
  # Prompts that end in a segment's middle, at its start and at its end.
  [(name, 5) for name in MODELS]
  + [(name, prompted) for name in ('rmt', 'armt') for prompted in (1, 4)],
)
def test_decoding_agrees_with_teacher_forcing(name, prompted):
  model, params = build(name)
  prompt = jax.random.randint(jax.random.key(3), (B, prompted), 0, V)
  tokens, log_ps = run(model, params, prompt)
  np.testing.assert_array_equal(tokens[:, :prompted], prompt)
  logits = jax.jit(model.apply)({'params': params}, tokens).logits
  forced = logits[:, prompted - 1 : -1]
  np.testing.assert_array_equal(tokens[:, prompted:], forced.argmax(-1))
  log_p = jax.nn.log_softmax(forced).max(-1)
  np.testing.assert_allclose(log_ps, log_p, atol=1e-3)
  assert np.ptp(log_ps) > 1e-3  # what is said depends on what was read


def test_given_tokens_are_set_and_read_on():
  model, params = build('lstm')
  prompt = jax.random.randint(jax.random.key(3), (B, 3), 0, V)
  free, _ = run(model, params, prompt, 6)
  other = (int(free[0, 4]) + 1) % V
  given = np.array([decoding.CHOSEN, other, decoding.CHOSEN])
  tokens, log_ps = jax.jit(
    lambda: decoding.generate(model, params, prompt, 6, given=given)
  )()
  np.testing.assert_array_equal(tokens[:, 3], free[:, 3])
  assert (tokens[:, 4] == other).all()
  after, _ = run(model, params, tokens[:, :5], 6)
  np.testing.assert_array_equal(tokens[:, 5], after[:, 5])
  logits = model.apply({'params': params}, tokens).logits[:, 3]
  said = jax.nn.log_softmax(logits)[:, other]
  np.testing.assert_allclose(log_ps[:, 1], said, atol=1e-5)


def test_samples_follow_the_probabilities():
  model, params = build('lstm')
  prompt = jnp.tile(jnp.array([[1, 2]]), (4000, 1))
  tokens, _ = run(
    model, params, prompt, 3, key=jax.random.key(0), temperature=2.0
  )
  logits = model.apply({'params': params}, prompt[:1]).logits[0, -1]
  shares = np.bincount(tokens[:, 2], minlength=V) / 4000
  np.testing.assert_allclose(shares, jax.nn.softmax(logits / 2), atol=0.03)
  again, _ = run(
    model, params, prompt, 3, key=jax.random.key(1), temperature=2.0
  )
  assert not np.array_equal(again, tokens)
