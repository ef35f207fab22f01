"""Horizon: how far ahead a model answers nearly as well as is possible."""

from collections.abc import Mapping, Sequence
from typing import Any

SHARE = 0.95  # of the ceiling


def horizon(groups: Sequence[Mapping[str, Any]]) -> int | None:
  """The largest look-ahead up to which exact match is close to the ceiling.

  Close is where the lower end of exact match's 95 % interval is at least
  `SHARE` of the ceiling's exact match.

  Args:
    groups: scores of an evaluation in ascending order of `group`, the
      look-ahead; one below 1 is none (the rule) and is left out.

  Returns:
    a group that is close to the ceiling, as all before it are; 0 if the first
    one is not; None where a ceiling is missing.
  """
  asked = [scores for scores in groups if scores['group'] >= 1]
  if not asked or any('ceiling_exact_match' not in s for s in asked):
    return None
  reached = 0
  for scores in asked:
    low, _ = scores['exact_match_interval']
    if low < SHARE * scores['ceiling_exact_match']:
      break
    reached = scores['group']
  return reached
