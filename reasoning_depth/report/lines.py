"""Joins the scores of several runs into lines over the look-ahead.

Runs share a line where `config.task`, `config.model` and `config.train` are the
same, but for the look-ahead of runs that were trained on a single one. So runs
on one look-ahead each make one line, and runs of several seeds make their mean.
A field that is missing in some runs, as in those from before it was added, is
no difference where all runs that have it agree on its value.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reasoning_depth import settings
from reasoning_depth.report import runs

REFERENCES = {
  'ceiling_exact_match': 'ceiling',
  'repeat_last_exact_match': 'repeat last state',
  'majority_exact_match': 'majority',
}
# Student's t, 97.5 %, for 1, 2, ... degrees of freedom; the last one for more.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
# Fields of a task that change the question, not the data: lines that differ in
# these share a panel.
_QUESTION = ('task.variant', 'task.layout', 'task.look_ahead')
_MAX_DIFFERENCES = 3


@dataclasses.dataclass(frozen=True)
class Point:
  """One group (such as a look-ahead) of a line.

  Attributes:
    group: its number, such as the look-ahead k.
    name: its name, or the number.
    by_seed: exact match of each seed.
    exact_match: the mean over seeds.
    interval: 95 %, of that mean; see `interval`.
    references: mean ceiling and baselines, by their names in `runs.Score`, as
      far as runs have them.
    determined: mean exact match on samples whose answer is determined, and its
      interval; None where not known.
  """

  group: int
  name: str
  by_seed: dict[int, float]
  exact_match: float
  interval: tuple[float, float]
  references: dict[str, float]
  determined: tuple[float, tuple[float, float]] | None = None


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of a plot.

  Attributes:
    label: model, variant, fields that differ from lines of the same model and
      variant, and number of seeds.
    panel: fields of the task by which panels differ; '' where there is one.
    group_name: what the groups count.
    split: the split that was scored.
    points: at least one, in ascending order of the group.
    members: the runs that it joins.
  """

  label: str
  panel: str
  group_name: str
  split: str
  points: tuple[Point, ...]
  members: tuple[runs.Run, ...]


def join(all_runs: Sequence[runs.Run]) -> list[Line]:
  """Joins runs into lines; a run without an evaluation adds nothing.

  Raises:
    UsageError: naming both folders, where two runs have the same setting, seed
      and look-ahead (they would count as two seeds).
  """
  scored = [run for run in all_runs if run.evaluation is not None]
  members: dict[str, list[runs.Run]] = {}
  by_key: dict[str, dict[str, Any]] = {}
  for run, setting in zip(scored, _settings(scored), strict=True):
    key = json.dumps(setting, sort_keys=True)
    by_key[key] = setting
    members.setdefault(key, []).append(run)
  panels = _panels(by_key)
  result = []
  for key, group in members.items():
    points = _points(group)
    first = group[0]
    like = [
      by_key[other]
      for other, (run, *_) in members.items()
      if (run.model, run.task, panels[other])
      == (first.model, first.task, panels[key])
    ]
    parts = [first.model, first.task, _differences(by_key[key], like)]
    parts.append(_seeds(points))
    label = ' · '.join(part for part in parts if part)
    name, split = first.evaluation.group_name, first.evaluation.split
    result.append(Line(label, panels[key], name, split, points, tuple(group)))
  return result


def of_rows(
  named: Mapping[str, Sequence[runs.Run]],
  of: Callable[[runs.Run], runs.Run | None] = lambda run: run,
) -> list[Line]:
  """As `join`, of runs that have names already, which become the labels.

  Args:
    named: runs, by name, each in a file or folder of its own.
    of: what of a run is shown; None leaves it out.
  """
  names = {run.folder: name for name, found in named.items() for run in found}
  shown = [of(run) for members in named.values() for run in members]
  return [
    dataclasses.replace(line, label=names[line.members[0].folder])
    for line in join([run for run in shown if run is not None])
  ]


def interval(
  values: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> tuple[float, float]:
  """95 % interval of a mean over seeds, inside 0 to 1.

  Two errors add in quadrature. Sampling: all seeds are scored on the same
  samples, so more seeds do not make it smaller; on each side it is the mean
  over seeds of the half-widths of their intervals. Spread between seeds:
  Student's interval of the mean.

  Args:
    values: [S], the score of each seed.
    intervals: [S], the 95 % interval of each, from sampling alone.
  """
  S = len(values)
  mean = sum(values) / S
  spread = 0.0
  if S > 1:
    variance = sum((value - mean) ** 2 for value in values) / (S - 1)
    spread = _T[min(S - 1, len(_T)) - 1] * math.sqrt(variance / S)
  below = mean - sum(low for low, _ in intervals) / S
  above = sum(high for _, high in intervals) / S - mean
  low = mean - math.hypot(spread, below)
  high = mean + math.hypot(spread, above)
  return max(0.0, low), min(1.0, high)


def _settings(scored: Sequence[runs.Run]) -> list[dict[str, Any]]:
  """The fields that tell lines apart, by dotted name, for each run.

  A run that lacks a field gets it from the runs of the same `_scope`, where all
  of those that have it agree on its value.
  """
  values: dict[tuple, list[Any]] = {}
  found = []
  for run in scored:
    groups = ('task', 'model', 'train')
    own = {g: run.config[g] for g in groups if g in run.config}
    found.append(settings.flatten(own))
    for name, value in found[-1].items():
      seen = values.setdefault((_scope(run, name), name), [])
      if value not in seen:
        seen.append(value)
  for run, setting in zip(scored, found, strict=True):
    for (scope, name), seen in values.items():
      if len(seen) == 1 and scope == _scope(run, name):
        setting.setdefault(name, seen[0])
    setting['split'] = run.evaluation.split
    setting['group'] = run.evaluation.group_name
    if len(run.evaluation.groups) == 1 and not run.further:
      setting.pop('task.look_ahead', None)
  return found


def _scope(run: runs.Run, field: str) -> tuple[str, ...]:
  """Whose runs should have a field: those of a task, or of a model on it."""
  task = run.config['task']['name']
  return (task,) if field.startswith('task.') else (task, run.task, run.model)


def _differences(mine: dict[str, Any], like: list[dict[str, Any]]) -> str:
  """Names fields, at most a few, in which one setting differs from others.

  Args:
    mine: the setting to name.
    like: the settings to tell it from; it may be among them.
  """
  names = sorted({name for setting in like for name in setting})
  differ = [n for n in names if any(s.get(n) != mine.get(n) for s in like)]
  parts = [
    f'{name.split(".")[-1]}={mine[name]}'
    for name in differ[:_MAX_DIFFERENCES]
    if name in mine
  ]
  if len(differ) > _MAX_DIFFERENCES:
    parts.append('…')
  return ', '.join(parts)


def _panels(by_key: dict[str, dict[str, Any]]) -> dict[str, str]:
  """Names the panel of each setting, by the task's fields that differ."""
  data = {
    key: {
      name: value
      for name, value in setting.items()
      if name.startswith('task.') and name not in _QUESTION or name == 'group'
    }
    for key, setting in by_key.items()
  }
  return {key: _differences(x, list(data.values())) for key, x in data.items()}


def _points(group: Sequence[runs.Run]) -> tuple[Point, ...]:
  found: dict[int, dict[int, tuple[runs.Run, runs.Score]]] = {}
  for run in group:
    for score in run.scores:
      seeds = found.setdefault(score.group, {})
      if run.seed in seeds:
        runs.refuse(
          f'{seeds[run.seed][0].folder} and {run.folder}',
          f'the same setting, seed {run.seed} and '
          f'{run.evaluation.group_name} {score.group}; leave one out',
        )
      seeds[run.seed] = run, score
  return tuple(
    _point(k, {seed: score for seed, (_, score) in found[k].items()})
    for k in sorted(found)
  )


def _point(group: int, scores: dict[int, runs.Score]) -> Point:
  by_seed = {seed: score.exact_match for seed, score in scores.items()}
  references = {}
  for name in REFERENCES:
    values = [getattr(score, name) for score in scores.values()]
    values = [value for value in values if value is not None]
    if values:
      references[name] = sum(values) / len(values)
  all_scores = list(scores.values())
  mean, bounds = _mean(
    [(score.exact_match, score.exact_match_interval) for score in all_scores]
  )
  determined = [
    (score.determined_exact_match, score.determined_exact_match_interval)
    for score in all_scores
    if score.determined_exact_match is not None
  ]
  return Point(
    group, all_scores[0].name, by_seed, mean, bounds, references,
    _mean(determined) if determined else None,
  )  # fmt: skip


def _mean(
  scored: Sequence[tuple[float, Sequence[float]]],
) -> tuple[float, tuple[float, float]]:
  """Mean over seeds and its interval, from the value and interval of each."""
  values, intervals = zip(*scored, strict=True)
  return sum(values) / len(values), interval(values, intervals)


def _seeds(points: Sequence[Point]) -> str:
  numbers = {len(point.by_seed) for point in points}
  low, high = min(numbers), max(numbers)
  if high == 1:
    return ''
  return f'{high} seeds' if low == high else f'{low}–{high} seeds'
