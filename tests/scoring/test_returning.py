"""Steps until an answer returns, against every step taken."""

import jax
import numpy as np
import pytest

from reasoning_depth.models import recall
from reasoning_depth.scoring import look_ahead, returning
from reasoning_depth.training import experiment, state
from tests import tiny

KEY = jax.random.key(0)


def test_look_ahead_is_that_of_every_step_taken(monkeypatch):
  exp = tiny.experiment('recall', 'smoke,task=by_depth,k=1-2')
  params = jax.jit(
    lambda: state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
  )().params
  params = jax.tree.map(
    lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), params
  )
  counted, steps = [], returning.Answers.append

  def append(self, samples, logits):
    counted.append(len(samples))
    return steps(self, samples, logits)

  monkeypatch.setattr(returning, 'BLOCK', 4)
  monkeypatch.setattr(returning.Answers, 'append', append)
  monkeypatch.setattr(look_ahead, 'AT_ONCE', 7)

  def scored():
    return look_ahead.score(
      experiment.evaluator(exp), params, KEY, (1, 2, 5, 30, 100), 10
    )

  found = scored()
  # Some of both groups, of 7 and of 3, leave before the end.
  assert counted[0] == 7 and counted[1] < 7 and 2 < len(counted) < 50
  monkeypatch.setattr(recall.Recall, 'by_answer', False)
  every = scored()
  np.testing.assert_array_equal(found.tokens, every.tokens)
  np.testing.assert_allclose(found.loss, every.loss, rtol=1e-5, atol=1e-6)
  assert len(np.unique(found.tokens.reshape(5, 10, -1), axis=0)) > 2


@pytest.mark.parametrize(('start', 'period'), [(1, 1), (1, 3), (4, 2), (3, 9)])
def test_logits_follow_from_the_answer_before(monkeypatch, start, period):
  """As the logits of step n + 1 do from answer n, not those of step n."""
  monkeypatch.setattr(returning, 'BLOCK', 5)
  last, A, V = 40, 4, 2
  n = np.arange(last)
  n = np.where(n < start, n, start + (n - start) % period)  # answer by step
  tokens = n[1:, None] >> np.arange(A) & 1
  weight = 1.0 + np.r_[0, n[1:-1]]  # of step 1 from what was observed
  logits = (tokens[..., None] == np.arange(V)) * weight[:, None, None]
  answers = returning.Answers(2)
  going = np.array([1])
  for at in range(0, last, 5):
    going = answers.append(going, logits[None, at : at + 5])
    if not len(going):
      break
  else:
    pytest.fail('no answer returned')
  assert answers.returns[1].tolist() == [start, start + period]
  for k in range(1, last):
    np.testing.assert_array_equal(answers.after(k)[1], logits[k - 1])
