"""Many steps from a one-step model: each prediction becomes the next input."""

from typing import Any

import jax
import numpy as np

from reasoning_depth.scoring import evaluate
from reasoning_depth.tasks import base


def roll_out(
  evaluator: evaluate.Evaluator,
  params: Any,
  key: jax.Array,
  steps: int,
  num_samples: int,
  with_ceiling: bool = False,
) -> evaluate.Result:
  """Scores the states 1 to `steps` ahead, each predicted from the one before.

  The window of observed states slides: drop the first, append the prediction. A
  causal model generates its answer.

  Args:
    evaluator: of a task whose `check_rollout` allows it.
    params: parameters of its model.
    key: the same key gives the same samples.
    steps: states to predict.
    num_samples: samples of the test split, each scored at every step.
    with_ceiling: whether to compute ceiling and baselines.
  """
  task = evaluator.task
  rules, states = task.draw_longer(key, steps, num_samples)
  T = task.num_states
  observed = states[:, :T]
  window, results = observed, []
  for k in range(1, steps + 1):
    truth = states[:, T - 1 + k]
    question = task.question(rules, window, truth)
    answer = evaluator.run_generated if task.causal else evaluator.run
    result = answer(params, base.HeldOut(question, observed))
    predicted = result.tokens[result.asked].reshape(num_samples, -1)
    window = np.concatenate([window[:, 1:], predicted[:, None] % 2], axis=1)
    at = np.full(num_samples, k, np.int32)
    known = task.known_scores(rules, states, at) if with_ceiling else {}
    batch = question.replace(group=at)
    results.append((batch, result.loss, result.tokens, known))
  batches, losses, tokens, known = zip(*results, strict=True)

  def join(*parts):
    return np.concatenate(parts)

  samples = base.HeldOut(
    jax.tree.map(join, *batches),
    np.tile(observed, (steps, 1, 1)),
    jax.tree.map(join, *known),
  )
  return evaluate.Result(
    samples, join(*losses), join(*tokens), scored_by='its own answers fed back'
  )
