import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import grpo as grpo_config
from configs import transformer as transformer_config
from reasoning_depth.tasks import orbit_tokens, orbits
from reasoning_depth.training import (
  experiment,
  grpo,
  loop,
  optimizer,
  resume,
  state,
  step,
)
from tests import tiny

T = orbit_tokens.Token


def test_the_answer_is_what_follows_the_last_gen():
  prompt = [T.SEP, 0, 1, T.GEN]
  said = [
    [1, 0, T.EOS, 0, 0, 0],  # at once
    [1, 1, T.GEN, 0, 1, T.EOS],  # after a thought
    [1, 1, T.GEN, 0, T.SEP, T.EOS],  # not two cells
    [1, 0, T.EOS, T.GEN, 0, 1],  # what comes after the end does not count
    [0, 0, 0, 0, T.GEN, 1],  # cut off
  ]
  tokens = jnp.array([prompt + s for s in said])
  answer = orbit_tokens.last_answer(tokens, 4, 2)
  assert answer.cells.tolist() == [[1, 0], [0, 1], [0, -1], [1, 0], [1, -1]]
  assert answer.ended.tolist() == [True, True, True, True, False]


def test_rewards_by_hand():
  cells = jnp.array([[1, 0], [1, 1], [0, 1], [1, -1]])
  ended = jnp.array([True, True, True, False])
  answer = orbit_tokens.Answer(cells, ended)
  target = jnp.array([[1, 0]] * 4)
  settings = grpo.Settings(format_reward=0.5)
  ours = grpo.rewards(settings, answer, target)
  np.testing.assert_allclose(ours, [1.5, 2 / 3 + 0.5, 0.5, 1 / 3], rtol=1e-6)
  exact = grpo.Settings(reward='exact', format_reward=0.0)
  assert grpo.rewards(exact, answer, target).tolist() == [1, 0, 0, 0]


def test_advantages_and_objective_by_hand():
  reward = jnp.array([[1.0, 0.0, 0.5], [0.3, 0.3, 0.3]])
  ours = grpo.advantages(reward)
  spread = np.sqrt(1 / 6)
  expected = [[0.5 / (spread + 1e-4), -0.5 / (spread + 1e-4), 0], [0, 0, 0]]
  np.testing.assert_allclose(ours, expected, atol=1e-5)

  settings = grpo.Settings(clip_ratio=0.2, kl=0.1)
  old = jnp.log(jnp.array([[0.5, 0.5], [0.5, 0.5]]))
  new = jnp.log(jnp.array([[0.75, 0.55], [0.25, 0.9]]))
  reference = jnp.log(jnp.array([[0.75, 0.5], [0.5, 0.9]]))
  advantage = jnp.array([2.0, -1.0])
  spoken = jnp.array([[True, True], [True, False]])
  # Ratios 1.5, 1.1, 0.5: the first is clipped to 1.2, the last to 0.8.
  gain = 2 * 1.2 + 2 * 1.1 - 0.8

  def divergence(p, q):
    return q / p - np.log(q / p) - 1

  kl = divergence(0.75, 0.75) + divergence(0.55, 0.5) + divergence(0.25, 0.5)
  theirs = (0.1 * kl - gain) / 3
  ours = grpo.objective(settings, new, old, reference, advantage, spoken)
  np.testing.assert_allclose(ours, theirs, rtol=1e-5)
  # No gradient pushes further than the clip lets it.
  slope = jax.grad(
    lambda lp: grpo.objective(
      grpo.Settings(kl=0.0), lp, old, reference, advantage, spoken
    )
  )(new)
  assert slope[0, 0] == 0 and slope[1, 0] == 0 and slope[0, 1] < 0


def test_forced_thoughts_are_set_and_not_learned_from():
  task = orbits.Orbits(3, 1, 2)
  own = grpo.Settings(thinking=2, forced=1, generations=2)
  C = grpo.decoding.CHOSEN
  given = grpo.completion(own, task)
  assert given.tolist() == [C, C, C, T.GEN] + 8 * [C]
  c = transformer_config.get_config('smoke')
  c.model.update(num_layers=1, width=16, mlp_width=16)
  model = experiment.models.make(c.model, task)
  tokens = jnp.zeros((1, task.length), int)
  params = jax.jit(model.init)(jax.random.key(0), tokens)['params']
  batch = jax.jit(task.sample, static_argnums=1)(jax.random.key(1), 3)
  target = jnp.repeat(batch.inputs[:, 9:12], 2, axis=0)

  @jax.jit
  def complete(key):
    made = grpo._complete(model, params, task, own, batch, target, key)
    return made.tokens[:, task.prompt_length :], made.counted

  said, counted = map(np.asarray, complete(jax.random.key(2)))
  assert said.shape == (6, 12) and (said[:, 3] == T.GEN).all()
  assert not counted[:, 3].any()
  ended = np.cumsum(said == T.EOS, -1) - (said == T.EOS) > 0
  np.testing.assert_array_equal(counted[:, :3], ~ended[:, :3])
  np.testing.assert_array_equal(counted[:, 4:], ~ended[:, 4:])


def test_evaluation_forces_the_thoughts_of_training():
  exp = tiny.experiment(
    'grpo', 'smoke,k=2', task={'num_states': 2},
    train={'grpo': {'thinking': 1, 'forced': 1}},
  )  # fmt: skip
  params = resume.fresh(exp).params
  batch = jax.jit(exp.task.sample, static_argnums=1)(jax.random.key(1), 4)
  P, row = exp.task.prompt_length, exp.task.row_tokens
  given = grpo.completion(exp.method.settings, exp.task)
  tokens, _ = grpo.decoding.generate(
    exp.model, params, batch.inputs[:, :P], P + 2 * row, given=given
  )
  assert (tokens[:, P + row - 1] == T.GEN).all()
  ours = experiment.evaluator(exp).answers(params, batch)
  np.testing.assert_array_equal(ours, exp.task.read_generated(tokens))
  free, _ = grpo.decoding.generate(
    exp.model, params, batch.inputs[:, :P], P + row
  )
  assert not np.array_equal(ours, exp.task.read_generated(free))


class Quiet(orbits.Orbits):
  """Orbits of rule 0, which ends in zeros after one step."""

  def sample_orbits(self, key, batch_size, split='train'):
    rules, states, k = super().sample_orbits(key, batch_size, split)
    return rules * 0, states.at[:, 1:].set(0), k


def test_reward_rises():
  c = transformer_config.get_config('smoke')
  c.model.update(num_layers=1, width=16, mlp_width=16)
  c.train.update(learning_rate=1e-2, schedule='constant', warmup_steps=0)
  own = grpo.Settings(thinking=0, kl=0.0, format_reward=0.0)
  task = Quiet(3, 1, 2)
  model = experiment.models.make(c.model, task)
  tx = optimizer.make(c.train)
  run = grpo.make_train_step(model, tx, c.train, task, own)
  first = jax.jit(lambda: state.init(model, tx, c, task.length))()
  first = first.replace(carry=jax.tree.map(jnp.copy, first.params))
  dispatch = step.make_dispatch(
    run, lambda key: task.sample(key, 8), state.data_key(0), 60
  )
  last, metrics = jax.jit(dispatch)(first)
  reward = metrics.extra['reward']
  assert int(last.step) == 60
  # 64 completions a step: the mean of an unchanged policy moves by about 0.03.
  assert reward[0] < 0.2
  assert reward[-5:].mean() > reward[0] + 0.4
  assert metrics.extra['completion_length'].max() <= 4


def test_starts_from_another_run_and_ends_with_spoken_scores(tmp_path):
  two_states = {'num_states': 2}
  one = tiny.experiment(
    'transformer', 'smoke,task=cot,k=1', task=two_states, train={'num_steps': 2}
  )
  loop.train(one, tmp_path / 'one')
  start = jax.device_get(resume.restore(one, tmp_path / 'one').params)

  train = {'steps_per_dispatch': 1, 'batch_size': 2}
  train['init_from'] = str(tmp_path / 'one')
  g = tiny.run_config('grpo', 'smoke,k=2', task=two_states, train=train)
  exp = experiment.build(g)
  summary = loop.train(exp, tmp_path / 'two')
  assert summary['scored_by'] == 'generation'
  final = jax.device_get(resume.restore(exp, tmp_path / 'two'))
  same = functools.partial(jax.tree.map, np.testing.assert_array_equal)
  same(final.carry, start)
  # Resumed after step 2: the same bits.
  shutil.rmtree(tmp_path / 'two/checkpoints/4')
  assert loop.train(exp, tmp_path / 'two') == summary
  same(jax.device_get(resume.restore(exp, tmp_path / 'two')), final)
  g.model.width = 16
  with pytest.raises(ValueError, match='init_from=.*other shapes'):
    loop.train(experiment.build(g), tmp_path / 'three')


def test_bad_settings_are_named():
  with pytest.raises(
    ValueError, match='reward=tokens: allowed are token, exact'
  ):
    grpo.Settings(reward='tokens')
  with pytest.raises(ValueError, match='generations=1: must be at least 2'):
    grpo.Settings(generations=1)
  with pytest.raises(ValueError, match='forced=2: must be at most thinking=1'):
    grpo.Settings(forced=2)
  c = grpo_config.get_config('smoke,layout=masked')
  c.mesh.data = 1
  with pytest.raises(ValueError, match='method=grpo.*layout=causal'):
    experiment.build(c)
