import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import base
from reasoning_depth.scoring import losses
from reasoning_depth.training import state, step
from tests import tiny


@functools.cache
def parts(**fields):
  exp = tiny.experiment(
    'transformer', 'smoke,k=1',
    task={'layout': 'masked'},
    model={'width': 16, 'mlp_width': 32, 'positions': 'learned'},
    train={'batch_size': 8, 'warmup_steps': 0, 'schedule': 'constant'} | fields,
  )  # fmt: skip
  first = jax.jit(
    lambda: state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
  )()
  run = step.make_train_step(exp.model, exp.optimizer, exp.config.train)
  sample = jax.jit(functools.partial(exp.task.sample, batch_size=8))
  return exp, first, run, sample


KEY = state.data_key(0)


def without_key_bias(params):
  """Its gradient is nothing but rounding, blown up by Adam to whole steps."""
  params = jax.tree.map(lambda x: x, params)
  qkv = params['stack']['layers']['block']['qkv']
  query, _, value = jnp.split(qkv['bias'], 3, axis=-1)
  qkv['bias'] = jnp.concatenate([query, value], axis=-1)
  return params


def test_scan_over_steps_is_a_loop():
  _, first, run, sample = parts()
  chex.clear_trace_counter()
  traced = jax.jit(chex.assert_max_traces(run, n=1))
  dispatch = jax.jit(step.make_dispatch(run, sample, KEY, 3))
  scanned, metrics = dispatch(first)
  looped, seen = first, []
  for i in range(3):
    looped, m = traced(looped, sample(jax.random.fold_in(KEY, i)), KEY)
    seen.append(m)
  assert int(scanned.step) == 3
  chex.assert_trees_all_close(
    scanned.opt_state, looped.opt_state, rtol=1e-3, atol=1e-6
  )
  chex.assert_trees_all_close(
    without_key_bias(scanned.params),
    without_key_bias(looped.params),
    rtol=1e-4,
    atol=1e-5,
  )
  chex.assert_trees_all_close(
    metrics, jax.tree.map(lambda *x: jnp.stack(x), *seen), rtol=1e-4
  )


def test_accumulated_gradient_is_that_of_the_whole_batch():
  exp, first, _, sample = parts()
  batch = sample(KEY)
  whole, parted = (
    jax.jit(
      functools.partial(
        step.gradients,
        exp.model,
        config={**exp.config.train, 'gradient_accumulation': n},
      )
    )(first.params, batch, KEY)
    for n in (1, 4)
  )
  chex.assert_trees_all_close(whole, parted, rtol=1e-4, atol=1e-6)


def output_of(logits, depth_logits=None, penalty=0.0):
  steps = jnp.full(logits.shape[:2], 2.0)
  return base.Output(
    logits, depth_logits, None, steps, jnp.float32(3), jnp.float32(penalty)
  )


def test_scores_by_hand():
  _, _, _, sample = parts()
  batch = sample(KEY)
  rng = np.random.default_rng(0)
  logits = rng.standard_normal((*batch.inputs.shape, 16), np.float32)
  logits[0, np.arange(batch.inputs.shape[1]), batch.targets[0]] = 9.0
  output = output_of(jnp.asarray(logits))
  objective, sums = losses.score(output, batch)
  np.testing.assert_allclose(objective, sums.loss)
  loss = correct = exact = 0
  for b in range(8):
    asked = np.flatnonzero(batch.weights[b])
    p = np.exp(logits[b]) / np.exp(logits[b]).sum(-1, keepdims=True)
    loss -= sum(np.log(p[i, batch.targets[b, i]]) for i in asked)
    hits = [logits[b, i].argmax() == batch.targets[b, i] for i in asked]
    correct, exact = correct + sum(hits), exact + all(hits)
  assert 1 <= exact < 8
  np.testing.assert_allclose(sums.loss, loss, rtol=1e-4)
  assert (sums.weight, sums.correct, sums.exact, sums.samples) == (
    40, correct, exact, 8
  )  # fmt: skip
  assert sums.means()['bit_accuracy'] == pytest.approx(correct / 40)
  assert sums.means()['depth_steps'] == 2
  assert sums.means()['depth_executed'] == 3


def test_depth_steps_that_answer():
  _, _, _, sample = parts()
  batch = sample(KEY)
  every = jax.random.normal(KEY, (3, *batch.inputs.shape, 16))
  output = output_of(every[-1], every, penalty=0.5)
  singles = [losses.score(output_of(one), batch)[0] for one in every]
  objective, sums = losses.score(output, batch, 'every')
  expected = np.mean(singles) + 0.5 * sums.weight
  np.testing.assert_allclose(objective, expected, rtol=1e-5)
  np.testing.assert_allclose(sums.loss, singles[-1], rtol=1e-5)
  # With look_ahead, step k answers for look-ahead k.
  group = jnp.arange(8) % 3 + 1
  chosen = losses.answer(output, batch.replace(group=group), 'look_ahead')
  for b in range(8):
    np.testing.assert_array_equal(chosen[b], every[group[b] - 1, b])


def test_stablemax_by_hand():
  logits = jnp.array([-3.0, 0.0, 4.0])
  shares = np.array([1 / 4, 1, 5])
  for target in range(3):
    ours = losses.cross_entropy(logits, jnp.int32(target), 'stablemax')
    theirs = -np.log(shares[target] / shares.sum())
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
  slope = jax.grad(losses.cross_entropy)(logits, jnp.int32(0), 'stablemax')
  np.testing.assert_allclose(slope, [-0.25 + 1 / 100, 0.16, 0.16], rtol=1e-4)


def test_a_batch_can_be_learnt_by_heart():
  _, first, run, sample = parts(learning_rate=5e-3)
  batch = sample(KEY)
  many = jax.jit(
    lambda s: jax.lax.scan(lambda c, _: run(c, batch, KEY), s, length=300)
  )
  _, metrics = many(first)
  assert metrics.sums.exact[0] <= 3
  assert metrics.sums.exact[-1] == 8


def test_average_of_parameters():
  _, first, run, sample = parts(ema=0.9)
  new, _ = jax.jit(run)(first, sample(KEY), KEY)
  chex.assert_trees_all_close(
    new.best_params,
    jax.tree.map(lambda o, n: 0.9 * o + 0.1 * n, first.params, new.params),
    rtol=1e-5,
  )
  assert parts()[1].ema is None
  assert parts()[1].best_params is parts()[1].params


@pytest.mark.parametrize('bad', [jnp.nan, jnp.inf])
def test_no_update_from_a_gradient_that_is_not_finite(bad):
  _, first, run, sample = parts()
  broken = jax.tree.map(lambda x: x, first.params)
  kernel = broken['read_out']['logits']['kernel']
  broken['read_out']['logits']['kernel'] = kernel.at[0, 0].set(bad)
  before = first.replace(params=broken)
  after, metrics = jax.jit(run)(before, sample(KEY), KEY)
  assert not metrics.finite
  chex.assert_trees_all_equal(after, before)
