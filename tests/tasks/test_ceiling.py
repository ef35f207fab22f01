"""The ceiling against brute force, published numbers and plain facts."""

import collections
import itertools

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from reasoning_depth.tasks import automata, ceiling
from reasoning_depth.tasks import orbits as orbits_task

SCORES = ('exact_match', 'bit_accuracy', 'prefix_bit_accuracy')


def orbits(count, width, radius, num_states, seed=0):
  rules, states = automata.sample_orbits(
    jax.random.key(seed),
    count,
    width=width,
    radius=radius,
    steps=num_states - 1,
    split='test',
  )
  return np.asarray(rules), np.asarray(states)


def scores(result):
  return np.stack([getattr(result, name) for name in SCORES], axis=-1)


# --- Brute force: all fillings of all open entries, in plain Python ---------


def neighbourhood(state, cell, radius):
  offsets = range(-radius, radius + 1)
  bits = (str(state[(cell + offset) % len(state)]) for offset in offsets)
  return int(''.join(bits), 2)


def roll(table, state, steps, radius):
  for _ in range(steps):
    state = tuple(
      table[neighbourhood(state, cell, radius)] for cell in range(len(state))
    )
  return state


def observed(states, radius):
  return {
    neighbourhood(before, cell, radius): int(after[cell])
    for before, after in itertools.pairwise(states)
    for cell in range(len(before))
  }


def best_scores(answers):
  """Scores of the best predictions of answers that are equally likely."""
  counts = collections.Counter(answers)
  width = len(answers[0])
  right = np.zeros(2)
  for cell in range(width):
    for which, prefix in enumerate((0, cell)):
      groups = collections.defaultdict(collections.Counter)
      for answer, number in counts.items():
        groups[answer[:prefix]][answer[cell]] += number
      right[which] += sum(max(group.values()) for group in groups.values())
  best = max(counts.values())
  return np.array([best, *right / width]) / len(answers)


def brute_force(states, look_ahead, radius):
  known = observed(states, radius)
  size = 2 ** (2 * radius + 1)
  open_entries = [i for i in range(size) if i not in known]
  last = tuple(int(cell) for cell in states[-1])
  answers = [
    roll(known | dict(filling), last, look_ahead, radius)
    for filling in itertools.product(*[[(i, 0), (i, 1)] for i in open_entries])
  ]
  return best_scores(answers)


@hypothesis.given(st.data())
def test_brute_force_elementary(data):
  width = data.draw(st.integers(5, 8), label='width')
  num_states = data.draw(st.integers(1, 3), label='T')
  look_ahead = data.draw(st.integers(1, 5), label='k')
  number = data.draw(st.integers(0, 255), label='rule')
  bits = st.tuples(*[st.integers(0, 1)] * width)
  rule = [number >> i & 1 for i in range(8)]
  states = [data.draw(bits, label='state')]
  for _ in range(num_states - 1):
    states.append(roll(rule, states[-1], 1, radius=1))
  result = ceiling.ceiling([rule], [states], [look_ahead], radius=1)
  expected = brute_force(states, look_ahead, radius=1)
  np.testing.assert_allclose(scores(result)[0], expected, rtol=1e-6)
  assert result.exact[0]
  exact_match, parallel, prefix = expected
  assert 0.5 <= parallel <= prefix + 1e-9
  assert exact_match <= prefix + 1e-9


@pytest.mark.parametrize(
  'width, radius, num_states, look_aheads',
  [(20, 2, 6, (1, 2, 5)), (33, 2, 4, (1, 3)), (40, 3, 20, (1, 2, 3))],
)
def test_brute_force_wide(width, radius, num_states, look_aheads):
  rules, states = orbits(60, width, radius, num_states, seed=1)
  size = 2 ** (2 * radius + 1)
  number = np.array([size - len(observed(s, radius)) for s in states])
  picked = np.flatnonzero((number >= 2) & (number <= 7))[:8]
  assert len(picked) == 8
  expected = []
  for k in look_aheads:
    k_all = np.full(8, k)
    result = ceiling.ceiling(
      rules[picked], states[picked], k_all, radius=radius
    )
    expected = [brute_force(states[i], k, radius) for i in picked]
    np.testing.assert_allclose(scores(result), expected, rtol=1e-6)
    assert np.all(result.exact)
  assert np.min(expected) < 0.9  # not all determined


@pytest.mark.parametrize('max_cases', [2**8, 4])
def test_several_look_aheads_in_one_roll_out(max_cases):
  """As one by one, whatever the samples beside them; some have entries told."""
  rules, states = orbits(150, 9, 1, 1, seed=2)
  look_ahead = (1, 2, 5, 40)
  options = {'radius': 1, 'max_cases': max_cases}
  result = ceiling.ceilings(rules, states, look_ahead, **options)
  each = [
    ceiling.ceiling(rules, states, np.full(150, k), **options)
    for k in look_ahead
  ]
  for name in (*SCORES, 'exact', 'determined'):
    expected = [getattr(one, name) for one in each]
    np.testing.assert_array_equal(getattr(result, name), expected)
  assert result.exact.all() == (max_cases > 4)
  for wrong in ((), (2, 1), (1, 1)):
    with pytest.raises(ValueError, match='look_ahead=.*must ascend'):
      ceiling.ceilings(rules, states, wrong, **options)


def test_determined_is_what_every_rule_that_fits_agrees_on():
  """Against all 256 rules, to where orbits have become periodic."""
  W, T, count, look_ahead = 7, 2, 60, (1, 2, 3, 8, 130)
  rules, states = orbits(count, W, 1, T)
  result = ceiling.ceilings(rules, states, look_ahead, radius=1, max_cases=256)
  every = np.stack([automata.number_to_rule(n, 1) for n in range(256)])
  for i, orbit in enumerate(states):
    start = np.tile(orbit[0], (256, 1))
    rolled = np.asarray(automata.rollout(every, start, T - 1 + 130, 1))
    rolled = rolled[(rolled[:, :T] == orbit).all((1, 2))]
    for j, k in enumerate(look_ahead):
      _, number = np.unique(rolled[:, T - 1 + k], axis=0, return_counts=True)
      best = number.max() / number.sum()
      np.testing.assert_allclose(result.exact_match[j, i], best)
      assert result.determined[j, i] == (len(number) == 1)
  share = result.determined.mean(1)
  assert 0.1 < share[-1] < share[0] < 0.9


# --- Numbers measured by an enumeration written elsewhere -------------------

TABLE = {  # (W, r, T): (samples, {k: exact match})
  (20, 2, 10): (
    1500,
    {1: 0.955, 2: 0.926, 3: 0.912, 4: 0.897, 8: 0.870, 16: 0.847},
  ),
  (20, 2, 20): (400, {1: 0.998, 2: 0.995, 4: 0.989, 8: 0.978}),
  (20, 2, 6): (400, {1: 0.813, 2: 0.750, 4: 0.679}),
  (40, 2, 10): (400, {1: 0.991, 2: 0.983, 4: 0.973, 8: 0.969}),
  (12, 2, 10): (400, {1: 0.934, 2: 0.908, 4: 0.867}),
  (10, 1, 8): (400, {1: 0.998, 2: 0.998, 4: 0.998}),
}


@pytest.mark.parametrize('setting', TABLE)
def test_table(setting):
  width, radius, num_states = setting
  samples, row = TABLE[setting]
  count = 2000
  rules, states = orbits(count, width, radius, num_states)
  means = []
  for k, expected in row.items():
    result = ceiling.ceiling(rules, states, np.full(count, k), radius=radius)
    spread = result.exact_match.std() * (1 / count + 1 / samples) ** 0.5
    mean = result.exact_match.mean()
    assert abs(mean - expected) < 3 * spread + 0.0005
    means.append(mean)
    assert result.exact.mean() > 0.99
  assert means == sorted(means, reverse=True)


# --- Facts ------------------------------------------------------------------


def test_all_observed():
  # A cyclic word that contains every neighbourhood of radius 1 once.
  states = np.array([[[0, 0, 0, 1, 0, 1, 1, 1]] * 2] * 2, np.uint8)
  states[:, 1] = roll([0, 1, 1, 1, 1, 0, 0, 0], states[0, 0], 1, radius=1)
  rule = np.array([[0, 1, 1, 1, 1, 0, 0, 0]] * 2, np.uint8)
  result = ceiling.ceiling(rule, states, [1, 8], radius=1)
  np.testing.assert_array_equal(scores(result), 1)
  assert np.all(result.exact)


def test_one_state_seen():
  # All cells read entry 0, open: one coin decides all cells, then, if they
  # became 1, another one.
  states = np.zeros((2, 1, 40), np.uint8)
  rule = np.ones((2, 128), np.uint8)
  result = ceiling.ceiling(rule, states, [1, 2], radius=3)
  np.testing.assert_array_equal(result.exact_match, [0.5, 0.75])
  np.testing.assert_array_equal(result.bit_accuracy, [0.5, 0.75])
  prefix = [(0.5 + 39) / 40, (0.75 + 39) / 40]
  np.testing.assert_allclose(result.prefix_bit_accuracy, prefix, rtol=1e-6)


def test_batch_does_not_matter():
  rules, states = orbits(300, 20, 2, 3)
  k = np.arange(300) % 4 + 1
  together = ceiling.ceiling(rules, states, k, radius=2)
  assert np.all(together.exact_match > 0)
  assert not np.all(together.exact)
  for part in (slice(0, 7), slice(126, 130), slice(299, 300), k == 1):
    alone = ceiling.ceiling(rules[part], states[part], k[part], radius=2)
    np.testing.assert_array_equal(scores(alone), scores(together)[part])
    np.testing.assert_array_equal(alone.exact, together.exact[part])


def test_rule_unused_where_exact():
  # The ceiling is the same for the truth and for its rivals.
  rules, states = orbits(50, 12, 2, 4)
  rivals = rules.copy()
  for rule, orbit in zip(rivals, states, strict=True):
    known = observed(orbit, radius=2)
    rule[[i for i in range(32) if i not in known]] ^= 1
  k = np.full(50, 2)
  result = ceiling.ceiling(rules, states, k, radius=2, max_cases=2**12)
  rival = ceiling.ceiling(rivals, states, k, radius=2, max_cases=2**12)
  assert np.all(result.exact)
  np.testing.assert_array_equal(scores(result), scores(rival))


# --- Told entries -----------------------------------------------------------


@pytest.mark.parametrize('state', ['00000100', '01101100', '0010111'])
@pytest.mark.parametrize('max_cases', [1, 2, 5, 16])
def test_told(state, max_cases):
  """Each ceiling is that of a set of told entries; the mean is no lower."""
  k = 3
  state = tuple(int(cell) for cell in state)
  rules = np.array(list(itertools.product((0, 1), repeat=8)), np.uint8)
  answers = [roll(rule, state, k, radius=1) for rule in rules.tolist()]
  exact = best_scores(answers)
  states = np.tile(np.array(state, np.uint8), (256, 1, 1))
  result = ceiling.ceiling(
    rules, states, np.full(256, k), radius=1, max_cases=max_cases
  )
  assert not np.any(result.exact)
  got = scores(result)
  assert np.all(got.mean(0) >= exact - 1e-6)
  if max_cases == 1:
    np.testing.assert_array_equal(got, 1)
  else:
    assert got[:, 0].mean() < 1
  for truth in range(0, 256, 37):
    possible = []
    for told in itertools.product((False, True), repeat=8):
      agree = (rules == rules[truth])[:, np.array(told)].all(-1)
      possible.append(best_scores([answers[i] for i in np.flatnonzero(agree)]))
    gap = np.abs(np.array(possible) - got[truth]).max(-1)
    assert gap.min() < 1e-6


def test_told_no_more_than_needed():
  rule = np.zeros((1, 8), np.uint8)
  # Reads all eight entries: three quarters of them are told.
  states = np.array([[[0, 0, 0, 1, 0, 1, 1, 1]]], np.uint8)
  result = ceiling.ceiling(rule, states, [1], radius=1, max_cases=4)
  assert result.exact_match == 0.25 and not result.exact
  result = ceiling.ceiling(rule, states, [1], radius=1, max_cases=256)
  assert result.exact_match == 2**-8 and result.exact
  # Reads one entry, which is told only where not even two cases may be.
  for max_cases, expected in ((1, 1), (2, 0.5)):
    result = ceiling.ceiling(
      rule, 0 * states, [1], radius=1, max_cases=max_cases
    )
    assert result.exact_match == expected
    assert result.exact == (max_cases == 2)


@pytest.mark.parametrize('width, radius', [(64, 3), (20, 2)])
def test_hopeless_stays_bounded(width, radius):
  rules, states = orbits(6, width, radius, 1)
  result = ceiling.ceiling(
    rules, states, np.full(6, 4), radius=radius, max_cases=256
  )
  assert not np.any(result.exact)
  assert np.median(result.exact_match) < 0.02
  assert np.all(result.bit_accuracy < result.prefix_bit_accuracy)


# --- Errors -----------------------------------------------------------------


def test_errors():
  rules, states = orbits(3, 12, 2, 4)
  k = np.array([1, 2, 3])

  def fails(match, rules=rules, states=states, k=k, radius=2, **options):
    with pytest.raises(ValueError, match=match):
      ceiling.ceiling(rules, states, k, radius=radius, **options)

  fails('radius=5', radius=5)
  fails('width=4', states=states[..., :4])
  fails('rule', radius=1)
  fails('look_ahead .2,.: .3,. is needed', k=k[:2])
  fails('look_ahead=0', k=k - 1)
  fails('T=0', states=states[:, :0])
  fails('max_cases=0', max_cases=0)
  fails('states', states=states[:, ::-1])


@pytest.mark.parametrize('shown', [False, True])
def test_the_rule_is_known_as_far_as_all_rules_that_fit(shown):
  """Against every rule of radius 1; what a shown state tells is not free."""
  W, T, k = 5, 2, 2
  rules, states = automata.sample_orbits(
    jax.random.key(5), 12, width=W, radius=1, steps=T - 1 + k, split='test'
  )
  rules, states = np.asarray(rules), np.asarray(states)
  every = np.stack([automata.number_to_rule(n, 1) for n in range(256)])
  answer = states[:, T - 1 + k] if shown else None
  best = ceiling.rule_ceiling(
    rules, states[:, :T], 1, np.full(12, k), answer, max_cases=4096
  )
  for i, orbit in enumerate(states):
    rolled = np.asarray(
      automata.rollout(every, np.tile(orbit[0], (256, 1)), T - 1 + k, 1)
    )
    fits = (rolled[:, :T] == orbit[:T]).all((1, 2))
    if shown:
      fits &= (rolled[:, T - 1 + k] == orbit[T - 1 + k]).all(1)
    ones = every[fits].mean(0)
    np.testing.assert_allclose(best.exact_match[i], 1 / fits.sum(), rtol=1e-6)
    np.testing.assert_allclose(
      best.bit_accuracy[i], np.maximum(ones, 1 - ones).mean(), rtol=1e-6
    )
  assert best.exact.all()


def test_a_chain_of_thought_is_told_the_steps_before_by_teacher_forcing():
  task = orbits_task.Orbits(5, 1, 2, (1, 2, 3), variant='cot')
  samples = {
    known: task.draw_held_out(jax.random.key(0), 'test', 60, known)
    for known in ('generation', 'teacher forcing')
  }
  free, told = (s.known['ceiling_exact_match'] for s in samples.values())
  group = samples['generation'].batch.group
  np.testing.assert_array_equal(free[group == 1], told[group == 1])
  assert told[group == 3].mean() > free[group == 3].mean() + 0.1
