import collections
import itertools

import jax
import numpy as np
import pytest

from configs import association as config
from reasoning_depth.tasks import association, splits
from reasoning_depth.training import curriculum, experiment


def read(task, batch):
  """Pairs shown, keys asked and values expected of a sample, from tokens."""
  K, V, S = task.key_length, task.value_length, task.symbols
  N = task.num_pairs
  for tokens, targets, weights in zip(
    *map(np.asarray, (batch.inputs, batch.targets, batch.weights)), strict=True
  ):
    rows = tokens.reshape(-1, K + V + 2)
    Q = len(rows) - N
    marks = rows[:, [K, -1]].tolist()
    assert marks == [[S, S + 2]] * N + [[S + 1, S + 2]] * Q
    symbols = np.delete(rows, [K, K + V + 1], axis=1)
    assert symbols.min() >= 0 and symbols.max() < S
    np.testing.assert_array_equal(targets, [*tokens[1:], S + 3])
    assert weights.sum() == Q * V
    answers = targets[weights == 1].reshape(Q, V).tolist()
    # The first symbol of an answer is predicted from GEN.
    assert (tokens[np.flatnonzero(weights)[::V]] == S + 1).all()
    pairs = [(tuple(r[:K]), tuple(r[K:])) for r in symbols.tolist()]
    asked = [key for key, _ in pairs[N:]]
    yield pairs[:N], asked, [tuple(a) for a in answers]


def draw(task, seed=0, batch_size=4, split='train'):
  return jax.jit(lambda k: task.sample(k, batch_size, split))(
    jax.random.key(seed)
  )


# Each compiles anew, so they are few: the least and the most of every field.
@pytest.mark.parametrize(
  'variant,num_pairs,train_queries,key_length,value_length,symbols',
  [
    ('remember', 1, 1, 1, 1, 9),
    ('remember', 9, 4, 1, 3, 9),  # every key there is
    ('remember', 8, 1, 3, 2, 9),
    ('remember', 5, 3, 7, 2, 16),  # the longest keys that an int32 numbers
    ('remember', 9, 2, 12, 1, 100),  # longer ones
    ('rewrite', 1, 2, 2, 1, 16),
    ('rewrite', 9, 4, 1, 3, 9),  # most keys more than once
    ('rewrite', 6, 1, 2, 2, 9),
    ('rewrite', 9, 3, 12, 1, 100),
  ],
)
def test_answers_follow_from_the_pairs_shown(
  variant, num_pairs, train_queries, key_length, value_length, symbols
):
  task = association.Association(
    variant, num_pairs, train_queries, key_length, value_length, symbols
  )
  batch = draw(task, batch_size=64)
  assert batch.inputs.shape == (64, task.length)
  test = jax.eval_shape(lambda k: task.sample(k, 4, 'test'), jax.random.key(0))
  assert test.inputs.shape == (4, (num_pairs + 1) * task.row_tokens)
  assert batch.group.tolist() == [num_pairs] * 64
  assert int(batch.inputs.max()) < task.vocab_size
  for pairs, asked, answers in read(task, batch):
    # The last one of a key.
    assert [dict(pairs)[key] for key in asked] == answers
    if task.variant == 'remember':
      assert len({key for key, _ in pairs}) == len(pairs)


def test_every_key_there_is_can_be_shown():
  task = association.Association(num_pairs=64, key_length=3, symbols=4)
  for pairs, _, _ in read(task, draw(task)):
    assert {k for k, _ in pairs} == set(itertools.product(range(4), repeat=3))


def test_keys_are_distinct_in_large_numbers():
  task = association.Association(num_pairs=2000, key_length=3)
  for pairs, _, _ in read(task, draw(task, batch_size=2)):
    assert len({k for k, _ in pairs}) == 2000


def test_drawing_without_replacement_is_uniform():
  drawn = np.asarray(association.distinct(jax.random.key(0), 12_000, 3, 4))
  counts = collections.Counter(map(tuple, drawn.tolist()))
  assert counts.keys() == set(itertools.permutations(range(4), 3))
  # 24 arrangements of 500 each; six standard deviations.
  assert max(abs(n - 500) for n in counts.values()) < 6 * 500**0.5


def test_rewrite_asks_for_each_different_key_equally():
  task = association.Association('rewrite', 3, 2, key_length=1, symbols=2)
  twice = [0, 0]  # asked for the key shown once, twice
  for pairs, asked, _ in read(task, draw(task, batch_size=2000)):
    for key in asked:
      count = [k for k, _ in pairs].count(key)
      if count < 3:
        twice[count - 1] += 1
  assert abs(twice[0] - twice[1]) < 6 * sum(twice) ** 0.5


def test_splits_and_keys_differ_and_repeat():
  task = association.Association(num_pairs=5)
  batches = [
    np.asarray(draw(task, seed, split=split).inputs)
    for seed in (0, 1) for split in splits.SPLITS
  ]  # fmt: skip
  for a, b in itertools.combinations(batches, 2):
    assert not np.array_equal(a, b)
  np.testing.assert_array_equal(batches[0], draw(task).inputs)
  with pytest.raises(ValueError, match="split='dev': allowed are train"):
    task.sample(jax.random.key(0), 1, 'dev')


@pytest.mark.parametrize(
  'fields,message',
  [
    ({'variant': 'forget'}, 'variant=forget: allowed are remember, rewrite'),
    ({'num_pairs': 0}, 'num_pairs=0: must be at least 1'),
    ({'train_queries': 0}, 'train_queries=0: must be at least 1'),
    ({'key_length': 0}, 'key_length=0: must be at least 1'),
    ({'value_length': -1}, 'value_length=-1: must be at least 1'),
    ({'symbols': 1}, 'symbols=1: must be at least 2'),
    (
      {'num_pairs': 17, 'key_length': 1},
      'num_pairs=17: .* key_length=1 and symbols=16 allow 16',
    ),
  ],
)
def test_bad_fields_are_named(fields, message):
  with pytest.raises(ValueError, match=message):
    association.Association(**fields)


@pytest.mark.parametrize(
  'pairs,queries,bad', [(9, 3, None), (9, 4, 13), (8, 4, 9)]
)
def test_segments_divide_the_sequences_of_all_splits(pairs, queries, bad):
  c = config.get_config('smoke')
  c.mesh.data = 1
  c.train.curriculum.field = ''
  c.task.update(num_pairs=pairs, train_queries=queries)
  c.model.memory.segment_states = 2
  if bad is None:
    experiment.build(c)
    return
  with pytest.raises(ValueError, match=f'segment_states=2.*sequence of {bad} '):
    experiment.build(c)


@pytest.mark.parametrize('words', ['', 'task=rewrite', 'cpu', 'smoke', 'gpu'])
def test_config_builds_at_every_stage(words):
  c = config.get_config(words)
  c.mesh.data = 1
  curriculum.check(c)
  exp = experiment.build(c)
  model, stages = exp.model, curriculum.num_stages(c)
  assert model.segment_length == model.stride == exp.task.row_tokens
  pairs = [curriculum.at_stage(exp, i).task.num_pairs for i in range(stages)]
  most = {'task=rewrite': 50, 'smoke': 2}.get(words, 200)
  of = config.CPU_STAGES if words == 'cpu' else config.STAGES
  assert pairs == [n for n in of if n <= most]


def test_the_default_has_about_half_a_million_parameters():
  c = config.get_config()
  c.mesh.data = 1
  exp = experiment.build(c)
  tokens = np.zeros((1, 2 * exp.task.row_tokens), np.int32)
  shapes = jax.eval_shape(exp.model.init, jax.random.key(0), tokens)
  count = sum(x.size for x in jax.tree.leaves(shapes))
  assert 450_000 < count < 550_000


@pytest.mark.parametrize('word', ['k=2', 'layout=masked', 'curriculum'])
def test_words_of_other_configs_are_refused(word):
  with pytest.raises(ValueError, match='not of configs/association.py'):
    config.get_config(word)
  with pytest.raises(ValueError, match='word task=o_s: allowed are remember'):
    config.get_config('task=o_s')
