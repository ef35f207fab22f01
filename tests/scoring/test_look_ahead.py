"""Scores at further look-aheads: by depth steps, and by answers fed back."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import transformer as transformer_config
from reasoning_depth.models import base as base_model
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import evaluate, look_ahead
from reasoning_depth.tasks import automata, orbit_tokens, orbits
from reasoning_depth.training import experiment, final, state
from tests import tiny

TASK = orbits.Orbits(6, 1, 3, (1,), 'o_s', 'masked')
BY_DEPTH = dataclasses.replace(TASK, look_ahead=(1, 2), variant='by_depth')
KEY = jax.random.key(0)


def evaluator(task, model=None, kind=evaluate.Evaluator, **train):
  config = transformer_config.get_config('smoke')
  config.train.update(train)
  config.eval.batch_size = 16
  mesh = sharding.make_mesh({'data': 1, 'model': 1})
  return kind(model, task, config, mesh)


# --- By depth ---------------------------------------------------------------


class Automaton(base_model.Model):
  """Reads the rule off the observed states, 0 where open, and applies it.

  At a SHIFT token above `deaf` it answers with zeros.
  """

  width: int
  num_states: int
  deaf: int = 99

  stepwise = True

  def begin(self, tokens):
    W, T = self.width, self.num_states
    states = tokens.reshape(len(tokens), T + 1, W + 1)[:, :T, 1:]
    index = automata.neighbourhoods(states[:, :-1], 1)
    ones = index[..., None] == jnp.arange(8)
    table = (ones & (states[:, 1:, :, None] == 1)).any((1, 2))
    heard = tokens[:, T * (W + 1)] < orbit_tokens.Token.SHIFT_1 + self.deaf
    return base_model.StepState((table & heard[:, None]), states[:, -1])

  def again(self, state, n):
    index = automata.neighbourhoods(state.latent, 1)
    new = jnp.take_along_axis(state.inputs, index, axis=-1)
    return state.replace(latent=new.astype(jnp.int32))

  def read(self, state):
    first = self.num_states * (self.width + 1) + 1
    cells = jax.nn.one_hot(state.latent, 3)
    return jnp.pad(cells, ((0, 0), (first, 0), (0, 0))), None


def test_a_model_that_applies_the_rule_is_right_wherever_it_can_be():
  ask = (1, 2, 3, 8, 64, 1024)
  model = Automaton(TASK.width, TASK.num_states)
  result = look_ahead.score(
    evaluator(BY_DEPTH, model, depth_loss='look_ahead'), {}, KEY, ask, 200, True
  )
  summary = result.summary()
  assert summary['scored_by'] == 'depth steps'
  assert [g['group'] for g in summary['groups']] == list(ask)
  assert summary['horizon'] == 1024
  for scores in summary['groups']:
    assert scores['num_samples'] == 200
    assert scores['determined_exact_match'] == 1
    share = scores['determined_share']
    assert 0.3 < share < scores['exact_match'] < 1
    low, high = scores['determined_exact_match_interval']
    assert low < 1 and high == pytest.approx(1)
  # By hand: the orbit itself.
  rules, states, observed = BY_DEPTH.draw_further(KEY, 1024, 200)
  np.testing.assert_array_equal(observed, states[:, :3])
  rolled = automata.rollout(rules, states[:, 2], 1024, 1)
  targets = result.samples.batch.targets.reshape(6, 200, 6)
  np.testing.assert_array_equal(
    targets.swapaxes(0, 1), rolled[:, np.array(ask)]
  )


def test_beyond_training_the_largest_shift_token_asks():
  task = dataclasses.replace(TASK, look_ahead=(2, 4), variant='multi_horizon')
  assert [task.told(k) for k in (1, 2, 3, 4, 5, 64)] == [2, 2, 2, 4, 4, 4]
  for deaf, wrong in ((4, []), (3, [4, 9]), (1, [1, 2, 3, 4, 9])):
    model = Automaton(TASK.width, TASK.num_states, deaf)
    asked = evaluator(task, model, depth_loss='look_ahead')
    result = look_ahead.score(asked, {}, KEY, (1, 2, 3, 4, 9), 50)
    says_zero = ~result.tokens.reshape(5, -1).any(1)
    assert np.array((1, 2, 3, 4, 9))[says_zero].tolist() == wrong


def test_every_look_ahead_is_the_model_run_to_that_depth():
  exp = tiny.experiment(
    'looped', 'smoke,task=by_depth,k=1-2,layout=masked',
    model={'recurrence': {
      'read_every': True, 'draw': 'fixed', 'mean_loops': 2, 'carry': 'answer',
      'min_loops': 1, 'max_loops': 4,
    }},
  )  # fmt: skip
  params = jax.jit(
    lambda: state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
  )().params
  params = jax.tree.map(
    lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), params
  )
  ask, N = (1, 3, 6), 10  # in batches of 4
  result = look_ahead.score(
    experiment.evaluator(exp), params, KEY, ask, N, True
  )
  rules, states, observed = exp.task.draw_further(KEY, 6, N)
  inputs = exp.task.question(rules, observed, states[:, 0], told=1).inputs
  batch = exp.task.draw_held_out(KEY, 'test', N).batch  # the same orbits
  np.testing.assert_array_equal(batch.inputs, inputs)
  loss, tokens = result.loss.reshape(3, N), result.tokens.reshape(3, N, 5)
  for i, k in enumerate(ask):
    output = exp.model.apply({'params': params}, inputs, depth=k)
    logits = np.asarray(output.logits)[:, -5:]
    np.testing.assert_array_equal(tokens[i], logits.argmax(-1))
    truth = states[:, exp.task.num_states - 1 + k]
    log_p = np.take_along_axis(
      np.asarray(jax.nn.log_softmax(logits)), truth[..., None].astype(int), -1
    )
    np.testing.assert_allclose(loss[i], -log_p.mean((1, 2)), rtol=1e-4)
  assert len(np.unique(tokens, axis=0)) == 3


def test_a_model_of_several_rows_is_asked_for_single_states():
  """As the rows `every` of launch/grids/carry.py are scored."""
  rows = {'train': {'depth_loss': 'last'}}
  rows, one = (
    tiny.experiment('recall', f'smoke,task={variant},k=1-3', **groups)
    for variant, groups in (('o_o', rows), ('by_depth', {}))
  )
  params = jax.jit(
    lambda: state.init(
      rows.model, rows.optimizer, rows.config, rows.task.length
    )
  )().params
  params = jax.tree.map(
    lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), params
  )
  result = look_ahead.score(
    experiment.evaluator(one), params, KEY, (1, 2, 3, 7), 10
  )
  found = result.tokens.reshape(4, 10, 5)
  drawn, states, observed = rows.task.draw_further(KEY, 3, 10)
  asked = rows.task.question(drawn, observed, states[:, 0], told=1).inputs
  logits = rows.model.apply({'params': params}, asked).logits
  answers = np.asarray(logits[:, -3 * 6 :].argmax(-1)).reshape(10, 3, 6)
  np.testing.assert_array_equal(found[:3], answers[..., 1:].swapaxes(0, 1))
  assert (found[3] != found[2]).any()  # goes on past its rows


# --- Fed back ---------------------------------------------------------------


class Oracle(evaluate.Evaluator):
  """Answers with the rule that the observed states show, 0 where none does."""

  def run(self, params, samples):
    W, T = TASK.width, TASK.num_states
    inputs = samples.batch.inputs.reshape(-1, T + 1, W + 1)
    window = np.asarray(inputs[:, :T, 1:])
    self.windows = [*getattr(self, 'windows', []), window]
    tokens = np.array(samples.batch.targets)
    for i, states in enumerate(window):
      table = {}
      for before, after in zip(states[:-1], states[1:], strict=True):
        for j in range(W):
          table[tuple(before[[j - 1, j, (j + 1) % W]])] = after[j]
      last = states[-1]
      for j in range(W):
        entry = tuple(last[[j - 1, j, (j + 1) % W]])
        tokens[i, T * (W + 1) + 1 + j] = table.get(entry, 0)
    return evaluate.Result(samples, np.zeros(len(tokens)), tokens)


def test_answers_are_fed_back():
  model = base_model.Model()
  oracle = evaluator(TASK, model, Oracle)
  result = look_ahead.score(oracle, None, KEY, (1, 2, 5), 50, True)
  scores = result.summary()
  assert [g['group'] for g in scores['groups']] == [1, 2, 5]
  assert scores['scored_by'] == 'its own answers fed back'
  assert all(0.4 < g['exact_match'] < 1 for g in scores['groups'])
  # Each question is the one before, less a state, with the answer to it; also
  # those whose answers are not scored.
  said = result.tokens.reshape(3, 50, 6)
  assert len(oracle.windows) == 5
  for before, after in zip(oracle.windows, oracle.windows[1:], strict=False):
    np.testing.assert_array_equal(after[:, :-1], before[:, 1:])
  for i, k in enumerate((1, 2)):
    np.testing.assert_array_equal(oracle.windows[k][:, -1], said[i])
  # By hand: the truth is the orbit itself.
  rules, states, _ = TASK.draw_further(KEY, 5, 50)
  targets = result.samples.batch.targets.reshape(3, 50, 6)
  np.testing.assert_array_equal(
    targets.swapaxes(0, 1), states[:, np.array([3, 4, 7])]
  )
  assert rules.shape == (50, 8)


# --- A run ------------------------------------------------------------------


def test_the_final_evaluation_writes_them(tmp_path):
  exp = tiny.experiment(
    'transformer', 'smoke,k=1,layout=masked', eval={'look_ahead': (1, 3)}
  )
  first = jax.jit(
    lambda: state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
  )()
  final.evaluate(exp, first, tmp_path, overrides=['eval.look_ahead=(1,3)'])
  test, further = (
    json.loads((tmp_path / f'evaluations/{name}.json').read_text())
    for name in ('test', 'look_ahead')
  )
  assert further['overrides'] == test['overrides'] == ['eval.look_ahead=(1,3)']
  assert [g['group'] for g in further['groups']] == [1, 3]
  same = 'exact_match', 'ceiling_exact_match', 'determined_share'
  for name in same:  # the samples of the test split, one step ahead
    assert further['groups'][0][name] == test['groups'][0][name]
  assert (test['horizon'], further['horizon']) == (0, 0)


def build(words='smoke,k=1,layout=masked', ask=(1, 2), name='transformer'):
  return tiny.experiment(name, words, eval={'look_ahead': ask})


@pytest.mark.parametrize(
  'given,message',
  [
    ({'ask': (2, 1)}, r'config.eval.look_ahead=\(2, 1\): must ascend'),
    ({'ask': (0,)}, r'config.eval.look_ahead=\(0,\): must be at least 1'),
    (
      {'ask': (1, 10**8)},
      r'config.eval.look_ahead=.*: the states of 8 held-out samples would take '
      r'more than 2 GiB; look-aheads up to 53,687,088 fit',
    ),
    (
      {'words': 'smoke,k=2'},
      r'config.eval.look_ahead=\(1, 2\): needs config.task.variant=o_s and '
      r'config.task.look_ahead=\(1,\)',
    ),
    (
      {'words': 'smoke', 'name': 'groups'},
      r'config.eval.look_ahead=\(1, 2\): the answers of this task have no',
    ),
  ],
)
def test_lists_that_cannot_be_asked(given, message):
  with pytest.raises(ValueError, match=message):
    build(**given)


def test_depth_steps_answer_a_masked_question_alone():
  build(ask=(1, 1024))
  looped = {
    'model': {'recurrence': {
      'read_every': True, 'draw': 'fixed', 'mean_loops': 2, 'min_loops': 1,
    }},
    'eval': {'look_ahead': (1, 64)},
  }  # fmt: skip
  tiny.experiment('looped', 'smoke,task=by_depth,k=1-2,layout=masked', **looped)
  with pytest.raises(
    ValueError, match='config.eval.look_ahead.*need config.task.layout=masked'
  ):
    tiny.experiment('looped', 'smoke,task=by_depth,k=1-2', **looped)
