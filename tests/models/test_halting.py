"""Halting arithmetic, alone and against numbers of the public code.

tests/data/act_reference.npz holds halting weights, inputs, outputs and
gradients of the public ARMT code's adaptive computation (PyTorch, float32).
"""

import dataclasses
import functools
import pathlib

import flax.linen as nn
import flax.traverse_util
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import (
  halting,
  windows,
)
from tests import tiny

REFERENCE = np.load(
  pathlib.Path(__file__).parents[1] / 'data/act_reference.npz'
)
SHAPE = (3, 4)


def run(config, ps):
  """Progress and weights [N, ...] of halting probabilities [N, ...]."""
  progress, us = halting.start(ps.shape[1:]), []
  for n, p in enumerate(ps):
    progress, u = halting.advance(config, progress, p, n, len(ps))
    us.append(u)
  return progress, jnp.stack(us)


def probabilities(seed, num_steps):
  return jax.random.uniform(jax.random.key(seed), (num_steps, *SHAPE))


@hypothesis.given(
  seed=st.integers(0, 1000),
  num_steps=st.integers(1, 6),
  rule=st.sampled_from(['act', 'ponder', 'fixed']),
  threshold=st.sampled_from([0.3, 0.9, 1.0]),
)
@hypothesis.settings(max_examples=30)
def test_weights_sum_to_one(seed, num_steps, rule, threshold):
  config = halting.Halting('layer', rule, num_steps, threshold)
  progress, us = run(config, probabilities(seed, num_steps))
  np.testing.assert_allclose(us.sum(0), 1, atol=1e-6)
  assert (us >= 0).all()
  assert (progress.steps >= 1 - 1e-6).all()
  assert (progress.steps <= num_steps + 1e-5).all()


def test_act_by_hand():
  # 0.5 + 0.3 stay below 0.9; the third step passes it: remainder 0.2.
  ps = jnp.array([0.5, 0.3, 0.7, 0.4])
  config = halting.Halting('layer', 'act', 4, 0.9)
  progress, us = run(config, ps)
  np.testing.assert_allclose(us, [0.5, 0.3, 0.2, 0], atol=1e-6)
  assert (float(progress.steps), float(progress.running)) == (3, 0)
  np.testing.assert_allclose(progress.remainder, 0.2, atol=1e-6)
  # At the cap the remainder goes to the last step; not so in 'universal'.
  few = jnp.array([0.2, 0.3])
  _, us = run(config, few)
  np.testing.assert_allclose(us, [0.2, 0.8], atol=1e-6)
  capped, us = run(halting.Halting('layer', 'universal', 2, 0.9), few)
  np.testing.assert_allclose(us, [0.2, 0.3], atol=1e-6)
  assert float(capped.remainder) == 0


def test_ponder_by_hand():
  config = halting.Halting('layer', 'ponder', 3, prior=0.5)
  progress, us = run(config, jnp.array([0.5, 0.5, 0.1]))
  np.testing.assert_allclose(us, [0.5, 0.25, 0.25], atol=1e-6)
  np.testing.assert_allclose(progress.steps, 0.5 + 2 * 0.25 + 3 * 0.25)
  prior = np.array([4, 2, 1]) / 7
  divergence = np.sum(us * np.log(us / prior))
  np.testing.assert_allclose(progress.divergence, divergence, atol=1e-6)
  assert float(halting.cost(config, progress)) >= 0
  # 0.5 + 0.25 pass 0.7: all that is left goes there, whatever others need.
  early = halting.Halting('layer', 'ponder', 3, threshold=0.7, prior=0.5)
  progress, us = run(early, jnp.array([[0.5, 0.1], [0.5, 0.1], [0.1, 0.1]]))
  np.testing.assert_allclose(us[:, 0], [0.5, 0.5, 0], atol=1e-6)
  np.testing.assert_allclose(us[:, 1], [0.1, 0.09, 0.81], atol=1e-6)
  np.testing.assert_allclose(progress.steps[0], 0.5 + 2 * 0.5)


def test_positions_that_halt_stay_halted():
  config = halting.Halting('layer', 'act', 6, 0.9)
  progress, running = halting.start(SHAPE), []
  for n, p in enumerate(probabilities(0, 6)):
    was = progress.running
    progress, u = halting.advance(config, progress, p, n, 6)
    assert (progress.running <= was).all()
    assert (u[was == 0] == 0).all()
    running.append(float(progress.running.mean()))
  assert running[0] > 0 and running[-1] == 0


@pytest.mark.parametrize('rule', ['act', 'universal', 'ponder'])
def test_gradient_of_the_ponder_cost_by_finite_differences(rule):
  config = halting.Halting('layer', rule, 4, 0.9)

  @jax.jit
  def cost(ps):
    return halting.cost(config, run(config, ps)[0]).sum()

  ps = 0.1 + 0.4 * probabilities(3, 4)
  grad = jax.jit(jax.grad(cost))(ps)
  with tiny.float64(True):
    wide = np.asarray(ps, np.float64)
    for index in np.ndindex(ps.shape):
      step = np.zeros(ps.shape)
      step[index] = 1e-5
      slope = (cost(wide + step) - cost(wide - step)) / 2e-5
      np.testing.assert_allclose(grad[index], slope, atol=1e-3)
  assert jnp.abs(grad).max() > 0.5


class Reference(nn.Module):
  """The function that the reference repeats: s + tanh(s @ W)."""

  @nn.compact
  def __call__(self, x):
    weight = self.param('weight', nn.initializers.zeros, (x.shape[-1],) * 2)
    return x + jnp.tanh(x @ weight), None


@pytest.mark.parametrize('case', ['act_init', 'act_mixed', 'act_capped'])
def test_agrees_with_the_public_code(case):
  stored = {
    k.split('/')[1]: jnp.asarray(REFERENCE[k])
    for k in REFERENCE.files
    if k.startswith(case + '/')
  }
  hops = int(stored['max_hop'])
  config = halting.Halting('layer', 'universal', hops, 0.9)
  module = halting.Adaptive(Reference, config, hops)

  def value(h, weight, bias):
    params = {
      'repeated': {
        'body': {'weight': stored['fn_W']},
        'halting': {'kernel': weight, 'bias': bias},
      }
    }
    y, _, usage = module.apply({'params': params}, h, None)
    total = jnp.sum(y * stored['R']) + 0.37 * usage.cost.mean()
    return total, (y, usage)

  weight = stored['p_weight'].reshape(-1, 1)
  bias = stored['p_bias'].reshape(1)
  grads, (y, usage) = jax.jit(jax.grad(value, (0, 1, 2), has_aux=True))(
    stored['h'], weight, bias
  )
  np.testing.assert_allclose(y, stored['out'], atol=1e-5)
  np.testing.assert_allclose(usage.cost, stored['remainders'], atol=1e-5)
  np.testing.assert_allclose(usage.steps, stored['n_updates'], atol=1e-5)
  np.testing.assert_allclose(grads[0], stored['grad_h'], atol=1e-5)
  for ours, name in ((grads[1], 'weight'), (grads[2], 'bias')):
    theirs = stored[f'grad_p_{name}'].reshape(ours.shape)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


TOKENS, V = tiny.tokens(), tiny.V


def outputs(config, **kwargs):
  model = tiny.model('transformer', adaptive=config)
  variables = {'params': tiny.init(model)}
  apply = jax.jit(functools.partial(model.apply, **kwargs))
  return apply(variables, TOKENS), variables


def test_one_fixed_repetition_is_the_plain_model():
  plain, variables = outputs(halting.Halting())
  for kind in ('layer', 'model'):
    adaptive = halting.Halting(kind, 'fixed', 1)
    once = tiny.model('transformer', adaptive=adaptive)
    params = dict(variables['params'])
    blocks = params['stack']['layers']['block']
    unit = {'kernel': jnp.zeros((16, 1)), 'bias': jnp.zeros(1)}
    if kind == 'layer':
      unit = jax.tree.map(lambda x: jnp.stack([x, x]), unit)
      repeated = {'body': blocks, 'halting': unit}
      stack = {'layers': {'adaptive': {'repeated': repeated}}}
    else:
      body = {'stack': {'layers': {'block': blocks}}}
      stack = {'adaptive': {'repeated': {'body': body, 'halting': unit}}}
    out = jax.jit(once.apply)({'params': params | {'stack': stack}}, TOKENS)
    np.testing.assert_allclose(out.logits, plain.logits, atol=1e-5)


@pytest.mark.parametrize('kind', ['layer', 'model'])
def test_depth_overrides_the_number_of_steps(kind):
  config = halting.Halting(kind, 'fixed', 2)
  two, _ = outputs(config)
  three, _ = outputs(config, depth=3)
  assert (float(two.ponder[0, 0]), float(three.ponder[0, 0])) == (2, 3)
  assert (float(two.executed), float(three.executed)) == (2, 3)
  assert not np.allclose(two.logits, three.logits)


@pytest.mark.parametrize('kind', ['layer', 'model'])
def test_steps_that_nobody_needs_are_not_run(kind):
  # sigmoid(1) = 0.73: every position halts in about its second step of 4.
  out, _ = outputs(halting.Halting(kind, 'act', 4))
  assert 1 <= out.ponder.mean() <= out.executed <= 3
  assert out.penalty > 0


@pytest.mark.parametrize('name', ['transformer', 'armt'])
def test_a_model_says_whether_it_stops_early(name):
  adaptive = halting.Halting('layer', 'act', max_steps=3)
  model = tiny.model(name, adaptive=adaptive)
  assert model.stops_early() == '' and model.trained_depth() == 3
  fixed = model.with_halting(rule='fixed')
  assert 'halting.rule=fixed' in fixed.stops_early()
  assert model.adaptive.rule == 'act'


@pytest.mark.parametrize(
  'field', [{'kind': 'block'}, {'rule': 'art'}, {'max_steps': 0},
            {'threshold': 0.0}, {'prior': 1.5}, {'cost_over': 'some'}],
)  # fmt: skip
def test_bad_fields_are_named(field):
  name, value = next(iter(field.items()))
  with pytest.raises(ValueError, match=f'^{name}={value}: '):
    halting.Halting(**field)


class Mixing(nn.Module):
  """Positions see each other; besides, one array with samples along axis 1."""

  @nn.compact
  def __call__(self, x):
    x = x + jnp.tanh(nn.Dense(x.shape[-1])(x + x.mean(1, keepdims=True)))
    return x, x.sum(1)[None]


@pytest.mark.parametrize('threshold', [0.3, 0.9, 1.0])
@pytest.mark.parametrize('rule', halting.RULES)
def test_a_sample_alone_is_as_in_its_batch(rule, threshold):
  B, L, D, N = 6, 3, 4, 5
  config = halting.Halting('layer', rule, N, threshold)
  module = halting.Adaptive(Mixing, config, N)
  x = 2 * jax.random.normal(jax.random.key(0), (B, L, D))
  first = jnp.zeros((1, B, D))
  params = jax.jit(module.init)(jax.random.key(1), x, first)['params']
  params['repeated']['halting']['kernel'] *= 4

  @jax.jit
  def run(x, first):
    def loss(x):
      y, extra, usage = module.apply({'params': params}, x, first)
      total = jnp.sum(y**2) + jnp.sum(usage.cost) + jnp.sum(jnp.tanh(extra))
      return total, (y, extra[0], usage)

    gradient, (*states, usage) = jax.grad(loss, has_aux=True)(x)
    return (gradient, *states, usage.steps, usage.cost), usage.executed

  whole, executed = run(x, first)
  runs = []
  for b in range(B):
    alone, ran = run(x[b : b + 1], first[:, b : b + 1])
    runs.append(float(ran))
    for ours, theirs in zip(alone, whole, strict=True):
      np.testing.assert_allclose(ours[0], theirs[b], atol=1e-5, rtol=1e-5)
  assert executed == max(runs)
  # Else no sample would have to wait for another one.
  all_run = rule == 'fixed' or (rule == 'ponder' and threshold == 1)
  assert len(set(runs)) == 1 if all_run else min(runs) < max(runs)


class Growing(nn.Module):
  """Its state overflows in the second repetition."""

  def __call__(self, x):
    return x * 1e25, None


@pytest.mark.parametrize('rule', ['act', 'universal', 'ponder'])
def test_a_sample_that_has_halted_cannot_overflow(rule):
  config = halting.Halting('layer', rule, 3)
  module = halting.Adaptive(Growing, config, 3)
  unit = {'kernel': jnp.full((1, 1), 10.0), 'bias': jnp.full(1, -3.0)}
  params = {'repeated': {'halting': unit}}

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def run(params, x):
    y, _, usage = module.apply({'params': params}, x, None)
    return y.sum(), usage.executed

  # The first sample halts at once, with p = 1; the other one, at 0, runs on.
  x = jnp.array([[[1.0]], [[0.0]]])
  (total, executed), gradient = run(params, x)
  assert executed == 3
  np.testing.assert_allclose(total, 1e25, rtol=1e-4)
  assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradient))


@functools.cache
def small(name, config):
  """A model, parameters that use its memory, and tokens.

  Parameters and tokens are such that samples halt at different steps.
  """
  backbone = tiny.config(num_layers=1, width=8, mlp_width=8)
  model = tiny.model(name, backbone, vocab_size=5, adaptive=config)
  tokens = jnp.repeat(jnp.arange(5)[:, None], 8, axis=1)
  params = tiny.init(model, 8)
  noise = jax.random.normal(jax.random.key(2), (64,))
  flat = flax.traverse_util.flatten_dict(params)
  for path, p in flat.items():
    # Away from zero, so that the memory is used.
    flat[path] = p + jnp.resize(noise, p.shape) / 5
    if path[-2:] == ('halting', 'kernel'):
      flat[path] = 5 * p
  return model, flax.traverse_util.unflatten_dict(flat), tokens


@pytest.mark.parametrize(
  'name,kind,rule',
  [
    ('transformer', 'layer', 'act'),
    ('transformer', 'model', 'act'),
    ('rmt', 'layer', 'act'),
    ('rmt', 'model', 'act'),
    ('armt', 'layer', 'act'),
    ('armt', 'model', 'act'),
    ('armt', 'model', 'universal'),
    ('armt', 'model', 'ponder'),
  ],
)
def test_output_and_memory_do_not_depend_on_the_batch(name, kind, rule):
  model, params, tokens = small(name, halting.Halting(kind, rule, 4, 0.9))

  @jax.jit
  def run(tokens):
    output, memory = model.apply({'params': params}, tokens), None
    if name != 'transformer':
      parts = windows.split(tokens, 4, 4)
      _, memory, _ = model.apply(
        {'params': params}, parts, None, None, method='read_segments'
      )
    # The memories of ARMT's layers are stacked along axis 0.
    if name == 'armt':
      memory = jax.tree.map(lambda m: m[0], memory)
    return (output.logits, output.ponder, memory), output.executed

  whole, _ = run(tokens)
  runs = []
  for b, sample in enumerate(tokens):
    # A batch of copies of the sample, so that the same program runs.
    alone, ran = run(jnp.tile(sample, (len(tokens), 1)))
    runs.append(float(ran))
    for ours, theirs in zip(
      jax.tree.leaves(alone), jax.tree.leaves(whole), strict=True
    ):
      scale = 1 + jnp.abs(theirs).max()
      np.testing.assert_allclose(ours[b] / scale, theirs[b] / scale, atol=1e-5)
  assert min(runs) < max(runs), 'no sample waits for another one'


def test_without_memory_tokens_both_averages_of_the_cost_are_the_same():
  config = halting.Halting('layer', 'act', 3, cost=1.0)
  tokens, _ = outputs(config)
  every, _ = outputs(dataclasses.replace(config, cost_over='all'))
  assert tokens.penalty == every.penalty > 0
