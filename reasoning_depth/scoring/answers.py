"""Scores answers that were made elsewhere, as a model's own are scored."""

from collections.abc import Mapping

import numpy as np

from reasoning_depth import errors
from reasoning_depth.scoring import evaluate
from reasoning_depth.tasks import base

NONE = -1  # stands where an answer has no token


def result(
  task: base.Task,
  samples: base.HeldOut,
  given: Mapping[int, str | list[int]],
) -> evaluate.Result:
  """Held-out samples with answers that were made elsewhere.

  An answer that is too long, too short or not readable is wrong.

  Args:
    task: of the samples.
    samples: N of them.
    given: answers by the number of the sample, from 0: text, or tokens.

  Raises:
    UsageError: where a sample has no answer, or an answer no sample.
  """
  batch, N = samples.batch, len(samples.batch.group)
  missing = [i for i in range(N) if i not in given]
  if missing:
    raise errors.UsageError(
      f'{len(missing):,} of {N:,} samples have no answer, the first is '
      f'id={missing[0]}; config.eval.test_samples says how many are scored'
    )
  if len(given) > N:
    raise errors.UsageError(
      f'id={max(given)}: there are {N:,} samples, from 0; '
      'config.eval.test_samples says how many'
    )
  tokens = np.full(batch.targets.shape, NONE, np.int32)
  for i, asked in enumerate(batch.weights > 0):
    answer = given[i]
    found = task.read_answer(answer) if isinstance(answer, str) else answer
    if len(found) == asked.sum() and max(found, default=0) < task.vocab_size:
      tokens[i, asked] = found
  texts = [text for i in range(N) if isinstance(text := given[i], str)]
  return evaluate.Result(
    samples,
    None,
    tokens,
    'answers from a file',
    task.judged(batch, tokens, texts if len(texts) == N else None),
  )
