"""Answers of many steps, of a model whose step sees the last answer alone.

A finite lattice has finitely many states, so that every orbit comes back to one
of its own; from there it repeats. So does such a model (`by_answer`): a sample
is stepped until its answer returns, and what it answers at any later step is
what it answered before. Of 1,000 orbits of random rules of radius 2 on 20
cells, 943 return within 1,024 steps; the mean of all, with 1,024 for the
others, is 172.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from reasoning_depth.scoring import evaluate

BLOCK = 32  # steps between looks at which samples go on


class Answers:
  """Logits of N samples, step by step.

  Attributes:
    returns: int [N, 2], of the answers that are equal the step of the first and
      of the second, from 1; where none returned, both are the last step.
  """

  def __init__(self, num_samples: int):
    """Before the first step."""
    self.returns = np.zeros((num_samples, 2), np.int64)
    self._blocks: list[np.ndarray] = []  # [n, BLOCK, A, V] of some samples
    self._at: list[np.ndarray] = []  # [N], a sample's place in its block
    self._seen: list[dict[bytes, int]] = [{} for _ in range(num_samples)]

  def append(self, samples: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Takes the next steps of some samples.

    Args:
      samples: int [n], those that went on, ascending.
      logits: [n, BLOCK, A, V].

    Returns:
      those whose answers have not returned yet.
    """
    before = len(self._blocks) * BLOCK
    at = np.full(len(self.returns), -1)
    at[samples] = np.arange(len(samples))
    self._blocks.append(logits)
    self._at.append(at)
    tokens = logits.argmax(-1).astype(np.int32)
    on = [
      self._go_on(i, before, answers)
      for i, answers in zip(samples, tokens, strict=True)
    ]
    return samples[np.array(on, bool)]

  def _go_on(self, sample, before, answers):
    seen = self._seen[sample]
    for step, answer in enumerate(answers, before + 1):
      first = seen.setdefault(answer.tobytes(), step)
      self.returns[sample] = first, step
      if first < step:
        return False
    return True

  def after(self, steps: int) -> np.ndarray:
    """Logits [N, A, V] after so many steps, at least 1."""
    first, second = self.returns.T
    period = np.maximum(second - first, 1)
    # Logits follow from the answer of the step before.
    again = first + (steps - 1 - first) % period
    n = np.where(steps <= second, steps - 1, again)
    blocks, within = np.divmod(n, BLOCK)
    return np.stack([
      self._blocks[b][self._at[b][i], s]
      for i, (b, s) in enumerate(zip(blocks, within, strict=True))
    ])  # fmt: skip


def stepper(
  evaluator: evaluate.Evaluator, params: Any, places: np.ndarray
) -> Callable[[np.ndarray, int], Answers]:
  """A function that steps samples until their answers return.

  Args:
    evaluator: of a model that is `by_answer`.
    params: its parameters.
    places: int [A], answer positions.

  Returns:
    function (inputs int32 [N, L], the most steps, at least 1) → `Answers`.
  """

  def call(params, method, *args):
    return evaluator.model.apply({'params': params}, *args, method=method)

  def begin(params, inputs):
    return call(params, 'begin', inputs)

  def block(params, state):
    def body(state, n):
      state = call(params, 'again', state, n)
      return state, call(params, 'read', state)[0][:, places]

    state, logits = jax.lax.scan(body, state, np.arange(BLOCK))
    return state.latent, logits.swapaxes(0, 1)

  begin, block = evaluator.compile(begin), evaluator.compile(block)

  def run(inputs, steps):
    state = evaluator.predict(params, inputs, begin)
    answers, going = Answers(len(inputs)), np.arange(len(inputs))
    for _ in range(0, steps, BLOCK):
      latent, logits = evaluator.predict(params, state, block)
      on = answers.append(going, logits)
      kept = np.isin(going, on)
      state = jax.tree.map(
        lambda x, kept=kept: x[kept], state.replace(latent=latent)
      )
      going = on
      if not len(going):
        break
    return answers

  return run
