"""DepthScore: how far a model's exact match reaches (2508.16745, figure 5).

DepthScore = 1 + EM(2) + EM(3) + EM(4), where EM(k) is the exact match at
look-ahead k, averaged over seeds. It comes from one run that is scored at
several look-aheads, or from one run for each. Beside it stands the horizon, the
largest look-ahead up to which exact match is close to the ceiling.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from reasoning_depth.report import runs

LOOK_AHEADS = (1, 2, 3, 4)


@dataclasses.dataclass(frozen=True)
class Depth:
  """Exact match by look-ahead, of runs that differ in look-ahead and seed only.

  Attributes:
    exact_match: by look-ahead, mean over seeds; None where not scored.
    seeds: number of seeds; the smallest, where it differs by look-ahead.
    horizons: of each seed, as far as known.
  """

  exact_match: dict[int, float | None]
  seeds: int
  horizons: tuple[int, ...] = ()

  @property
  def score(self) -> float | None:
    """DepthScore, from 1 to 4; None where a look-ahead is missing."""
    found = [self.exact_match[k] for k in LOOK_AHEADS[1:]]
    return None if None in found else 1 + sum(found)


def depth(all_runs: Sequence[runs.Run]) -> Depth:
  """Collects the exact match of runs at look-ahead 1 to 4.

  Raises:
    UsageError: for a run without an evaluation by look-ahead.
  """
  found = {k: [] for k in LOOK_AHEADS}
  by_seed = {}
  for run in all_runs:
    by_seed.setdefault(run.seed, []).append(run)
    evaluation = run.evaluation
    if evaluation is None or evaluation.group_name != 'look_ahead':
      runs.refuse(run.folder, 'has no evaluation by look-ahead')
    for score in evaluation.groups:
      if score.group in found:
        found[score.group].append(score.exact_match)
  return Depth(
    {k: float(np.mean(v)) if v else None for k, v in found.items()},
    min((len(v) for v in found.values() if v), default=0),
    tuple(h for runs_ in by_seed.values() if (h := horizon(runs_)) is not None),
  )


def horizon(all_runs: Sequence[runs.Run]) -> int | None:
  """The horizon over all look-aheads that runs of one seed were scored at.

  Returns:
    a look-ahead, or 0; None where an evaluation has none.
  """
  found = [e for run in all_runs for e in _evaluations(run)]
  if not found or any(e.horizon is None for e in found):
    return None
  close = {
    score.group: score.group <= e.horizon
    for e in found
    for score in e.groups
    if score.group >= 1  # 0 is the rule
  }
  reached = itertools.takewhile(close.get, sorted(close))
  return max(reached, default=0)


def _evaluations(run: runs.Run) -> list[runs.Evaluation]:
  """The evaluation to report, and after it the one at `eval.look_ahead`."""
  found = run.evaluation, run.ahead.evaluation if run.ahead else None
  return [evaluation for evaluation in found if evaluation is not None]


def markdown(table: dict[str, Depth], paper: dict[str, str]) -> str:
  """A table of a row for each name, in ascending order of DepthScore.

  Args:
    table: by name of the row.
    paper: by name of the row, what the paper reports.
  """

  def text(value):
    return '–' if value is None else f'{value:.3f}'

  names = sorted(table, key=lambda n: (table[n].score or 0, n))
  lines = [
    '| model | k = 1 | 2 | 3 | 4 | DepthScore | seeds | horizon | the paper |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |',
  ]
  for name in names:
    row = table[name]
    scores = [text(row.exact_match[k]) for k in LOOK_AHEADS]
    scores += [text(row.score), str(row.seeds), _span(row.horizons)]
    scores.append(paper.get(name, 'not stated'))
    lines.append(f'| {name} | {" | ".join(scores)} |')
  return '\n'.join(lines)


def _span(values: Sequence[int]) -> str:
  """'16–64', '16' where all are the same, '–' without any."""
  if not values:
    return '–'
  low, high = min(values), max(values)
  return str(low) if low == high else f'{low}–{high}'
