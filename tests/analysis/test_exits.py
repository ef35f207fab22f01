"""Exit rules on sequences of logits, against a loop in NumPy; no network."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.analysis import exits

N, B, L, V, D = 5, 4, 3, 6, 2
NAMES = st.sampled_from(list(exits.RULES))


@jax.jit
def signals(log_p, latent, first, halt, asked):
  """Signals [N, B] of log-probabilities [N, B, L, V] and latents."""
  before = exits.nothing_before(exits.Step(log_p[0], latent[0], halt[0]))
  every = []
  for n in range(N):
    step = exits.Step(log_p[n], latent[n], halt[n])
    old = latent[n - 1] if n else first
    found, before = exits.measure(step, before, old, asked, jnp.int32(n))
    every.append(found)
  return jax.tree.map(lambda *x: jnp.stack(x), *every)


def drawn(seed):
  """A sequence that settles: what changes from step to step shrinks."""
  rng = np.random.default_rng(seed)
  shrink = 2.0 ** -np.arange(N)[:, None, None, None]
  logits = rng.normal(size=(B, L, V)) * 3 + 3 * shrink * rng.normal(
    size=(N, B, L, V)
  )
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  latent = rng.normal(size=(B, L, D)) + shrink * rng.normal(size=(N, B, L, D))
  first = rng.normal(size=(B, L, D))
  asked = rng.random((B, L)) < 0.5
  asked[:, 0] = True
  return log_p, latent, first, rng.normal(size=(N, B)) * 2, asked


def by_hand(rule, log_p, latent, first, halt, asked):
  """Steps of each sample, one position and one token after another."""
  steps = []
  for b in range(B):
    unchanged, taken = 0, N
    for n in range(N):
      kl, entropy, moved, same = [], [], [], []
      for i in np.flatnonzero(asked[b]):
        p, log_now = np.exp(log_p[n, b, i]), log_p[n, b, i]
        entropy.append(-sum(p * log_now))
        s, old = latent[n, b, i], (latent[n - 1] if n else first)[b, i]
        moved.append(np.linalg.norm(s - old) / np.linalg.norm(s))
        if n:
          kl.append(sum(p * (log_now - log_p[n - 1, b, i])))
          same.append(log_now.argmax() == log_p[n - 1, b, i].argmax())
      unchanged = unchanged + 1 if n and all(same) else 0
      stop = {
        'kl': n > 0 and max(kl) < rule.threshold,
        'entropy': max(entropy) < rule.threshold,
        'kl_entropy': n > 0
        and max(kl) < rule.threshold
        and max(entropy) < rule.entropy,
        'latent': max(moved) < rule.threshold,
        'argmax': unchanged >= rule.threshold,
        'q_head': halt[n, b] > rule.threshold,
      }[rule.name]
      if stop:
        taken = n + 1
        break
    steps.append(taken)
  return steps


def steps(rule, found):
  return np.asarray(exits.steps(exits.stops(rule, found)))


@hypothesis.given(
  seed=st.integers(0, 10**6),
  name=NAMES,
  place=st.integers(0, 3),
  entropy=st.sampled_from([0.5, 1.0, 3.0]),
)
@hypothesis.settings(max_examples=60)
def test_rules_are_the_definition(seed, name, place, entropy):
  sequence = drawn(seed)
  rule = exits.Rule(name, exits.RULES[name].thresholds[place], entropy)
  ours = steps(rule, signals(*sequence))
  assert ours.tolist() == by_hand(rule, *sequence)


def test_rules_stop_at_different_steps():
  """The sequences drawn here do not all end at once or never."""
  found = [signals(*drawn(seed)) for seed in range(20)]
  for name in exits.RULES:
    middle = exits.Rule(name, exits.RULES[name].thresholds[2])
    taken = np.concatenate([steps(middle, f) for f in found])
    assert len(np.unique(taken)) > 1, name


@hypothesis.given(seed=st.integers(0, 10**6), name=NAMES)
@hypothesis.settings(max_examples=30)
def test_a_looser_threshold_never_takes_more_steps(seed, name):
  found = signals(*drawn(seed))
  taken = [
    steps(exits.Rule(name, t), found) for t in exits.RULES[name].thresholds
  ]
  for loose, strict in zip(taken, taken[1:], strict=False):
    assert (loose <= strict).all()
  assert (taken[0] >= 1).all() and (taken[-1] <= N).all()


@hypothesis.given(seed=st.integers(0, 10**6))
@hypothesis.settings(max_examples=20)
def test_an_entropy_bound_never_takes_fewer_steps(seed):
  found = signals(*drawn(seed))
  alone = steps(exits.Rule('kl', 0.1), found)
  with_any = steps(exits.Rule('kl_entropy', 0.1, np.log(V) + 0.01), found)
  with_some = steps(exits.Rule('kl_entropy', 0.1, 1.0), found)
  np.testing.assert_array_equal(alone, with_any)
  assert (with_some >= alone).all()


@hypothesis.given(seed=st.integers(0, 10**6), name=NAMES)
@hypothesis.settings(max_examples=20)
def test_answer_positions_alone_are_looked_at(seed, name):
  log_p, latent, first, halt, asked = drawn(seed)
  other = drawn(seed + 1)
  here = asked[..., None]
  mixed = (
    np.where(here, log_p, other[0]),
    np.where(here, latent, other[1]),
    np.where(here, first, other[2]),
    halt,
    asked,
  )
  rule = exits.Rule(name, exits.RULES[name].thresholds[1])
  np.testing.assert_array_equal(
    steps(rule, signals(log_p, latent, first, halt, asked)),
    steps(rule, signals(*mixed)),
  )


def test_divergence_and_entropy_by_hand():
  p = np.array([[0.5, 0.5], [0.25, 0.75]])
  run = functools.partial(exits.measure, latent_before=jnp.ones((1, 1, 1)))
  asked = jnp.ones((1, 1), bool)
  every, before = [], None
  for n in range(2):
    step = exits.Step(jnp.log(p[n])[None, None], jnp.full((1, 1, 1), 2.0), None)
    before = before or exits.nothing_before(step)
    found, before = run(step, before, asked=asked, n=jnp.int32(n))
    every.append(found)
  assert np.isinf(every[0].divergence)
  np.testing.assert_allclose(every[0].entropy, np.log(2), rtol=1e-6)
  # 0.25 ln(0.25 / 0.5) + 0.75 ln(0.75 / 0.5)
  np.testing.assert_allclose(every[1].divergence, 0.1308, atol=1e-4)
  np.testing.assert_allclose(every[1].difference, 0.5)


def test_what_a_rule_does_not_need_is_not_kept():
  step = exits.Step(jnp.zeros((B, L, V)), jnp.zeros((B, L, D)), None)
  kept = {
    name: exits.nothing_before(step, rule.needs)
    for name, rule in exits.RULES.items()
  }
  for name in ('entropy', 'latent', 'q_head'):
    assert not jax.tree.leaves(kept[name])
  assert kept['argmax'].log_p is None and kept['kl'].tokens is None


@pytest.mark.parametrize('name', exits.RULES)
def test_a_rule_is_measured_from_what_it_needs(name):
  """With only that kept, it stops where it does with everything kept."""
  log_p, latent, first, halt, asked = drawn(3)
  definition = exits.RULES[name]
  rule = exits.Rule(name, definition.thresholds[1])
  steps_left = [exits.Step(*x) for x in zip(log_p, latent, halt, strict=True)]
  before = exits.nothing_before(steps_left[0], definition.needs)
  every = signals(log_p, latent, first, halt, asked)
  for n, step in enumerate(steps_left):
    old = latent[n - 1] if n else first
    found, before = exits.measure(step, before, old, asked, jnp.int32(n))
    of_step = jax.tree.map(lambda x, n=n: x[n], every)
    np.testing.assert_array_equal(
      exits.stops(rule, found), exits.stops(rule, of_step)
    )


def test_bad_rules_are_named():
  found = signals(*drawn(0))
  with pytest.raises(errors.UsageError, match='rule=mean: allowed are kl'):
    exits.stops(exits.Rule('mean', 1.0), found)
  with pytest.raises(ValueError, match='q_head.*no halting head'):
    exits.stops(exits.Rule('q_head', 0.0), found.replace(halt=None))
