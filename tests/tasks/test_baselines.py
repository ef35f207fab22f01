import jax
import numpy as np
import pytest

from reasoning_depth.tasks import automata, baselines, ceiling, orbits


def test_the_table_is_what_came_of_a_neighbourhood_most_often():
  # Radius 1, entries are 4·left + 2·cell + right. From 1 0 0 0, circular:
  # entries 2, 4, 0, 1; the second transition shows entry 0 three more times.
  observed = np.array([[[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]])
  seen = {2: [0, 0], 4: [1, 0], 0: [0, 0], 1: [0, 1]}
  table = baselines.read_table(observed, 1)[0]
  for entry, values in seen.items():
    assert table[entry] == (2 * sum(values) > len(values))
  assert not table[[3, 5, 6, 7]].any()  # open; most of the others are 0
  inverted = baselines.read_table(1 - observed, 1)[0]
  # The complement shows entries 7 - i with inverted values; ties give 0.
  assert list(inverted[[5, 7]]) == [1, 1]
  assert inverted[[0, 1, 2, 4]].all()  # open; most of the others are 1


def test_the_table_is_right_where_the_orbit_determines_the_answer():
  task = orbits.Orbits(12, 2, 6, (1, 3, 8), 'by_depth', 'masked')
  ks = (1, 3, 8)
  rules, states, observed = map(
    np.asarray, task.draw_further(jax.random.key(0), ks[-1], 300)
  )
  known = task.known.further(rules, states, ks, observed)
  right = known['table_exact_match']
  determined = known['determined_share'].astype(bool)
  assert 0.1 < determined.mean() < 0.9
  assert right[determined].all()
  assert 0 < right[~determined].mean() < 1
  # No predictor is better than the ceiling, but by chance.
  assert right.mean() < known['ceiling_exact_match'].mean() + 0.03


def test_look_aheads_of_a_batch_are_scored_each_at_its_own():
  task = orbits.Orbits(12, 2, 6, (1, 4), 'by_depth', 'masked')
  samples = task.draw_held_out(jax.random.key(0), 'test', 50, 'teacher forcing')
  rolled = baselines.table(samples.observed, 2, (1, 4))
  at = (np.asarray(samples.batch.group) == 4).astype(int)
  answers = samples.batch.targets[samples.batch.weights > 0].reshape(50, 12)
  right = (rolled[at, np.arange(50)] == answers).all(-1)
  np.testing.assert_array_equal(samples.known['table_exact_match'], right)
  assert 0 < right.mean() < 1


def test_a_full_table_is_the_rule():
  rules = np.random.default_rng(0).integers(0, 2, (20, 8)).astype(np.uint8)
  states = np.asarray(
    automata.rollout(rules, np.tile(np.arange(12) % 5 % 2, (20, 1)), 60, 1)
  )
  full = ceiling.rule_ceiling(rules, states, 1, np.ones(20, int)).exact_match
  tables = baselines.read_table(states, 1)
  assert (full == 1).any()
  np.testing.assert_array_equal(tables[full == 1], rules[full == 1])


@pytest.mark.parametrize('radius', automata.RADII)
def test_what_the_orbit_determines_is_known_at_every_radius(radius):
  task = orbits.Orbits(40, radius, 150, (1, 2), 'by_depth', 'masked')
  rules, states, observed = map(
    np.asarray, task.draw_further(jax.random.key(0), 2, 24)
  )
  known = task.known.further(rules, states, (1, 2), observed)
  determined = known['determined_share'].astype(bool)
  assert determined.any()
  assert known['table_exact_match'][determined].all()
