"""Steps until an answer returns, against every step taken."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reasoning_depth.scoring import look_ahead, returning
from reasoning_depth.training import experiment
from tests import tiny

KEY = jax.random.key(0)


def test_look_ahead_is_that_of_every_step_taken(monkeypatch):
  exp = tiny.experiment('recall', 'smoke,task=by_depth,k=1-2')
  params = tiny.init(exp.model, exp.task.length, noise=0.3)
  monkeypatch.setattr(returning, 'BLOCK', 4)
  monkeypatch.setattr(look_ahead, 'MOST_BYTES', 7 * 4 * 100 * exp.task.width)
  going, returned = [], returning.returned

  def noted(answers, before, seen):
    going.append(before + len(answers))
    return returned(answers, before, seen)

  monkeypatch.setattr(returning, 'returned', noted)

  def scored():
    return look_ahead.score(
      experiment.evaluator(exp), params, KEY, (1, 2, 5, 30, 100), 10
    )

  found = scored()
  # Seven samples, then three; some of both leave before the end.
  assert going[:8].count(4) == 7 and going.count(4) == 10
  assert 0 < going.count(8) < 10 and max(going) < 100
  # Where the answers of a batch, of four, do not fit, every step is taken.
  asked = len(going)
  monkeypatch.setattr(look_ahead, 'MOST_BYTES', 3 * 4 * 100 * exp.task.width)
  every = scored()
  assert len(going) == asked
  np.testing.assert_array_equal(found.tokens, every.tokens)
  np.testing.assert_allclose(found.loss, every.loss, rtol=1e-5, atol=1e-6)
  assert len(np.unique(found.tokens.reshape(5, 10, -1), axis=0)) > 2


@given(start=st.integers(1, 9), period=st.integers(1, 9))
def test_an_answer_is_found_where_it_returns(start, period):
  n = np.arange(1, 60)
  answer = np.where(n < start, n, start + (n - start) % period)
  rows, seen = answer[:, None] >> np.arange(6) & 1, {}
  some = start + period - 1
  assert returning.returned(rows[:some], 0, seen) is None
  assert returning.returned(rows[some:], some, seen) == (start, start + period)
  returns = np.array([[start, 59], [start + period, 59]])
  for k in range(2, 60):
    before = returning.step_before(k, returns)
    assert before[0] < start + period and before[1] == k - 1
    assert answer[before[0] - 1] == answer[k - 2]
