import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.tasks import automata

ROLLOUT = jax.jit(automata.rollout, static_argnums=(2, 3))
LATTICES = [(3, 1), (8, 1), (40, 1), (5, 2), (20, 2), (32, 2), (33, 2)]
LATTICES += [(7, 3), (20, 3), (9, 4), (20, 4)]


def oracle(rule, state, steps, radius):
  """Cell by cell, from the definition."""
  states = [list(state)]
  for _ in range(steps):
    last, new = states[-1], []
    for i in range(len(last)):
      index = 0
      for offset in range(-radius, radius + 1):
        index = 2 * index + int(last[(i + offset) % len(last)])
      new.append(int(rule[index]))
    states.append(new)
  return np.array(states)


@pytest.mark.parametrize('width,radius', LATTICES)
def test_rollout_agrees_with_the_definition(width, radius):
  rng = np.random.default_rng(width)
  rules = rng.integers(0, 2, (8, automata.table_size(radius)), np.uint8)
  states = rng.integers(0, 2, (8, width), np.uint8)
  ours = ROLLOUT(rules, states, 6, radius)
  assert ours.shape == (8, 7, width)
  for rule, state, orbit in zip(rules, states, ours, strict=True):
    np.testing.assert_array_equal(orbit, oracle(rule, state, 6, radius))


@hypothesis.settings(max_examples=30)
@hypothesis.given(st.integers(0, 2**32 - 1), st.integers(0, 2**20 - 1))
def test_rollout_agrees_for_any_rule_and_state(rule, state):
  rule = np.array([(rule >> i) & 1 for i in range(32)], np.uint8)
  state = np.array([(state >> i) & 1 for i in range(20)], np.uint8)
  np.testing.assert_array_equal(
    ROLLOUT(rule, state, 4, 2), oracle(rule, state, 4, 2)
  )


@pytest.mark.parametrize(
  'number,formula',
  [
    (30, lambda p, q, r: p ^ (q | r)),
    (90, lambda p, q, r: p ^ r),
    (110, lambda p, q, r: (q | r) & (1 - (p & q & r))),
  ],
)
@pytest.mark.parametrize('width', [9, 40])
def test_elementary_rules_from_their_definition(number, formula, width):
  rule = automata.number_to_rule(number, radius=1)
  assert automata.rule_to_number(rule) == number
  state = np.random.default_rng(0).integers(0, 2, width)
  ours = automata.step(rule, jnp.asarray(state), radius=1)
  theirs = formula(np.roll(state, 1), state, np.roll(state, -1))
  np.testing.assert_array_equal(ours, theirs)


def test_neighbourhoods_are_what_a_step_reads():
  rng = np.random.default_rng(0)
  rule = rng.integers(0, 2, 32, np.uint8)
  state = rng.integers(0, 2, 20, np.uint8)
  index = automata.neighbourhoods(jnp.asarray(state), 2)
  np.testing.assert_array_equal(rule[index], oracle(rule, state, 1, 2)[1])


def test_mix_is_a_bijection():
  eight = np.arange(256, dtype=np.uint32)
  assert len(set(automata.mix(eight, 8).tolist())) == 256
  np.testing.assert_array_equal(
    automata.unmix(automata.mix(eight, 8), 8), eight
  )
  some = np.random.default_rng(0).integers(0, 2**32, 10_000, np.uint32)
  np.testing.assert_array_equal(
    automata.unmix(automata.mix(some, 32), 32), some
  )


@pytest.mark.parametrize('radius', automata.RADII)
@pytest.mark.parametrize('closed', [False, True])
@pytest.mark.parametrize('split', automata.SPLITS)
def test_sampled_rules_belong_to_their_split(radius, closed, split):
  rules = automata.sample_rules(jax.random.key(0), 512, radius, split, closed)
  expected = list(automata.SPLITS).index(split)
  assert jnp.all(automata.split_of(rules, closed) == expected)
  if closed:
    for image in (automata.reflect(rules), automata.complement(rules)):
      assert jnp.all(automata.split_of(image, closed) == expected)
  if radius > 1:  # 256 rules are too few for these
    assert len(np.unique(rules, axis=0)) > 500
    # Every bit of the table is a fair coin, in every split.
    assert jnp.all(jnp.abs(rules.mean(axis=0) - 0.5) < 5 / (2 * 512**0.5))


def test_splits_share_all_rules_of_radius_1():
  rules = jnp.stack([automata.number_to_rule(n, 1) for n in range(256)])
  assert jnp.bincount(automata.split_of(rules)).tolist() == [205, 25, 26]


def test_reflection_and_complement_commute_with_a_step():
  key = jax.random.key(1)
  rules, states = automata.sample_orbits(
    key, 16, width=11, radius=2, steps=1, split='train'
  )
  before, after = states[:, 0], states[:, 1]
  mirrored = automata.step(automata.reflect(rules), before[:, ::-1], 2)
  np.testing.assert_array_equal(mirrored, after[:, ::-1])
  inverse = automata.step(automata.complement(rules), 1 - before, 2)
  np.testing.assert_array_equal(inverse, 1 - after)


@pytest.mark.parametrize('width,radius', [(20, 2), (40, 2), (20, 3)])
def test_orbits_follow_their_rules_from_random_states(width, radius):
  rules, states = automata.sample_orbits(
    jax.random.key(2), 64, width=width, radius=radius, steps=3, split='test'
  )
  np.testing.assert_array_equal(
    states, automata.rollout(rules, states[:, 0], 3, radius)
  )
  assert abs(float(states[:, 0].mean()) - 0.5) < 5 / (2 * (64 * width) ** 0.5)


@pytest.mark.parametrize(
  'width,radius,message',
  [(4, 2, 'width=4.*at least 5'), (20, 5, 'radius=5.*1 to 4')],
)
def test_impossible_lattices_are_refused(width, radius, message):
  with pytest.raises(ValueError, match=message):
    automata.rollout(jnp.zeros(32), jnp.zeros(width), 1, radius)


def test_other_mistakes_are_refused():
  with pytest.raises(ValueError, match='16 entries: radius 2 needs 32'):
    automata.step(jnp.zeros(16), jnp.zeros(8), 2)
  with pytest.raises(ValueError, match="split='dev': allowed are train"):
    automata.sample_rules(jax.random.key(0), 2, 2, 'dev')
  with pytest.raises(ValueError, match='rule number 256'):
    automata.number_to_rule(256, 1)


@pytest.mark.parametrize('first', ['low', 'high'])
@pytest.mark.parametrize('count', [1, 4, 7, 20, 31, 32])
def test_words_hold_their_bits(count, first):
  bits = np.random.default_rng(count).integers(0, 2, (5, 3, count), np.uint8)
  order = bits if first == 'high' else bits[..., ::-1]
  numbers = [int(''.join(map(str, b)), 2) for b in order.reshape(-1, count)]
  ours = automata.pack(jnp.asarray(bits), first)
  assert ours.shape == (5, 3)
  assert ours.reshape(-1).tolist() == numbers
  np.testing.assert_array_equal(automata.unpack(ours, count, first), bits)
