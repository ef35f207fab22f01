"""Answers against a walk through the facts, over all that can be asked."""

import collections
import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_depth import tasks
from reasoning_depth.tasks import composition, extrapolation, splits
from reasoning_depth.tasks import knowledge_graph as kg

SMALL = composition.Composition(
  num_entities=9,
  num_relations=7,
  out_degree=5,
  ood_degree=2,
  ratio=1.5,
  held_out=10,
  seed=3,
)
HOPS = extrapolation.Extrapolation(
  num_entities=5, num_relations=3, hops=4, train_queries=25, held_out=10
)


@functools.cache
def compiled(task):
  """The task's queries by number, compiled once for a shape."""
  return jax.jit(task.query)


def every_query(task):
  """All that can be asked, int32 [n, 3]; the test's last set is the last."""
  count = task.ranges('test')[-1].sum()
  return np.asarray(compiled(task)(jnp.arange(count, dtype=jnp.int32)))


def listed(task, split):
  """Queries of each set of a split, as tuples without PAD."""
  queries = [bare(task, query) for query in every_query(task)]
  return [queries[at : at + count] for at, count in task.ranges(split)]


def bare(task, query):
  """Entity and relations, numbered from 0 each; PAD is at the end only."""
  hops = int((query != task.pad).sum()) - 1
  assert (query[1 + hops :] == task.pad).all()
  relations = query[1 : 1 + hops] - task.num_entities
  assert 0 <= query[0] < task.num_entities
  assert ((0 <= relations) & (relations < task.num_relations)).all()
  return (int(query[0]), *relations.tolist())


def facts_of(task):
  """Tail and whether it is OOD, by head and relation."""
  relations, tails = task.graph
  return {
    (head, int(r)): (int(t), slot >= task.out_degree - task.ood_degree)
    for head in range(task.num_entities)
    for slot, (r, t) in enumerate(
      zip(relations[head], tails[head], strict=True)
    )
  }


def chains_of(task):
  """All two-hop queries, by whether their first and second hop are OOD."""
  facts = facts_of(task)
  found = collections.defaultdict(set)
  for (head, first), (bridge, ood) in facts.items():
    for second in range(task.num_relations):
      if (bridge, second) in facts:
        found[ood, facts[bridge, second][1]].add((head, first, second))
  return found


def last_entity(follow, query):
  """Where a walk ends."""
  entity = query[0]
  for relation in query[1:]:
    entity = follow(entity, relation)
  return entity


def check_batch(task, batch, follow):
  """Layout and answers of a batch, each by a walk."""
  inputs = np.asarray(batch.inputs)
  assert inputs.shape == (len(inputs), task.length)
  for i, row in enumerate(inputs):
    query = bare(task, row)
    weights = np.zeros(task.length)
    weights[len(query) - 1] = 1
    np.testing.assert_array_equal(batch.weights[i], weights)
    answer = last_entity(follow, query)
    assert batch.targets[i, len(query) - 1] == answer
    others = np.delete(batch.targets[i], len(query) - 1)
    assert (others == task.pad).all()


def places(seed, count, high, low):
  bits = jax.random.bits(jax.random.key(seed), (4, 2), jnp.uint32)
  shuffled = jax.vmap(kg.shuffle, (None, 0, None, None))
  index = jnp.arange(count, dtype=jnp.int32)
  return np.asarray(jax.jit(shuffled)(bits, index, high, low))


@settings(max_examples=6)  # each compiles
@given(high=st.integers(1, 40), low=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_shuffle_is_a_permutation(high, low, seed):
  found = places(seed, high * low, high, low)
  np.testing.assert_array_equal(np.sort(found), np.arange(high * low))


@pytest.mark.parametrize('high,low', [(200, 1000), (20_000, 100_000)])
def test_a_shuffle_leaves_no_order(high, low):
  found = places(0, 2000, high, low)
  assert abs(np.corrcoef(found, np.arange(2000))[0, 1]) < 0.1
  assert len(set(np.diff(found).tolist())) > 1900
  # The places fill the range evenly.
  counts = np.histogram(found, 20, (0, high * low))[0]
  assert 50 < counts.min() and counts.max() < 150
  assert not np.array_equal(found, places(1, 2000, high, low))


# --- Composition ------------------------------------------------------------


def test_facts_have_relations_and_tails_of_their_own():
  relations, tails = SMALL.graph
  assert relations.shape == tails.shape == (9, 5)
  for row, most in ((relations, 7), (tails, 9)):
    assert 0 <= row.min() and row.max() < most
    assert all(len(set(r)) == 5 for r in row.tolist())
  other = dataclasses.replace(SMALL, seed=4).graph
  assert not np.array_equal(other[1], tails)


@settings(max_examples=3)  # each compiles
@given(
  num_entities=st.integers(4, 12),
  degrees=st.sampled_from([(2, 1), (3, 1), (3, 2), (4, 2)]),
  share=st.floats(0.25, 0.5),
  seed=st.integers(0, 2**31 - 1),
)
def test_sets_are_those_of_the_paper(num_entities, degrees, share, seed):
  out, ood = degrees
  task = composition.Composition(
    num_entities=num_entities,
    num_relations=6,
    out_degree=out,
    ood_degree=ood,
    ratio=share * (out - ood),
    held_out=max(1, num_entities * (out - ood) ** 2 // 5),
    seed=seed,
  )
  check_sets(task)


def test_sets_of_a_larger_graph():
  check_sets(SMALL)


def check_sets(task):
  facts, chains = facts_of(task), chains_of(task)
  (trained,), *held = (listed(task, split) for split in splits.SPLITS)
  sets = [trained] + [queries for split in held for queries in split[1:]]
  # Each query stands in one set, once.
  together = [query for queries in sets for query in queries]
  assert len(together) == len(set(together))
  for split in held:
    assert split[0] == trained
    assert len(split[1]) == task.held_out
    assert set(split[1]) <= chains[False, False]
    assert set(split[2]) <= chains[True, True]
  ones = {query for query in trained if len(query) == 2}
  assert ones == facts.keys()
  twos = {query for query in trained if len(query) == 3}
  assert twos <= chains[False, False]
  id_facts = sum(not ood for _, ood in facts.values())
  assert len(twos) == round(task.ratio * id_facts)
  # Of the OOD chains none is left out, but for an odd one.
  of_ood = sum(len(split[2]) for split in held)
  assert of_ood == len(chains[True, True]) // 2 * 2
  # Mixed chains are nowhere.
  mixed = chains[True, False] | chains[False, True]
  assert mixed and not mixed & set(together)


@pytest.mark.parametrize('split', splits.SPLITS)
def test_batches_of_chains_are_drawn_from_the_split(split):
  facts = facts_of(SMALL)
  batch = jax.jit(lambda key: SMALL.sample(key, 300, split))(jax.random.key(1))
  check_batch(SMALL, batch, lambda entity, r: facts[entity, r][0])
  sets = listed(SMALL, split)
  group = np.asarray(batch.group)
  assert set(group.tolist()) == set(range(len(sets)))
  for i, row in enumerate(np.asarray(batch.inputs)):
    assert bare(SMALL, row) in sets[group[i]]
  if split == 'train':  # facts come as often as there are facts
    ones = (np.asarray(batch.inputs)[:, 2] == SMALL.pad).mean()
    assert ones == pytest.approx(SMALL.num_facts / len(sets[0]), abs=0.1)


def test_bridges_are_on_the_path():
  facts = facts_of(SMALL)
  batch = SMALL.sample(jax.random.key(2), 50, 'test')
  path = np.asarray(SMALL.path(batch.inputs))
  for row, entities in zip(np.asarray(batch.inputs), path, strict=True):
    query = bare(SMALL, row)
    assert entities[0] == query[0]
    assert entities[1] == facts[query[:2]][0]
    if len(query) == 2:
      assert entities[2] == entities[1]


def test_the_graph_is_built_once():
  task = dataclasses.replace(SMALL)
  sample = jax.jit(lambda key: task.sample(key, 2))
  sample(jax.random.key(0))
  graph = task.graph  # built inside jit, and no tracer
  assert all(isinstance(part, np.ndarray) for part in graph)
  assert task.graph is graph
  np.testing.assert_array_equal(graph[0], SMALL.graph[0])


def test_the_papers_composition():
  task = tasks.make({'name': 'composition'})
  assert task.num_facts == 40_000
  assert task.num_trained == 273_600
  counts = [task.ranges(split)[:, 1].tolist() for split in splits.SPLITS]
  assert counts == [[313_600], [313_600, 3000, 1000], [313_600, 3000, 1000]]
  assert (task.vocab_size, task.length) == (2201, 3)
  every = every_query(task)
  assert len(np.unique(every, axis=0)) == len(every) == 321_600


# --- Extrapolation ----------------------------------------------------------


def numbered(task, hops, count):
  """The first queries of a number of hops."""
  index = jnp.arange(max(count, 2000), dtype=jnp.int32)
  queries = compiled(task)(jnp.full(len(index), hops, jnp.int32), index)
  return [bare(task, query) for query in np.asarray(queries)[:count]]


def test_relations_are_permutations():
  assert HOPS.graph.shape == (3, 5)
  np.testing.assert_array_equal(np.sort(HOPS.graph), np.tile(range(5), (3, 1)))


@settings(max_examples=3)  # each compiles
@given(
  num_entities=st.integers(2, 300),
  num_relations=st.integers(3, 20),
  seed=st.integers(0, 2**31 - 1),
)
def test_queries_are_numbered_once(num_entities, num_relations, seed):
  task = extrapolation.Extrapolation(
    num_entities, num_relations, hops=12, train_queries=10, held_out=4,
    seed=seed,
  )  # fmt: skip
  for hops in (1, 2, 3, 12):
    count = min(num_entities * num_relations**hops, 2000)
    queries = numbered(task, hops, count)
    assert all(len(query) == 1 + hops for query in queries)
    assert len(set(queries)) == count


def test_the_queries_of_a_number_of_hops_are_all_that_there_are():
  for hops in (1, 2, 4):
    every = numbered(HOPS, hops, 5 * 3**hops)
    assert set(every) == set(itertools.product(range(5), *[range(3)] * hops))


def test_the_largest_number_of_hops_changes_no_query():
  short = dataclasses.replace(HOPS, hops=3)
  longer = dataclasses.replace(HOPS, hops=extrapolation.MAX_HOPS)
  for hops in (1, 2, 3):
    wanted = numbered(HOPS, hops, 15)
    assert numbered(short, hops, 15) == numbered(longer, hops, 15) == wanted


@pytest.mark.parametrize('split', splits.SPLITS)
def test_batches_of_hops_are_drawn_from_the_split(split):
  batch = jax.jit(lambda key: HOPS.sample(key, 400, split))(jax.random.key(1))
  check_batch(HOPS, batch, lambda entity, r: HOPS.graph[r, entity])
  first, last = {
    'train': (0, 25), 'validation': (25, 35), 'test': (35, 45)
  }[split]  # fmt: skip
  seen = collections.defaultdict(set)
  for hops, row in zip(
    np.asarray(batch.group).tolist(), np.asarray(batch.inputs), strict=True
  ):
    query = bare(HOPS, row)
    assert len(query) == 1 + hops
    seen[hops].add(query)
  allowed = {hops: numbered(HOPS, hops, 45)[first:last] for hops in (2, 3, 4)}
  if split == 'train':
    allowed[1] = numbered(HOPS, 1, 15)
  assert seen.keys() == allowed.keys()
  assert all(seen[hops] <= set(allowed[hops]) for hops in seen)


@pytest.mark.parametrize('num_relations', [1, 2, 3])
def test_no_proper_suffix_determines_the_answer(num_relations):
  """Over all queries, any suffix leaves each entity equally likely."""
  task = dataclasses.replace(
    HOPS, num_relations=num_relations, train_queries=1, held_out=1
  )
  for hops in (1, 2, 3):
    for cut in range(1, 1 + hops):
      answers = collections.defaultdict(collections.Counter)
      for query in itertools.product(range(5), *[range(num_relations)] * hops):
        answer = last_entity(lambda e, r: int(task.graph[r, e]), query)
        answers[query[cut:]][answer] += 1
      assert len(answers) == num_relations ** (1 + hops - cut)
      expected = num_relations ** (cut - 1)
      for counts in answers.values():
        assert counts == dict.fromkeys(range(5), expected)


def test_the_papers_extrapolation():
  task = tasks.make({'name': 'extrapolation'})
  assert task.num_facts == 2000
  assert (task.vocab_size, task.length) == (211, 41)
  for hops in (2, 3, 8, 40):
    assert len(set(numbered(task, hops, 16_500))) == 16_500
  batch = jax.jit(lambda key: task.sample(key, 64, 'test'))(jax.random.key(0))
  check_batch(task, batch, lambda entity, r: task.graph[r, entity])
  # What comes after the numbered part is as random as the rest.
  drawn = [query[-5:] for query in numbered(task, 40, 2000)]
  counts = np.bincount(np.ravel(drawn), minlength=10)
  assert counts.min() > 800 and counts.max() < 1200


# --- Bad input --------------------------------------------------------------


@pytest.mark.parametrize(
  'fields,message',
  [
    ({'num_entities': 1}, 'num_entities=1: allowed are 2 to 4096'),
    ({'num_relations': 0}, 'num_relations=0'),
    ({'num_entities': 19}, 'out_degree=20: .* 2 to 19, num_entities=19'),
    ({'num_relations': 19}, 'out_degree=20: .* 2 to 19, num_relations=19'),
    ({'num_entities': 4096, 'out_degree': 900, 'num_relations': 999},
     'out_degree=900: .*32 bits'),
    ({'ood_degree': 0}, 'ood_degree=0: must be at least 1'),
    ({'ood_degree': 20}, 'ood_degree=20: allowed are 1 to 19'),
    ({'held_out': 0}, 'held_out=0'),
    ({'held_out': 361_000}, 'held_out=361000: allowed are 1 to 360999'),
    ({'ratio': 0.0}, 'ratio=0.0: must be above 0'),
    ({'ratio': 19.0}, 'ratio=19.0: .*held_out=3000'),
    ({'ratio': float('nan')}, 'ratio=nan'),
  ],
)  # fmt: skip
def test_bad_fields_of_composition_are_named(fields, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    tasks.make({'name': 'composition', **fields})


@pytest.mark.parametrize(
  'fields,message',
  [
    ({'num_entities': 1}, 'num_entities=1'),
    ({'num_relations': 5000}, 'num_relations=5000: must be at most 4096'),
    ({'hops': 1}, 'hops=1: allowed are 2 to 40'),
    ({'hops': 41}, 'hops=41: allowed are 2 to 40'),
    ({'train_queries': 0}, 'train_queries=0: must be at least 1'),
    ({'num_relations': 9}, 'train_queries=15000: allowed are 1 to 14700'),
    ({'held_out': 0}, 'held_out=0'),
    ({'held_out': 10_000}, 'held_out=10000: allowed are 1 to 9999'),
  ],
)
def test_bad_fields_of_extrapolation_are_named(fields, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    tasks.make({'name': 'extrapolation', **fields})


@pytest.mark.parametrize('task', [SMALL, HOPS])
def test_an_unknown_split_is_named(task):
  with pytest.raises(ValueError, match="split='dev': allowed are train"):
    task.sample(jax.random.key(0), 1, 'dev')
