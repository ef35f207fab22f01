"""Datasets written from a task, and runs that read them."""

import hashlib
import json
import pathlib
import shutil

import chex
import jax
import numpy as np
import pytest

from reasoning_depth import errors, modes, tasks
from reasoning_depth.exchange import data_files, dataset, tables
from reasoning_depth.training import loop, resume
from tests import tiny

ROWS = np.arange(12).reshape(6, 2)


def parts():
  yield {'a': ROWS[:4], 'b': np.array(['x', 'é', '', 'z\n'], object)}
  yield {'a': ROWS[4:], 'b': np.array(['y', '"'], object)}


def broken():
  yield from parts()
  raise RuntimeError('killed')


@pytest.mark.parametrize('kind', dataset.FORMATS)
def test_a_dataset_is_whole_or_not_there(tmp_path, kind):
  if kind == 'tfds':
    pytest.importorskip('tensorflow_datasets')
  folder = tmp_path / 'deep' / 'data'
  for make in (broken, parts):  # then the same command again
    splits = {'train': parts, 'test': make}
    try:
      dataset.write(folder, 'toy', kind, splits, {'seed': 3})
    except RuntimeError:
      assert not folder.exists()
  assert [p.name for p in folder.parent.iterdir()] == ['data']
  card = json.loads((folder / dataset.CARD).read_text())
  assert card['samples'] == {'train': 6, 'test': 6}
  assert (card['format'], card['seed']) == (kind, 3)
  names = {p.name for p in folder.iterdir()} - {dataset.CARD}
  assert card['sha256'].keys() == names
  for name, digest in card['sha256'].items():
    data = (folder / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest
  for split in ('train', 'test'):
    (part,) = data_files.find(folder)[split]
    table = data_files.read(part)
    np.testing.assert_array_equal(table['a'], ROWS)
    assert list(table['b']) == ['x', 'é', '', 'z\n', 'y', '"']
  with pytest.raises(errors.UsageError, match='data: is there already'):
    dataset.write(folder, 'toy', kind, {'test': parts}, {})


def test_others_read_what_tfds_wrote(tmp_path):
  tfds = pytest.importorskip('tensorflow_datasets')
  grain = pytest.importorskip('grain')
  folder = tmp_path / 'data'
  dataset.write(folder, 'toy', 'tfds', {'train': parts}, {})
  builder = tfds.builder_from_directory(folder)
  assert builder.info.splits['train'].num_examples == 6
  source = builder.as_data_source('train')
  loaded = list(grain.MapDataset.source(source).map(lambda row: row['a']))
  np.testing.assert_array_equal(np.stack(loaded), ROWS)


@pytest.mark.parametrize('name', tasks.TASKS)
def test_samples_of_every_task_can_be_written(tmp_path, name):
  task, key = tasks.TASKS[name](), jax.random.key(0)
  (first,) = task.records(key, 'test', 3)
  tables.FORMATS['parquet'].write(
    tmp_path / 'a.parquet', data_files.flat([first])
  )
  table = tables.read(tmp_path / 'a.parquet')
  batch = task.draw_held_out(key, 'test', 3).batch
  if 'inputs' in table:
    for column in ('inputs', 'targets', 'weights', 'group'):
      np.testing.assert_array_equal(table[column], getattr(batch, column))
  else:
    assert set(table) > {'rule_ids'} or set(table) == {
      'input', 'question', 'target'
    }  # fmt: skip


@pytest.mark.parametrize('suffix', ['.jsonl', '.parquet'])
def test_files_of_a_split_are_read_in_order(tmp_path, suffix):
  kind = {'.jsonl': 'json', '.parquet': 'parquet'}[suffix]
  (tmp_path / 'data').mkdir()
  for i, part in enumerate(parts()):
    name = f'val-0000{i}-of-00002{suffix}'
    tables.FORMATS[kind].write(tmp_path / 'data' / name, [part])
  (tmp_path / 'README.md').write_text('nothing')
  found = data_files.find(tmp_path)
  assert found.keys() == {'validation'}
  rows = [data_files.read(part)['a'] for part in found['validation']]
  np.testing.assert_array_equal(np.concatenate(rows), ROWS)
  (tmp_path / 'validation.npz').write_bytes(b'')
  with pytest.raises(errors.UsageError, match='validation .* two formats'):
    data_files.find(tmp_path)
  with pytest.raises(errors.UsageError, match='no data files: their names'):
    data_files.find(pathlib.Path(__file__).parent)


def run(folder, **task):
  return tiny.experiment(
    'transformer', 'smoke,k=1',
    task={'width': 7, 'radius': 1, **task, 'data': str(folder)},
    train={'num_steps': 4}, checkpoint={'keep': 9},
  )  # fmt: skip


def test_a_run_on_files_is_the_same_resumed(tmp_path, capsys):
  data, folder = tmp_path / 'data', tmp_path / 'run'
  config = tiny.run_config(
    'transformer', 'smoke,k=1', task={'width': 7},
    dataset={'train': 50, 'validation': 20, 'test': 20},
  )  # fmt: skip
  modes.dataset(config, data, ())
  exp = run(data)
  summary = loop.train(exp, folder)
  assert summary['num_samples'] == 8
  assert summary['data']['orbits'] == {
    'train': 50, 'validation': 20, 'test': 20
  }  # fmt: skip
  final = jax.device_get(resume.restore(exp, folder))
  shutil.rmtree(folder / 'checkpoints' / '4')
  assert loop.train(run(data), folder) == summary
  again = jax.device_get(resume.restore(exp, folder))
  chex.assert_trees_all_equal(again, final)
  # Other data under the same name is another run.
  shutil.rmtree(data)
  config.seed = 1
  modes.dataset(config, data, ())
  with pytest.raises(errors.UsageError, match='the files have changed since'):
    loop.train(run(data), folder)
