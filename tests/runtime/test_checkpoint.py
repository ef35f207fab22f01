import errno
import json
import pathlib
import shutil

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.runtime import checkpoint, manifest

EVERYTHING = checkpoint.Keep(newest=99)


def tree(value):
  return {'w': jnp.full((3, 4), value, jnp.float32), 'step': jnp.int32(value)}


def abstract():
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), tree(0)
  )


def run_folder(path, *steps):
  """A run folder with a checkpoint at each step."""
  path.mkdir(exist_ok=True)
  (path / 'config.json').write_text('{}')
  store = checkpoint.Checkpoints(path, EVERYTHING)
  for step in steps:
    store.save(step, tree(step))
  store.close()
  return path


def restored(folder, keep=EVERYTHING):
  store = checkpoint.Checkpoints(folder, keep)
  try:
    return store.restore(abstract())
  finally:
    store.close()


def files(folder):
  return sorted(p for p in folder.rglob('*') if p.is_file())


@pytest.fixture(scope='module')
def two(tmp_path_factory):
  return run_folder(tmp_path_factory.mktemp('two') / 'run', 1, 2)


def test_what_is_saved_comes_back(two, tmp_path, capsys):
  chex.assert_trees_all_equal(restored(two), tree(2))
  assert restored(run_folder(tmp_path / 'empty')) is None
  assert capsys.readouterr().err == ''
  facts = manifest.read(two / 'checkpoints/2')
  assert facts['step'] == 2 and 'state/_METADATA' in facts['files']


def damages():
  """Ways to damage a file, by name."""
  rng = np.random.default_rng(0)

  def flip(path):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)

  def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(len(data))])

  return {'flip': flip, 'truncate': truncate, 'delete': pathlib.Path.unlink}


@pytest.mark.parametrize('damage', damages())
def test_a_damaged_checkpoint_is_set_aside(two, tmp_path, capsys, damage):
  names = [p.relative_to(two) for p in files(two / 'checkpoints/2')]
  assert len(names) > 3
  for i, name in enumerate(names):
    folder = shutil.copytree(two, tmp_path / f'{i}')
    if (folder / name).stat().st_size == 0 and damage != 'delete':
      continue
    damages()[damage](folder / name)
    chex.assert_trees_all_equal(restored(folder, None), tree(1))
    assert 'checkpoint 2 is damaged: ' in capsys.readouterr().err
    chex.assert_trees_all_equal(restored(folder), tree(1))
    assert 'set aside as 2.damaged: ' in capsys.readouterr().err
    found = sorted(p.name for p in (folder / 'checkpoints').iterdir())
    assert found == ['1', '2.damaged']
    shutil.rmtree(folder)


def test_where_all_are_damaged_nothing_begins_anew(two, tmp_path):
  folder = shutil.copytree(two, tmp_path / 'run')
  for step in (1, 2):
    (folder / f'checkpoints/{step}/manifest.json').unlink()
  for _ in range(2):
    with pytest.raises(ValueError, match='no checkpoint can be loaded; remove'):
      restored(folder)
  assert len(list((folder / 'checkpoints').iterdir())) == 2


def test_left_overs_are_cleaned_by_who_writes(two, tmp_path):
  folder = shutil.copytree(two, tmp_path / 'run')
  (folder / 'checkpoints/3.partial/state.orbax-tmp').mkdir(parents=True)
  (folder / 'checkpoints/0.deleting').mkdir()
  restored(folder, None)
  assert len(list((folder / 'checkpoints').iterdir())) == 4
  restored(folder)
  assert len(list((folder / 'checkpoints').iterdir())) == 2


def test_a_checkpoint_of_another_config_is_refused(two, tmp_path):
  folder = shutil.copytree(two, tmp_path / 'run')
  (folder / 'config.json').write_text('{"seed": 1}')
  with pytest.raises(ValueError, match='config.json is not the one'):
    restored(folder)
  assert (folder / 'checkpoints/2').exists()


def test_a_failed_save_is_told_and_the_next_one_works(
  tmp_path, capsys, monkeypatch
):
  folder = run_folder(tmp_path / 'run', 1)
  store = checkpoint.Checkpoints(folder, checkpoint.Keep(newest=1))
  whole = manifest.write

  def full(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(manifest, 'write', full)
  store.save(2, tree(2))
  store.wait()
  assert 'checkpoint 2 could not be saved: ' in capsys.readouterr().err
  assert store.steps == [1]
  assert [p.name for p in (folder / 'checkpoints').iterdir()] == ['1']
  monkeypatch.setattr(manifest, 'write', whole)
  store.save(3, tree(3))
  store.close()
  assert store.steps == [3] and capsys.readouterr().err == ''
  chex.assert_trees_all_equal(restored(folder), tree(3))


def test_nothing_goes_before_its_successor_is_verified(tmp_path, monkeypatch):
  folder = run_folder(tmp_path / 'run', 1, 2)
  store = checkpoint.Checkpoints(folder, checkpoint.Keep(newest=1))

  def damaged(path):
    raise manifest.Damaged('a bad disk')

  monkeypatch.setattr(manifest, 'verify', damaged)
  store.save(3, tree(3))
  store.close()
  assert {1, 2} <= set(store.steps)


def test_a_store_that_cannot_write_says_so(tmp_path, capsys):
  folder = run_folder(tmp_path / 'run')
  (folder / 'checkpoints').write_text('in the way')
  store = checkpoint.Checkpoints(folder, EVERYTHING)
  store.save(1, tree(1))
  store.close()
  assert 'checkpoint 1 could not be saved: ' in capsys.readouterr().err


@hypothesis.given(
  st.lists(st.integers(1, 60), min_size=1, unique=True),
  st.integers(1, 4), st.integers(0, 3), st.integers(0, 20), st.data(),
)  # fmt: skip
def test_what_is_kept(steps, newest, best, every, data):
  scores = {s: data.draw(st.integers(0, 5)) / 5 for s in steps}
  unscored = data.draw(st.sets(st.sampled_from(steps)))
  found = {
    s: {} if s in unscored else {'loss': scores[s], 'exact_match': scores[s]}
    for s in steps
  }
  for metric, sign in (('exact_match', 1), ('loss', -1)):
    keep = checkpoint.Keep(newest, best, every, metric)
    spare = keep.spare(found)
    kept = set(steps) - set(spare)
    assert kept >= set(sorted(steps)[-newest:])
    assert not every or kept >= {s for s in steps if s % every == 0}
    scored = sorted(sign * scores[s] for s in steps if s not in unscored)
    here = sorted(sign * scores[s] for s in kept - unscored)
    assert here[len(here) - best :] == scored[len(scored) - best :] or (
      len(scored) < best and here == scored
    )
    assert len(kept) <= newest + best + (
      sum(s % every == 0 for s in steps) if every else 0
    )


@hypothesis.given(
  st.one_of(
    st.binary(max_size=99),
    st.recursive(
      st.none() | st.integers() | st.floats() | st.text(),
      lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    ).map(lambda v: json.dumps(v).encode()),
  )
)
def test_no_garbage_is_a_manifest(tmp_path_factory, data):
  folder = tmp_path_factory.getbasetemp() / 'garbage'
  folder.mkdir(exist_ok=True)
  (folder / 'manifest.json').write_bytes(data)
  with pytest.raises(manifest.Damaged, match=r'manifest\.json'):
    manifest.verify(folder)


def test_digest_tells_states_apart():
  assert checkpoint.digest(tree(1)) == checkpoint.digest(tree(1))
  assert checkpoint.digest(tree(1)) != checkpoint.digest(tree(2))
