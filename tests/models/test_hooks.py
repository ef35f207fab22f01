import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.analysis import activations
from reasoning_depth.models import halting, hooks, recall
from tests import tiny

# Two segments of three tokens, of five kinds: sizes at which two programs round
# alike, which the lens's test of equality asks for.
D, L, V, SEGMENT = tiny.CONFIG.width, 6, 5, 3
SIZES = {'vocab_size': V, 'segment_length': SEGMENT, 'stride': SEGMENT}
ONE, OTHER = jax.random.randint(jax.random.key(0), (2, tiny.B, L), 0, V)
BLOCK = {'attention', 'mlp', 'residual'}
MODELS = {
  'transformer': (
    tiny.model('transformer', vocab_size=V),
    {'input': (), **dict.fromkeys(BLOCK, (2,))},
  ),
  'halting': (
    tiny.model(
      'transformer', vocab_size=V,
      adaptive=halting.Halting('layer', max_steps=2),
    ),
    {'input': (), 'residual': (2,)},
  ),
  'looped': (
    tiny.model(
      'looped', vocab_size=V, prelude=1, coda=1, carry='both', mean_loops=3,
      truncate=1,
    ),
    {'input': (3,), **dict.fromkeys(BLOCK, (3, 2))},
  ),
  'armt': (
    tiny.model('armt', **SIZES),
    {
      'input': (2,),
      **dict.fromkeys(BLOCK | {'memory', 'memory_read'}, (2, 2)),
    },
  ),
  'rmt': (
    tiny.model('rmt', **SIZES),
    {'input': (2,), **dict.fromkeys(BLOCK, (2, 2))},
  ),
  'recall': (
    tiny.model(
      'recall', tiny.config(row=SEGMENT), vocab_size=V,
      recurrence=recall.Recurrence(core=2, copies='none'),
    ),
    dict.fromkeys(BLOCK | {'memory_read'}, (3, 2)),
  ),
  'trm': (
    tiny.model('trm', vocab_size=V, inner_steps=2, cycles=3, supervision=2),
    {'answer': (2, 3), 'reasoning': (2, 3)},
  ),
}  # fmt: skip


@functools.cache
def build(name):
  """A model, its parameters, all far from zero, hooks, and both runs."""
  model, _ = MODELS[name]
  params = tiny.init(model, L, noise=0.2)
  see = jax.jit(functools.partial(activations.see, model))
  found = activations.find(model, params, ONE)
  return model, params, found, see(params, ONE), see(params, OTHER)


@functools.cache
def replacing(name):
  model, _, found, _, _ = build(name)
  return jax.jit(
    lambda params, tokens, masks, values: (
      activations.replaced(model, params, tokens, found, masks, values).logits
    )
  )


def masks(found, chosen):
  return {
    name: jnp.asarray(hook.mask()) & chosen(name)
    for name, hook in found.items()
  }


@pytest.mark.parametrize('name', MODELS)
def test_sites_are_there_and_change_nothing(name):
  model, params, found, (output, seen), _ = build(name)
  assert {n: s.lead for n, s in found.items()} == MODELS[name][1]
  plain = jax.jit(model.apply)({'params': params}, ONE)
  # Two programs: float32 rounding, which trm's logits of ten thousands show.
  rtol = 1e-5 if name == 'trm' else 1e-7
  np.testing.assert_allclose(output.logits, plain.logits, rtol=rtol, atol=1e-5)
  for hook, held in seen.items():
    if hook != 'memory':
      assert held.shape[-1] == D and held.shape[:-3] == found[hook].lead


@pytest.mark.parametrize('name', ['looped', 'armt', 'recall', 'trm'])
def test_training_is_the_program_without_sites(name, monkeypatch):
  model, params = build(name)[:2]

  def loss(params):
    return model.apply(
      {'params': params}, ONE, deterministic=False,
      rngs={'depth': jax.random.key(0)},
    ).logits.sum()  # fmt: skip

  def program():
    return str(jax.make_jaxpr(jax.grad(loss))(params))

  ours = program()
  monkeypatch.setattr(hooks, 'AXES', {})
  monkeypatch.setattr(hooks, 'hook', lambda module, name, x, *args: x)
  assert program() == ours


@pytest.mark.parametrize('name', MODELS)
def test_a_run_patched_with_itself_is_itself(name):
  _, params, found, (output, seen), _ = build(name)
  run = replacing(name)
  logits = run(params, ONE, masks(found, lambda n: True), seen)
  np.testing.assert_allclose(logits, output.logits, atol=1e-5)


@pytest.mark.parametrize('name', MODELS)
def test_everything_patched_is_the_other_run(name):
  _, params, found, (output, _), (other, seen) = build(name)
  run = replacing(name)
  assert jnp.abs(output.logits - other.logits).max() > 0.1
  logits = run(params, ONE, masks(found, lambda n: True), seen)
  np.testing.assert_allclose(logits, other.logits, atol=1e-5)
  # Nothing patched is the run itself, and each hook counts for something.
  logits = run(params, ONE, masks(found, lambda n: False), seen)
  np.testing.assert_allclose(logits, output.logits, atol=1e-5)
  for hook in found:
    logits = run(params, ONE, masks(found, lambda n, s=hook: n == s), seen)
    assert jnp.abs(logits - output.logits).max() > 1e-3, hook


def test_a_patch_acts_from_its_place_on():
  _, params, found, (output, _), (_, seen) = build('transformer')
  run = replacing('transformer')
  last = masks(found, lambda n: False)
  last['residual'] = found['residual'].mask(layer=0, position=3)
  logits = run(params, ONE, last, seen)
  changed = jnp.abs(logits - output.logits).max((0, 2))
  assert changed[:3].max() < 1e-5 and changed[3:].min() > 1e-3
  # A memory that is replaced reaches the segments after it alone.
  _, params, found, (output, _), (_, seen) = build('armt')
  masked = masks(found, lambda n: False)
  masked['memory'] = found['memory'].mask(loop=0)
  logits = replacing('armt')(params, ONE, masked, seen)
  changed = jnp.abs(logits - output.logits).max((0, 2))
  assert changed[:SEGMENT].max() < 1e-5 and changed[SEGMENT:].max() > 1e-3


def test_sites_and_places_that_are_not_there_are_named():
  found = build('armt')[2]
  with pytest.raises(ValueError, match="no hook 'mpl'; .* has input, .*mlp"):
    activations.choose(found, 'memory,mpl')
  assert list(activations.choose(found, 'mlp,input')) == ['mlp', 'input']
  with pytest.raises(ValueError, match='layer=2: hook mlp has 0 to 1'):
    found['mlp'].mask(layer=2)
  with pytest.raises(ValueError, match='position=0: hook memory has none'):
    found['memory'].mask(position=0)
