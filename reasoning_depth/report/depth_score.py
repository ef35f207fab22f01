"""DepthScore: how far a model's exact match reaches (2508.16745, figure 5).

DepthScore = 1 + EM(2) + EM(3) + EM(4), where EM(k) is the exact match at
look-ahead k. It comes from one run that is scored at several look-aheads, or
from one run for each. The most that can be had is the same sum of ceilings.
Beside it stands the horizon, the largest look-ahead up to which exact match is
close to the ceiling.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reasoning_depth.report import costs, runs

LOOK_AHEADS = (1, 2, 3, 4)
# A number of a score, None where it has none.
Of = Callable[[runs.Score], float | None]


def exact_match(score: runs.Score) -> float:
  """Share of samples answered right."""
  return score.exact_match


def ceiling(score: runs.Score) -> float | None:
  """Exact match of the best possible predictor on the same samples."""
  return score.ceiling_exact_match


def share(score: runs.Score) -> float | None:
  """Exact match as a share of the ceiling."""
  return score.share_of_ceiling


@dataclasses.dataclass(frozen=True)
class Seed:
  """Runs of one seed: one for all look-aheads, or one for each.

  Attributes:
    scores: by look-ahead, those in `LOOK_AHEADS`.
    horizon: None where not known.
    cost: all runs together, and the most expensive answer; None where the cost
      of a run is not known.
    cut_off: (step, steps asked for) of each run that was scored before its end.
  """

  scores: dict[int, runs.Score]
  horizon: int | None
  cost: costs.Cost | None
  cut_off: tuple[tuple[int, int], ...]

  def depth_score(self, of: Of) -> float | None:
    """1 + the sum of `of` the scores at 2 to 4; None where one is missing."""
    found = [of(self.scores[k]) for k in LOOK_AHEADS[1:] if k in self.scores]
    whole = len(found) == len(LOOK_AHEADS) - 1 and None not in found
    return 1 + sum(found) if whole else None


@dataclasses.dataclass(frozen=True)
class Depth:
  """Runs that differ in look-ahead and seed only, by seed."""

  seeds: dict[int, Seed]

  def at(self, k: int, of: Of) -> list[float]:
    """`of` the score at look-ahead k, of each seed that has it."""
    return self.each(lambda s: of(s.scores[k]) if k in s.scores else None)

  def depth_scores(self, of: Of) -> list[float]:
    """The DepthScore of each seed that has one."""
    return self.each(lambda seed: seed.depth_score(of))

  def each(self, value: Callable[[Seed], Any]) -> list[Any]:
    """A value of each seed, without those that are None."""
    found = map(value, self.seeds.values())
    return [value for value in found if value is not None]

  @property
  def learned(self) -> bool:
    """Whether a score is above both baselines, by its 95 % interval."""
    return any(
      score.exact_match_interval[0]
      > max(score.repeat_last_exact_match or 0, score.majority_exact_match or 0)
      for seed in self.seeds.values()
      for score in seed.scores.values()
    )


def depth(all_runs: Sequence[runs.Run]) -> Depth:
  """Collects the scores of runs at look-ahead 1 to 4.

  Raises:
    UsageError: for a run without an evaluation by look-ahead, or two runs of
      one seed at the same look-ahead.
  """
  members: dict[int, list[runs.Run]] = {}
  for run in all_runs:
    members.setdefault(run.seed, []).append(run)
  return Depth({seed: _seed(members[seed]) for seed in sorted(members)})


def by_setting(
  named: Mapping[str, Sequence[runs.Run]],
) -> dict[str, Depth]:
  """Scores at look-ahead 1 to 4, of settings that have them."""
  found = {}
  for name, members in named.items():
    scored = [run for run in members if run.evaluation is not None]
    if scored and all(
      run.evaluation.group_name == 'look_ahead' for run in scored
    ):
      found[name] = depth(scored)
  return found


def _seed(members: Sequence[runs.Run]) -> Seed:
  scores: dict[int, runs.Score] = {}
  for run in members:
    evaluation = run.evaluation
    if evaluation is None or evaluation.group_name != 'look_ahead':
      runs.refuse(run.folder, 'has no evaluation by look-ahead')
    for score in evaluation.groups:
      if score.group in scores:
        what = f'seed {run.seed} and look-ahead {score.group} stand twice'
        runs.refuse(run.folder, what)
      if score.group in LOOK_AHEADS:
        scores[score.group] = score
  return Seed(
    scores=scores,
    horizon=horizon(members),
    cost=costs.together(members),
    cut_off=tuple(run.cut_off for run in members if run.cut_off),
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
