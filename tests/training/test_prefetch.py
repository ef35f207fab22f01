"""Batches of the host: fed to the devices, ahead, and the same on any."""

import functools
import multiprocessing
import shutil
import threading

import chex
import jax
import numpy as np
import pytest

from configs import common
from configs import grpo as grpo_config
from configs import trm as trm_config
from reasoning_depth import modes
from reasoning_depth.tasks import babilong
from reasoning_depth.training import (
  experiment,
  loop,
  prefetch,
  reporting,
  resume,
)
from tests import tiny


@functools.cache
def small(devices=1, **fields):
  stages = {'stages': (40, 80), 'most_steps': 4}
  train = {'num_steps': 8, 'batch_size': 8, 'ema': 0.9, 'curriculum': stages}
  return tiny.experiment(
    'babilong',
    mesh={'data': devices},
    task={'question': 'qa4', 'length': 80},
    model={'memory': {'segment_states': 40}},
    train=train | fields,
    eval={'batch_size': 8},
    checkpoint={'keep': 9},
  )


def newest(exp, folder):
  return jax.device_get(resume.restore(exp, folder))


def threads():
  return [t for t in threading.enumerate() if t.name.startswith('batches')]


def test_a_run_and_the_same_run_resumed(tmp_path):
  exp, folder = small(), tmp_path / 'run'
  summary = loop.train(exp, folder)
  assert summary['group_name'] == 'length'
  assert [g['group'] for g in summary['groups']] == [80]
  final = newest(exp, folder)
  assert (int(final.stage), int(final.stage_start)) == (1, 4)
  # As if killed within a stage, and where stages meet.
  for lost in (8, 6):
    for step in range(lost, 10, 2):
      shutil.rmtree(folder / 'checkpoints' / str(step))
    assert loop.train(exp, folder) == summary
    chex.assert_trees_all_equal(newest(exp, folder), final)
  assert not threads()


def test_chunks_are_the_batches_of_the_task():
  exp = small(devices=4)
  (chunk,) = prefetch.chunk(exp, 6, 2)
  assert int(chunk.first) == 6
  rows = chunk.batches.inputs.sharding.shard_shape(chunk.batches.inputs.shape)
  assert rows == (2, 2, 80)
  for i in range(2):
    chex.assert_trees_all_equal(
      jax.tree.map(lambda x, i=i: np.asarray(x[i]), chunk.batches),
      exp.task.host_sample(exp.config.seed, 6 + i, 8),
    )
  (shapes,) = prefetch.shapes(exp, 2)
  chex.assert_trees_all_equal_shapes_and_dtypes(chunk, shapes)


def test_worker_processes_make_the_same_batches():
  exp = small()
  exp.config.host.workers = 3  # for batches of eight
  batches = prefetch.Prefetcher(exp, 2)
  exp.config.host.workers = 0  # tests share it
  try:
    (ours,) = batches.take(4)
    with pytest.raises(ValueError, match="split='none'"):
      batches._pool.sample(0, 0, 1, 'none')
  finally:
    batches.close()
  (expected,) = prefetch.chunk(exp, 4, 2)
  chex.assert_trees_all_equal(ours, expected)
  assert not multiprocessing.active_children() and not threads()


def test_any_number_of_devices_gets_the_same():
  (one,), (many,) = (prefetch.chunk(small(n), 3, 2) for n in (1, 8))
  chex.assert_trees_all_equal(jax.device_get(one), jax.device_get(many))


def test_one_chunk_is_made_ahead_and_none_after_the_last(monkeypatch):
  exp, asked = small(), []
  original = prefetch.chunk

  def given(exp, at, *rest):
    asked.append(at)
    return original(exp, at, *rest)

  monkeypatch.setattr(prefetch, 'chunk', given)
  batches = prefetch.Prefetcher(exp, 2)
  for at in (2, 4, 6):
    (chunk,) = batches.take(at)
    assert int(chunk.first) == at
  batches.close()
  assert asked == [2, 4, 6]  # and none of step 8, the end
  batches.close()
  assert not threads()


def test_closing_stops_what_is_being_made(monkeypatch):
  exp, begun, go_on = small(num_steps=10**6), threading.Event(), []
  monkeypatch.setattr(
    babilong.BABILong,
    'host_sample',
    lambda *_: (begun.set(), go_on.append(1), np.zeros(1))[2],
  )
  batches = prefetch.Prefetcher(exp, 10**6)
  batches._thread.submit(batches._make, 0)
  assert begun.wait(10)
  batches.close()
  assert not threads() and len(go_on) < 10**6


def test_an_error_of_the_thread_is_the_runs_error(tmp_path, monkeypatch):
  exp = small()
  original = babilong.BABILong.host_sample

  def broken(task, seed, step, *rest):
    if step == 3:
      raise ValueError('config.task.background=book.txt: gone')
    return original(task, seed, step, *rest)

  monkeypatch.setattr(babilong.BABILong, 'host_sample', broken)
  with pytest.raises(ValueError, match='book.txt: gone'):
    loop.train(exp, tmp_path / 'run')
  assert int(newest(exp, tmp_path / 'run').step) == 2
  assert not threads()


def test_steps_after_one_that_is_not_finite_are_not_made(
  tmp_path, monkeypatch, capsys
):
  exp, folder = small(), tmp_path / 'run'
  original = babilong.BABILong.host_sample

  def broken(task, seed, step, *rest):
    batch = original(task, seed, step, *rest)
    if step == 2:
      return batch.replace(weights=batch.weights * np.float32('nan'))
    return batch

  monkeypatch.setattr(babilong.BABILong, 'host_sample', broken)
  with pytest.raises(reporting.Diverged, match='^step 2: '):
    loop.train(exp, folder)
  before = newest(exp, folder)
  kept = jax.device_get(resume.restore(exp, folder, 'diverged'))
  assert int(kept.step) == 2
  chex.assert_trees_all_equal(kept, before)
  # The step can be made again, of the same batch.
  modes.replay(exp.config, folder, [])
  assert 'step 2: not finite, loss nan' in capsys.readouterr().out


@pytest.mark.parametrize(
  'module,message',
  [
    (trm_config, 'name=trm: answers all cells at once'),
    (grpo_config, 'config.train.method=grpo: needs a task with prompts'),
  ],
)
def test_other_ways_of_training_are_refused(module, message):
  c = module.get_config('smoke')
  c.task = common.task('babilong', question='qa1')
  c.model.positions = 'rotary'
  c.mesh.data = 1
  with pytest.raises(ValueError, match=message):
    experiment.build(c)
