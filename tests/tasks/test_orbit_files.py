"""Orbits in files: read, rolled, refused; used as drawn ones are."""

import json

import jax
import numpy as np
import pytest

from reasoning_depth import errors, tasks
from reasoning_depth.exchange import dataset, tables
from reasoning_depth.tasks import automata, orbit_files, orbits

KEY = jax.random.key(0)
# A row of the public JSON data: rule and first two states.
PUBLIC = {
  'rule': '00111000001010010011000011011111',
  't=0': '10100010011101000010',
  't=1': '01000110100100000101',
}


def columns(count=40, width=11, radius=2, states=6, seed=0):
  """Rules and states as their columns in Parquet."""
  rules, orbit = automata.sample_orbits(
    jax.random.key(seed), count, width=width, radius=radius,
    steps=states - 1, split='test',
  )  # fmt: skip
  states = {f'input_ids_{t}': np.array(x) for t, x in
            enumerate(orbit.swapaxes(0, 1))}  # fmt: skip
  return {'rule_ids': np.array(rules), **states}


def write(path, table):
  tables.FORMATS['parquet'].write(path, [table])
  return str(path)


def refused(path):
  with pytest.raises(errors.UsageError) as raised:
    orbit_files.read(str(path))
  assert '\n' not in str(raised.value)
  return str(raised.value)


@pytest.mark.parametrize('radius', [1, 3, 4])
def test_the_lattice_is_found_from_the_columns(tmp_path, radius):
  table = columns(radius=radius)
  files = orbit_files.read(write(tmp_path / 'a.parquet', table))
  assert (files.width, files.radius, files.num_states) == (11, radius, 6)
  rules, first = files.starts(KEY, 40, 'test', 0)
  np.testing.assert_array_equal(rules, table['rule_ids'])
  np.testing.assert_array_equal(first, table['input_ids_0'])


@pytest.mark.parametrize('lines', [False, True])
def test_public_json_layout(tmp_path, lines):
  path = tmp_path / 'validation.json'
  path.write_text((json.dumps if lines else json.dumps)([PUBLIC]))
  if lines:
    path.write_text(json.dumps(PUBLIC) + '\n' + json.dumps(PUBLIC) + '\n')
  files = orbit_files.read(str(path))
  assert (files.width, files.radius, files.num_states) == (20, 2, 2)
  assert len(files.splits['validation']) == 1 + lines


@pytest.mark.parametrize('kind', ['parquet', 'json', 'npz', 'tfds'])
def test_held_out_samples_of_an_export_are_those_of_the_run(tmp_path, kind):
  """The same states, look-aheads and flipped cells, in the same order."""
  if kind == 'tfds':
    pytest.importorskip('tensorflow_datasets')
  fields = {'width': 9, 'radius': 1, 'num_states': 4, 'flip': 0.1,
            'look_ahead': (1, 3), 'variant': 'multi_horizon'}  # fmt: skip
  made, counts = orbits.Orbits(**fields), {'train': 300, 'test': 270}
  splits = {s: lambda s=s: made.records(KEY, s, counts[s]) for s in counts}
  dataset.write(
    tmp_path / 'data', 'orbits', kind, splits, {}, made.text_columns
  )
  read = orbits.Orbits(**fields, data=str(tmp_path / 'data'))
  ours = made.draw_held_out(KEY, 'test', 270, 'generation')
  theirs = read.draw_held_out(KEY, 'test', 9_999, 'generation')
  jax.tree.map(np.testing.assert_array_equal, ours.batch, theirs.batch)
  jax.tree.map(np.testing.assert_array_equal, ours.known, theirs.known)
  again = [list(task.records(KEY, 'test', 270)) for task in (made, read)]
  jax.tree.map(np.testing.assert_array_equal, *again)
  assert read.data_record['orbits'] == counts


def test_targets_go_on_beyond_the_states_of_the_file(tmp_path):
  table = columns(states=6)
  path = write(tmp_path / 'a.parquet', {
    name: x for name, x in table.items() if name in ('rule_ids', 'input_ids_0',
                                                     'input_ids_1')
  })  # fmt: skip
  task = orbits.Orbits(11, 2, num_states=2, look_ahead=(4,), data=path)
  rules, states, observed = task.draw_further(KEY, 4, 40)
  np.testing.assert_array_equal(rules, table['rule_ids'])
  for t in range(6):
    np.testing.assert_array_equal(states[:, t], table[f'input_ids_{t}'])
  assert observed.shape == (40, 2, 11)


def test_training_draws_rows_of_its_split_by_the_key(tmp_path):
  for split, seed in (('train', 1), ('test', 2)):
    write(tmp_path / f'{split}.parquet', columns(seed=seed))
  task = orbits.Orbits(11, 2, num_states=4, data=str(tmp_path))
  draw = jax.jit(task.sample_orbits, static_argnums=(1, 2))
  a, b = draw(KEY, 64, 'train'), draw(KEY, 64, 'train')
  jax.tree.map(np.testing.assert_array_equal, a, b)
  table = columns(seed=1)

  def rows(rules, first):
    both = np.concatenate([rules, first], axis=1)
    return {row.tobytes() for row in both}

  known = rows(table['rule_ids'], table['input_ids_0'])
  drawn = rows(a[0], a[1][:, 0])
  assert drawn <= known and len(drawn) > 20
  other = draw(jax.random.key(1), 64, 'train')
  assert (np.asarray(other[0]) != np.asarray(a[0])).any()


def test_test_rules_that_training_has_are_counted(tmp_path):
  train, test = columns(40, seed=1), columns(40, seed=2)
  for name in train:
    test[name][:7] = train[name][:7]
  test['rule_ids'][1:3] = test['rule_ids'][0]  # then the orbits differ
  for t in range(5):
    test[f'input_ids_{t + 1}'][1:3] = automata.step(
      test['rule_ids'][1:3], test[f'input_ids_{t}'][1:3], 2
    )
  write(tmp_path / 'train.parquet', train)
  write(tmp_path / 'test.parquet', test)
  record = orbit_files.read(str(tmp_path)).record
  assert record['rules'] == {'test': 38, 'also_in_train': 5}
  assert 'of 38 test rules 5 are also in train' in record['summary']


@pytest.mark.parametrize('kind', ['parquet', 'json', 'npz'])
def test_one_flipped_cell_is_named_with_row_and_step(tmp_path, kind):
  table = columns(count=70_000, states=4)  # more than one call rolls
  table['input_ids_2'] = table['input_ids_2'].copy()
  table['input_ids_2'][69_123, 4] ^= 1
  table['input_ids_1'] = table['input_ids_1'].copy()
  table['input_ids_1'][69_124, 4] ^= 1  # a later row, at an earlier step
  path = tmp_path / f'test{tables.FORMATS[kind].suffixes[0]}'
  tables.FORMATS[kind].write(path, [table])
  message = refused(path)
  assert (
    f'data={path}: row 69,123: input_ids_2 is not what its rule makes '
    in (message)
  )


def test_bad_files_are_told_in_one_line(tmp_path):
  table = columns()
  good = write(tmp_path / 'a.parquet', table)
  whole = (tmp_path / 'a.parquet').read_bytes()
  (tmp_path / 'b.parquet').write_bytes(whole[: len(whole) // 2])
  assert 'b.parquet: not a whole Parquet file' in refused(
    tmp_path / 'b.parquet'
  )
  (tmp_path / 'c.parquet').write_bytes(b'')
  assert 'c.parquet: not a whole Parquet file' in refused(
    tmp_path / 'c.parquet'
  )
  for name, value in (('input_ids_3', 2), ('input_ids_0', 255)):
    other = table | {name: table[name].copy()}
    other[name][5, 7] = value
    path = write(tmp_path / 'd.parquet', other)
    assert f'row 5: {name} has {value} at cell 7; allowed are 0 and 1' in (
      refused(path)
    )
  other = table | {'rule_ids': table['rule_ids'][:, :16]}
  assert 'rule_ids: has 16 entries; allowed are 8, 32, 128, 512' in refused(
    write(tmp_path / 'e.parquet', other)
  )
  other = table | {'input_ids_3': table['input_ids_3'][:, :9]}
  assert 'input_ids_3: has 9 cells, input_ids_0 has 11' in refused(
    write(tmp_path / 'f.parquet', other)
  )
  assert 'no orbits: needed are columns rule_ids, ' in refused(
    write(tmp_path / 'g.parquet', {'x': table['rule_ids']})
  )
  assert 'No such file' in refused(tmp_path / 'nowhere')
  assert orbit_files.read(good).width == 11


@pytest.mark.parametrize(
  'change,message',
  [
    ({'t=1': '0100011010010000010'}, 'row 1: t=1 has 19 cells, row 0 has 20'),
    ({'t=1': '0100011010010000010x'}, "row 1: t=1 has 'x' at cell 19"),
    ({'t=1': '0100011010010000010é'}, "row 1: t=1 has '?' at cell 19"),
    ({'t=1': None}, 'row 1: has no t=1'),
    ({'t=1': 5}, 'not a whole JSON file'),
    ({'t=2': PUBLIC['t=1']}, 'not a whole JSON file'),
  ],
)
def test_json_of_another_width_or_with_other_cells(tmp_path, change, message):
  path = tmp_path / 'test.jsonl'
  rows = [PUBLIC, PUBLIC | change]
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  assert message in refused(path)


def test_splits_of_another_width_are_told(tmp_path):
  write(tmp_path / 'train.parquet', columns(width=11))
  write(tmp_path / 'test.parquet', columns(width=12))
  assert 'has 12 cells and radius 2; train.parquet has 11 and 2' in refused(
    tmp_path
  )


def test_pickled_arrays_are_never_loaded(tmp_path, booby_trap):
  np.save(tmp_path / 'a.npy', np.zeros(3))
  assert 'is one array, without named columns' in refused(tmp_path / 'a.npy')
  booby_trap(tmp_path)
  (tmp_path / 'b.npy').write_bytes(b'\x80\x04K\x05.')  # a pickled 5
  assert 'b.npy: not a whole npy file' in refused(tmp_path / 'b.npy')
  np.savez(tmp_path / 'c.npz', rule_ids=np.array([{}], object))
  assert 'c.npz: not a whole npz file (Object arrays cannot' in refused(
    tmp_path / 'c.npz'
  )


def test_fields_against_the_files(tmp_path):
  path = write(tmp_path / 'test.parquet', columns())
  config = {'name': 'orbits', 'width': 20, 'radius': 1, 'data': path}
  with pytest.raises(errors.UsageError, match=r'width=20: the orbits of data='):
    tasks.make(config)
  tasks.adopt(config)
  assert (config['width'], config['radius']) == (11, 2)
  with pytest.raises(errors.UsageError, match='num_states=10: .* 6 states'):
    tasks.make(config)
  task = tasks.make(config | {'num_states': 6})
  with pytest.raises(errors.UsageError, match='has no train split: a folder'):
    task.sample(KEY, 2)
  with pytest.raises(errors.UsageError, match='split_by=classes'):
    tasks.make(config | {'num_states': 6, 'split_by': 'classes'})
