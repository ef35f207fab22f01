"""What analyses ask of a task: steps towards its answers, and pairs."""

import jax
import numpy as np
import pytest

from reasoning_depth.tasks import (
  automata,
  base,
  composition,
  extrapolation,
  groups,
  orbit_tokens,
  orbits,
)

KEY = jax.random.key(0)
CHAINS = composition.Composition(10, 5, 3, 1, 1.0, 6)
HOPS = extrapolation.Extrapolation(6, 3, 4, 20, 10)


def test_graph_entities_in_order():
  task = CHAINS
  found = task.milestones(KEY, 30)
  assert found.labels == ('bridge entity', 'answer')
  assert found.names == ('entity', 'relation 1', 'relation 2')
  relations, tails = task.graph
  for i, (head, *given) in enumerate(found.batch.inputs.tolist()):
    if given[1] == task.pad:  # a fact has no bridge
      assert not found.where[:, i].any()
      continue
    assert found.where[:, i].all()
    for hop, r in enumerate(given):
      slot = relations[head].tolist().index(r - task.num_entities)
      head = tails[head, slot]
      assert (found.tokens[hop, i] == head).all()
  assert sum(s.sum() for s in found.sets.values()) == 30


def test_longer_queries_have_more():
  found = HOPS.milestones(KEY, 20)
  hops = found.batch.group
  for j in range(4):
    np.testing.assert_array_equal(found.where[j].any(1), hops > j)
  np.testing.assert_array_equal(found.where[0].sum(1), hops + 1)
  answer = found.tokens[hops - 1, np.arange(20), 0]
  asked = found.batch.weights > 0
  np.testing.assert_array_equal(answer, found.batch.targets[asked])


@pytest.mark.parametrize(
  'variant, layout, look_ahead',
  [
    ('o_s', 'masked', (3,)), ('multi_horizon', 'causal', (1, 3)),
    ('o_o', 'masked', (2,)), ('cot', 'causal', (2,)), ('o_rs', 'causal', (2,)),
    ('ro_s', 'masked', (2,)),
  ],
)  # fmt: skip
def test_states_up_to_the_answer(variant, layout, look_ahead):
  task = orbits.Orbits(6, 1, 3, look_ahead, variant, layout)
  found = task.milestones(KEY, 16)
  batch = found.batch
  for i, k in enumerate(batch.group):
    if k == orbit_tokens.Ask.RULE:
      assert not found.where[:, i].any()
      continue
    where = found.where[k - 1, i]
    np.testing.assert_array_equal(
      where & (batch.targets[i] < 2), (batch.weights[i] > 0) & where
    )
    assert where.sum() == 6 and not found.where[k:, i].any()
    # The last of them is the answer itself, the one before its ancestor.
    answer = batch.targets[i][where]
    np.testing.assert_array_equal(found.tokens[k - 1, i][where], answer)
    assert [found.names[p].split(':')[-1] for p in np.flatnonzero(where)] == (
      list('012345')
    )
  rules, states, _ = jax.jit(task.sample_orbits, static_argnums=(1, 2))(
    jax.random.fold_in(jax.random.fold_in(KEY, 2), 0), 256, 'test'
  )
  asked = np.flatnonzero(batch.group == look_ahead[-1])[0]
  where = found.where[0, asked]
  first = automata.step(rules[asked][None], states[asked, 2][None], 1)[0]
  np.testing.assert_array_equal(found.tokens[0, asked][where], first)


def test_other_tasks_have_the_answer():
  found = groups.Groups(word_length=4).milestones(KEY, 5)
  assert found.labels == ('answer',) and found.where.all()
  np.testing.assert_array_equal(found.tokens[0], found.batch.targets)


@pytest.mark.parametrize('kind', ['entity', 'relation'])
def test_corrupt_queries_are_facts_with_another_answer(kind):
  for task in (CHAINS, HOPS):
    found = task.pairs(KEY, 24)[kind]
    assert len(found.clean.group) > 5
    changed = found.clean.inputs != found.corrupt.inputs
    assert (changed.sum(1) == 1).all()
    last = (found.clean.inputs != task.pad).sum(1) - 1
    at = 0 if kind == 'entity' else last
    np.testing.assert_array_equal(changed.argmax(1), at)
    assert (found.differ.sum(1) == 1).all()
    if task is CHAINS:  # each of its hops is a fact
      relations, tails = task.graph
      for head, *given in found.corrupt.inputs.tolist():
        for r in given:
          slot = relations[head].tolist().index(r - task.num_entities)
          head = tails[head, slot]


def test_other_tasks_pair_samples_of_a_group():
  task = orbits.Orbits(6, 1, 3, (1, 2), 'multi_horizon', 'masked')
  found = task.pairs(KEY, 20)['sample']
  np.testing.assert_array_equal(found.clean.group, found.corrupt.group)
  assert found.differ.any(1).all() and len(found.clean.group) > 15
  np.testing.assert_array_equal(found.clean.weights, found.corrupt.weights)


def test_answers_at_other_positions_do_not_count_as_different():
  """A position that only one sample of a pair asks for has no two answers."""
  ones = np.ones((1, 3), np.int32)
  clean = base.Batch(ones, ones, np.array([[1.0, 1, 0]]), np.ones(1))
  corrupt = base.Batch(ones, 2 * ones, np.array([[0.0, 1, 1]]), np.ones(1))
  assert base.Pairs(clean, corrupt).differ.tolist() == [[False, True, False]]
