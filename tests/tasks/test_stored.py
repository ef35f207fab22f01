"""Samples of tasks read back from files."""

import functools

import jax
import numpy as np
import pytest

from reasoning_depth import errors, tasks
from reasoning_depth.exchange import data_files, dataset
from reasoning_depth.tasks import base

KEY = jax.random.key(0)
SMALL = {
  'association': {'num_pairs': 3, 'train_queries': 2},
  'composition': {'num_entities': 30, 'num_relations': 20, 'out_degree': 5,
                  'held_out': 20, 'ratio': 2.0},
  'extrapolation': {'num_entities': 9, 'num_relations': 4, 'hops': 4,
                    'train_queries': 40, 'held_out': 9},
  'groups': {'word_length': 5},
}  # fmt: skip


def written(folder, name, kind='parquet'):
  made = tasks.make({'name': name, **SMALL[name]})
  splits = {
    split: functools.partial(made.records, KEY, split, count)
    for split, count in (('train', 40), ('test', 30))
  }
  dataset.write(folder, name, kind, splits, {})
  return made


@pytest.mark.parametrize('name', SMALL)
def test_what_was_written_is_read(tmp_path, name):
  made = written(tmp_path / 'data', name)
  fields = {'name': name, **SMALL[name], 'data': str(tmp_path / 'data')}
  task = tasks.make(fields)
  assert isinstance(task, tasks.TASKS[name])
  assert task.data_record['samples'] == {'train': 40, 'test': 30}
  ours = made.draw_held_out(KEY, 'test', 30)
  theirs = task.draw_held_out(KEY, 'test', 99)
  jax.tree.map(np.testing.assert_array_equal, ours.batch, theirs.batch)
  assert (ours.labels, ours.group_name) == (theirs.labels, theirs.group_name)
  # Training draws rows of its own split, by the key alone.
  drawn, again = (jax.jit(task.sample, static_argnums=1)(KEY, 64)
                  for _ in range(2))  # fmt: skip
  jax.tree.map(np.testing.assert_array_equal, drawn, again)
  train = made.draw_held_out(KEY, 'train', 40).batch
  known = {row.tobytes() for row in train.inputs}
  rows = {row.tobytes() for row in np.asarray(drawn.inputs)}
  assert rows <= known and len(rows) > 10
  fresh = jax.eval_shape(lambda: made.sample(KEY, 64))
  assert jax.eval_shape(lambda: drawn) == fresh


def test_other_shapes_and_tokens_are_told(tmp_path):
  written(tmp_path / 'data', 'groups')
  fields = {'name': 'groups', 'data': str(tmp_path / 'data')}
  for other, message in (
    ({'word_length': 6}, 'split test=5 tokens: a sequence of this task has 6'),
    ({'word_length': 5, 'group': 's5'}, ''),
  ):
    if not message:  # ids of a smaller group are in range
      assert tasks.make(fields | other).length == 5
      continue
    with pytest.raises(errors.UsageError, match=message):
      tasks.make(fields | other)
  with pytest.raises(errors.UsageError, match='has no validation split'):
    tasks.make(fields | {'word_length': 5}).draw_held_out(KEY, 'validation', 2)
  association = {'name': 'association', **SMALL['association']}
  with pytest.raises(errors.UsageError, match='a sequence of this task has'):
    tasks.make(association | {'data': str(tmp_path / 'data')})


def test_columns_out_of_range_are_told(tmp_path):
  columns = {
    'inputs': np.zeros((3, 5), int), 'targets': np.zeros((3, 5), int),
    'weights': np.ones((3, 5), int), 'group': np.zeros(3, int),
  }  # fmt: skip
  assert set(columns) == {*base.Batch.__dataclass_fields__}
  for change, message in (
    ({'inputs': columns['inputs'] - 1}, 'column inputs: has values out of'),
    ({'weights': columns['weights'] * 2}, 'column weights: has values out of'),
    ({'targets': columns['targets'][:, 1:]}, r'targets: has int64\[3, 4\]'),
    ({'inputs': columns['inputs'] + 60}, 'token 60: must be below 60'),
  ):
    path = tmp_path / f'test{len(message)}.npz'
    np.savez(path, **columns | change)
    with pytest.raises(errors.UsageError, match=message):
      tasks.make({'name': 'groups', 'word_length': 5, 'data': str(path)})
  assert data_files.find(path).keys() == {'test'}
