"""Every model learns a rule that never changes, in seconds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import models
from reasoning_depth.runtime import configuration
from reasoning_depth.scoring import evaluate
from reasoning_depth.tasks import automata, baselines, orbits
from reasoning_depth.training import optimizer, state, step

STEPS, BATCH = 120, 16


@dataclasses.dataclass(frozen=True)
class Negation(orbits.Orbits):
  """Orbits of rule 51, which negates every cell, from any state."""

  def sample_orbits(self, key, batch_size, split='train'):
    shape = (batch_size, self.width)
    first = jax.random.bernoulli(key, shape=shape).astype(jnp.uint8)
    rules = jnp.tile(automata.number_to_rule(51, 1), (batch_size, 1))
    states = automata.rollout(rules, first, self.num_states, 1)
    return rules, states, jnp.ones(batch_size, jnp.int32)


@pytest.mark.parametrize(
  'config',
  [
    'transformer:smoke', 'transformer:smoke,act=layer', 'lstm:smoke',
    'mamba:smoke', 'rmt:smoke', 'armt:smoke', 'looped:smoke', 'trm:smoke',
  ],
)  # fmt: skip
def test_learns_one_rule(config):
  name, _, words = config.partition(':')
  c = configuration.load(f'configs/{name}.py:{words}')
  layout = c.task.layout
  task = Negation(4, 1, 2, layout=layout)
  c.model.update(num_layers=1, unroll=1)
  if 'memory' in c.model:
    c.model.memory.unroll = 1
  c.train.update(
    num_steps=STEPS, learning_rate=1e-2, schedule='cosine', decay_steps=0
  )
  model = models.make(c.model, task)
  tx = optimizer.make(c.train)
  first = jax.jit(lambda: state.init(model, tx, c, task.length))()
  dispatch = step.make_dispatch(
    step.make_train_step(model, tx, c.train),
    lambda key: task.sample(key, BATCH),
    state.data_key(0),
    STEPS,
  )
  last, _ = jax.jit(dispatch)(first)
  batch = jax.jit(task.sample, static_argnums=1)(jax.random.key(9), 256)
  answer = jax.jit(evaluate.make_eval_step(model, c.train))
  _, tokens = answer(last.params, batch)
  wrong = (tokens != batch.targets) & (batch.weights > 0)
  exact = 1 - np.asarray(wrong.any(-1)).mean()
  orbits_of = jax.jit(task.sample_orbits, static_argnums=1)
  _, states, _ = orbits_of(jax.random.key(9), 256)
  repeated = baselines.repeat_last(np.asarray(states[:, :2])) == states[:, 2]
  assert not repeated.any()
  assert exact > 0.7  # chance: 1/16
