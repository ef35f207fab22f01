"""Early exit in a loop, masked and compacted, against reading a trajectory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.analysis import depth, early_exit, exits
from reasoning_depth.tasks import base
from tests import tiny

B, L, V, MOST = 8, 5, tiny.V, 6
SMALL = {'num_layers': 1, 'width': 8, 'num_heads': 1, 'mlp_width': 8}
TOKENS = jax.random.randint(jax.random.key(0), (B, L), 0, V)
ASKED = np.arange(L) >= np.array([3, 2, 4, 3, 1, 4, 0, 2])[:, None]
BATCH = base.Batch(
  TOKENS, TOKENS, jnp.asarray(ASKED, jnp.float32), jnp.ones(B, jnp.int32)
)


@functools.cache
def build(name):
  if name == 'looped':
    backbone = tiny.config(**SMALL)
    fields = {'inject': 'concat', 'prelude': 1}
    model = tiny.model('looped', backbone, **fields)
    every = tiny.model('looped', backbone, read_every=True, **fields)
  else:
    backbone = tiny.config(**SMALL, **tiny.TRM)
    model = every = tiny.model(
      'trm', backbone, inner_steps=1, cycles=1, supervision=MOST
    )
  # Larger than at the start, so that samples settle at different steps.
  params = jax.tree.map(lambda x: 2 * x, tiny.init(model, L))
  if name == 'trm':
    kernel = jax.random.normal(jax.random.key(2), (8, 1))
    params['halting'] = {'kernel': kernel, 'bias': jnp.zeros(1)}
  run = jax.jit(depth.trajectory(model, MOST, 'softmax'))
  scores, signals = jax.device_get(run(params, BATCH))
  apply = jax.jit(functools.partial(every.apply, depth=MOST))
  logits = apply({'params': params}, TOKENS).depth_logits
  signals = jax.tree.map(np.transpose, signals)
  return (
    np.asarray(logits),
    scores,
    signals,
    params,
    early_exit.EarlyExit(model, MOST, 'softmax'),
  )


def work(steps, buckets):
  """Steps run for all the samples of each bucket, counted one by one."""
  size, n, total = len(steps), 0, 0
  while True:
    n, total = n + 1, total + size
    going = int((steps > n).sum())
    if not going:
      return total / len(steps)
    if going <= max((b for b in buckets if b < size), default=0):
      size = min(b for b in buckets if b >= going)


CASES = {
  'looped': ('kl', 'entropy', 'kl_entropy', 'latent', 'argmax'),
  'trm': ('latent', 'q_head'),
}


def spread_threshold(name, signals):
  """A threshold in the middle of what the rule compares."""
  if name == 'argmax':
    return 1
  values = {
    'kl': signals.divergence, 'kl_entropy': signals.divergence,
    'entropy': signals.entropy, 'latent': signals.difference,
    'q_head': signals.halt,
  }[name][1:]  # fmt: skip
  best = values.max(0) if name == 'q_head' else values.min(0)
  return float(np.median(best))


@pytest.mark.parametrize(
  'which, name', [(m, rule) for m, rules in CASES.items() for rule in rules]
)
def test_masked_and_compacted_are_what_the_trajectory_says(which, name):
  logits, _, signals, params, answer = build(which)
  rule = exits.Rule(name, spread_threshold(name, signals), 1.9)
  steps = np.asarray(exits.steps(exits.stops(rule, signals)))
  assert len(np.unique(steps)) > 1
  tokens = logits.argmax(-1)[steps - 1, np.arange(B)]
  # Which samples go on into which bucket is the same for every rule.
  halves = [(8, 4, 2, 1)] if name == CASES[which][0] else []
  for buckets in ((B,), (8, 3), *halves):
    ours = answer(params, TOKENS, jnp.asarray(ASKED), rule, buckets)
    np.testing.assert_array_equal(ours.steps, steps)
    np.testing.assert_array_equal(ours.tokens, tokens)
    assert ours.executed == pytest.approx(work(steps, buckets))
    assert ours.executed >= steps.mean()
    if buckets == (B,):
      assert ours.executed == steps.max()


def test_without_a_stop_all_steps_are_taken():
  logits, _, _, params, answer = build('looped')
  rule = exits.Rule('latent', -1.0)
  ours = answer(params, TOKENS, jnp.asarray(ASKED), rule, (8, 3))
  assert (ours.steps == MOST).all() and ours.executed == MOST
  np.testing.assert_array_equal(ours.tokens, logits[-1].argmax(-1))


def test_scores_of_a_trajectory_are_those_of_the_call():
  every, scores, *_ = build('looped')
  for n, logits in enumerate(every):
    right = np.where(ASKED, logits.argmax(-1) == TOKENS, True).all(-1)
    log_p = np.asarray(jax.nn.log_softmax(logits))
    lost = -np.take_along_axis(log_p, np.asarray(TOKENS)[..., None], -1)[..., 0]
    np.testing.assert_array_equal(scores.exact_match[:, n], right)
    np.testing.assert_allclose(
      scores.loss[:, n], lost.mean(-1, where=ASKED), atol=2e-4
    )


def test_bucket_sizes():
  assert early_exit.halved(256) == (256, 128, 64, 32, 16)
  assert early_exit.halved(5) == (5, 3, 2, 1)
  assert early_exit.halved(1) == (1,)
