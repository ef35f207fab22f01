import functools
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.models import trm
from reasoning_depth.runtime import checkpoint
from reasoning_depth.training import (
  deep_supervision,
  loop,
  optimizer,
  resume,
)
from tests import tiny


@functools.cache
def parts():
  recursion = {
    'inner_steps': 1, 'cycles': 2, 'supervision': 3, 'exploration': 0.0,
  }  # fmt: skip
  exp = tiny.experiment(
    'trm',
    model={'recursion': recursion},
    train={'num_steps': 8, 'warmup_steps': 8, 'loss': 'stablemax', 'ema': 0.9},
    eval={'every': 4},
    checkpoint={'every': 4, 'keep': 9},
  )
  train = exp.config.train
  run = deep_supervision.make_train_step(
    exp.model, optimizer.make(train), train
  )
  return exp, jax.jit(run)


def first_state(exp, folder):
  return resume.restore_or_init(exp, checkpoint.Checkpoints(folder))


def test_samples_stay_until_they_halt(tmp_path):
  exp, run = parts()
  current = first_state(exp, tmp_path)
  sample = jax.jit(exp.task.sample, static_argnums=1)
  batches = [sample(jax.random.key(i), 4) for i in range(5)]
  seen = []
  for batch in batches:
    current, metrics = run(current, batch, jax.random.key(0))
    seen.append((current.carry.batch.inputs, current.carry.passes.tolist()))
    assert metrics.finite
  # The halting head begins at "not yet": three passes, then a fresh batch.
  assert [passes for _, passes in seen] == [
    [1] * 4, [2] * 4, [3] * 4, [1] * 4, [2] * 4
  ]  # fmt: skip
  for i, source in enumerate([0, 0, 0, 3, 3]):
    np.testing.assert_array_equal(seen[i][0], batches[source].inputs)
  assert current.carry.halted.tolist() == [False] * 4
  # Latents are what the next pass begins with, and a fresh sample's are fresh.
  start = exp.model.first_latents((4, exp.task.length))
  assert not np.allclose(current.carry.latents.answer, start.answer)


def test_a_sure_head_halts_and_exploration_holds_it_back():
  recursion = trm.TinyRecursion(supervision=4, exploration=0.0)
  passes = jnp.array([0, 0, 3, 1])
  carry = deep_supervision.Carry(None, None, passes, jnp.zeros(4, bool))
  halt = jnp.array([1.0, -1.0, -1.0, 2.0])
  new = deep_supervision._halt(recursion, carry, None, halt, jax.random.key(0))
  assert new.passes.tolist() == [1, 1, 4, 2]
  assert new.halted.tolist() == [True, False, True, True]
  explore = trm.TinyRecursion(supervision=4, exploration=1.0)
  new = deep_supervision._halt(explore, carry, None, halt, jax.random.key(0))
  assert not new.halted[0]  # one pass is never enough for who explores


def test_the_carry_survives_a_restart(tmp_path):
  exp, _ = parts()
  folder = tmp_path / 'run'
  loop.train(exp, folder)
  final = jax.device_get(resume.restore(exp, folder))
  assert final.carry.passes.max() >= 1
  shutil.rmtree(folder / 'checkpoints' / '8')
  loop.train(exp, folder)
  chex.assert_trees_all_equal(
    jax.device_get(resume.restore(exp, folder)), final
  )
