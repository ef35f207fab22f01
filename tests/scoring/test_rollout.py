import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import transformer as transformer_config
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import evaluate, rollout
from reasoning_depth.tasks import orbits

TASK = orbits.Orbits(6, 1, 3, (1,), 'o_s', 'masked')


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
  config = transformer_config.get_config('smoke')
  oracle = Oracle(
    None, TASK, config, sharding.make_mesh({'data': 1, 'model': 1})
  )
  result = rollout.roll_out(oracle, None, jax.random.key(0), 3, 50, True)
  scores = result.summary()
  assert [g['group'] for g in scores['groups']] == [1, 2, 3]
  assert scores['scored_by'] == 'its own answers fed back'
  assert all(0.5 < g['exact_match'] < 1 for g in scores['groups'])
  # Each question is the one before, less a state, with the answer to it.
  said = result.tokens[:, -6:].reshape(3, 50, 6)
  for k in (1, 2):
    before, after = oracle.windows[k - 1 : k + 1]
    np.testing.assert_array_equal(after[:, :-1], before[:, 1:])
    np.testing.assert_array_equal(after[:, -1], said[k - 1])
  # By hand: the truth is the orbit itself.
  rules, states = TASK.draw_longer(jax.random.key(0), 3, 50)
  targets = result.samples.batch.targets[:, -6:].reshape(3, 50, 6)
  np.testing.assert_array_equal(targets.swapaxes(0, 1), states[:, 3:])
  assert jnp.asarray(rules).shape == (50, 8)


def test_only_one_step_tasks_can_be_rolled_out():
  TASK.check_rollout(8)
  with pytest.raises(ValueError, match='eval.rollout=4: needs'):
    orbits.Orbits(look_ahead=(2,)).check_rollout(4)
  with pytest.raises(ValueError, match='eval.rollout=9: at most 8'):
    TASK.check_rollout(9)
