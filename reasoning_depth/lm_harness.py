"""A trained model as a model of lm-eval, EleutherAI's evaluation harness.

For models of `task.name=babilong`: they read a text with its question, as
one prompt, and say the answer. Needs `pip install 'reasoning_depth[lm-eval]'`::

  import lm_eval.tasks
  from reasoning_depth import lm_harness

  tasks = lm_eval.tasks.TaskManager(include_path='questions/babilong')
  lm_eval.simple_evaluate(
    lm_harness.Model('runs/babilong-task=qa1,cpu'), tasks=['babilong_plain'],
    task_manager=tasks,
  )
"""

import os
from collections.abc import Sequence

import numpy as np
from lm_eval.api import instance
from lm_eval.api import model as lm_model

from reasoning_depth import api, errors
from reasoning_depth.tasks import babilong, babilong_files


class Model(lm_model.LM):
  """Answers requests of lm-eval; greedy, without prompts of examples."""

  def __init__(self, name: str | os.PathLike[str], batch_size: int = 16):
    """Loads the model.

    Args:
      name: as `reasoning_depth.load` takes it.
      batch_size: texts at once.

    Raises:
      UsageError: where there is no such model, or it reads no text.
    """
    super().__init__()
    self._trained = api.load(name)
    if self._trained.config.task.name != 'babilong':
      raise errors.UsageError(
        f'{name}: its task is {self._trained.config.task.name}; lm-eval can '
        'ask a model of task.name=babilong'
      )
    self._task: babilong.BABILong = self._trained.task
    self._batch_size = batch_size

  def generate_until(self, requests: Sequence[instance.Instance]) -> list[str]:
    """Answers to texts with their questions.

    A model has not learned where an answer ends: it says as many tokens as the
    longest possible answer has, or the `max_gen_toks` of the request.
    """
    labels = babilong_files.LABELS[self._task.question]
    longest = max(len(self._task.encode(label)) for label in labels)
    pad = self._task.pad
    prompts = [self._task.encode(request.args[0]) for request in requests]
    said = [[pad] * longest for _ in requests]
    for n in range(longest):
      for answer, rows in zip(said, self._logits(prompts, said), strict=True):
        answer[n] = int(rows[n, :pad].argmax())
    most = [request.args[1].get('max_gen_toks') for request in requests]
    return [
      self._task.decode(np.array(answer[:n]))
      for answer, n in zip(said, most, strict=True)
    ]

  def loglikelihood(
    self, requests: Sequence[instance.Instance]
  ) -> list[tuple[float, bool]]:
    """Log-probability in nats of answers; whether each is the greedy one."""
    prompts = [self._task.encode(request.args[0]) for request in requests]
    answers = [
      self._task.encode(request.args[1].strip()) for request in requests
    ]
    found = []
    for answer, rows in zip(
      answers, self._logits(prompts, answers), strict=True
    ):
      rows = rows.astype(np.float64)
      log_probability = rows - np.logaddexp.reduce(rows, axis=-1)[:, None]
      total = log_probability[np.arange(len(answer)), answer].sum()
      found.append((float(total), bool((rows.argmax(-1) == answer).all())))
    return found

  def loglikelihood_rolling(
    self, requests: Sequence[instance.Instance]
  ) -> list[float]:
    """Refused: the models are trained on answers, not on the text before."""
    del requests
    raise errors.UsageError(
      'loglikelihood_rolling: the models are trained on answers alone'
    )

  def _logits(
    self, prompts: Sequence[list[int]], answers: Sequence[list[int]]
  ) -> list[np.ndarray]:
    """Logits [n, V] of each of n tokens of an answer, for every prompt."""
    rows = np.array([*map(self._row, prompts, answers)], np.int32)
    most = max(map(len, answers))
    parts = []
    for start in range(0, len(rows), self._batch_size):
      part = rows[start : start + self._batch_size]
      padding = [(0, self._batch_size - len(part)), (0, 0)]
      logits = self._trained.logits(np.pad(part, padding, 'edge'))
      parts.append(logits[: len(part), -1 - most : -1])
    last = np.concatenate(parts)
    return [
      x[most - len(answer) :] for x, answer in zip(last, answers, strict=True)
    ]

  def _row(self, prompt: list[int], answer: list[int]) -> list[int]:
    """A sequence [L] as in training: padded in front, the answer at its end."""
    tokens = [*prompt, self._task.gen, *answer]
    room = self._task.length - len(tokens)
    if room < 0:
      raise errors.UsageError(
        f'length={self._task.length}: a prompt takes {len(tokens):,} tokens'
      )
    return [self._task.pad] * room + tokens
