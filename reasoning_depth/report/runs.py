"""Reads a run folder: its config, its metrics and its evaluations.

Run folders are written by this project, so values are taken as they are. What
is refused, in one line: a folder that is no run folder, a file that is cut off,
a field that is missing.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from reasoning_depth import errors

THRESHOLDS = (0.5, 0.9)  # of exact match; passing one ends a phase of training
_GROUP_METRIC = 'exact_match_'  # followed by the group's name or number
AHEAD = 'look_ahead'  # how evaluations at `eval.look_ahead` are called


@dataclasses.dataclass(frozen=True)
class Score:
  """The scores of one group of samples, or of all samples.

  The attributes are fields of the evaluation's JSON file, with the same names.
  Those that have a default are not written for every task.
  """

  num_samples: int
  exact_match: float
  exact_match_interval: Sequence[float]  # low and high end, 95 %
  bit_accuracy: float
  group: int | None = None  # None: all samples
  label: str = ''  # the group's name, where groups have names
  ceiling_exact_match: float | None = None
  ceiling_bit_accuracy: float | None = None
  ceiling_is_exact: float | None = None  # share of samples
  # Of the true orbits, where cells are shown flipped.
  clean_ceiling_exact_match: float | None = None
  share_of_ceiling: float | None = None
  repeat_last_exact_match: float | None = None
  majority_exact_match: float | None = None
  table_exact_match: float | None = None
  determined_share: float | None = None  # samples that leave one answer alone
  determined_exact_match: float | None = None  # on those
  determined_exact_match_interval: Sequence[float] | None = None

  @property
  def name(self) -> str:
    """The group's name or number, or 'all'."""
    return self.label or ('all' if self.group is None else str(self.group))


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """The content of `evaluations/<name>.json`."""

  name: str
  split: str
  step: int
  group_name: str  # what `Score.group` counts, such as 'look_ahead'
  groups: tuple[Score, ...]  # in ascending order of the group
  overall: Score
  rows_path: pathlib.Path  # a row for each sample; may not exist
  overrides: tuple[str, ...] = ()  # fields set differently than in training
  horizon: int | None = None  # a group, or 0; see scoring/horizon.py
  scored_by: str = ''  # how answers were made


@dataclasses.dataclass(frozen=True)
class Run:
  """A run folder.

  Attributes:
    folder: its path.
    config: the nested config of the run.
    metrics: the lines of `metrics.jsonl`, in the order written.
    evaluations: all evaluations, by name.
    analyses: what `--mode=analyze` wrote, by name of the file: the files under
      `evaluations` that have a field `analysis`.
    environment: the content of `environment.json`, {} where there is none.
  """

  folder: pathlib.Path
  config: dict[str, Any]
  metrics: tuple[dict[str, Any], ...]
  evaluations: dict[str, Evaluation]
  analyses: dict[str, dict[str, Any]]
  environment: dict[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def model(self) -> str:
    """Name of the model."""
    return self.config['model']['name']

  @property
  def task(self) -> str:
    """The task's variant, or its name where it has no variants."""
    return self.config['task'].get('variant') or self.config['task']['name']

  @property
  def seed(self) -> int:
    """Seed of the run."""
    return self.config['seed']

  @property
  def seconds(self) -> float | None:
    """Seconds by the clock that training took; None where not written."""
    found = [line['seconds'] for line in self.metrics if 'seconds' in line]
    return found[-1] if found else None

  @property
  def cut_off(self) -> tuple[int, int] | None:
    """Step scored and steps asked for, of a run scored before its end."""
    if self.evaluation is None:
      return None
    steps = self.evaluation.step, self.config['train']['num_steps']
    return steps if steps[0] < steps[1] else None

  def plot_path(self, name: str) -> pathlib.Path:
    """Where the plot of a name is written."""
    return self.folder / 'plots' / f'{name}.png'

  def analysis_path(self, name: str) -> pathlib.Path:
    """Where an analysis was read from."""
    return self.folder / 'evaluations' / f'{name}.json'

  def analyses_of(
    self, kind: str, needed: Iterable[str]
  ) -> Iterator[tuple[str, dict[str, Any], pathlib.Path]]:
    """The analyses of a kind, with the suffix of their names and their files.

    Raises:
      UsageError: in one line that names the file, where a field is missing.
    """
    for name, found in self.analyses.items():
      if found['analysis'] == kind:
        path = self.analysis_path(name)
        require(found, needed, path)
        yield name.removeprefix(kind), found, path

  @property
  def evaluation(self) -> Evaluation | None:
    """The evaluation to report, or None where there is none.

    One on the test split is preferred; then the one at the latest step; then
    one that is not at `eval.look_ahead`; then the one that has the name of its
    split; then the first by name.
    """
    return max(
      (self.evaluations[name] for name in sorted(self.evaluations)),
      key=lambda e: (
        e.split == 'test',
        e.step,
        not e.name.startswith(AHEAD),
        e.name == e.split,
      ),
      default=None,
    )

  @property
  def ahead(self) -> Run | None:
    """The run with its evaluation at `eval.look_ahead` alone, None without.

    It is on the task of the one to report. Of several the one at the latest
    step is taken; then the one at the most look-aheads.
    """

    def task(evaluation):
      return [o for o in evaluation.overrides if not o.startswith('eval.')]

    return self._ahead(lambda e: task(e) == task(self.evaluation))

  def ahead_with(self, overrides: Iterable[str]) -> Run | None:
    """As `ahead`, of the evaluation with these overrides and no others."""
    return self._ahead(lambda e: sorted(e.overrides) == sorted(overrides))

  def _ahead(self, chosen: Callable[[Evaluation], bool]) -> Run | None:
    found = self.evaluations.values()
    best = max(
      (e for e in found if e.name.startswith(AHEAD) and chosen(e)),
      key=lambda e: (e.step, len(e.groups), e.name),
      default=None,
    )
    if best is None:
      return None
    return dataclasses.replace(self, evaluations={best.name: best})

  @property
  def further(self) -> tuple[Evaluation, ...]:
    """Evaluations like the one to report, but on other groups.

    For instance with `task.look_ahead=4` after training on 1 to 3. Nothing else
    of the task may differ, fields of `eval` may.
    """
    own = self.evaluation
    if own is None:
      return ()
    may_differ = 'eval.', f'task.{own.group_name}='
    return tuple(
      other
      for name, other in sorted(self.evaluations.items())
      if not name.startswith(AHEAD)
      and (other.split, other.step) == (own.split, own.step)
      and any(o.startswith(may_differ[1]) for o in other.overrides)
      and all(o.startswith(may_differ) for o in other.overrides)
    )

  @property
  def scores(self) -> tuple[Score, ...]:
    """Scores of all groups, of `further` too, in ascending order."""
    found = {}
    for evaluation in (*self.further, self.evaluation):
      found |= {score.group: score for score in evaluation.groups}
    return tuple(found[group] for group in sorted(found))

  def series(self, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A metric over the run, empty where it was never written.

    Of a step that was written twice the later value counts; values that are not
    finite are left out.

    Returns:
      steps int64 [N], ascending, and values float64 [N].
    """
    values = {
      line['step']: line[name]
      for line in self.metrics
      if line['split'] == split and line.get(name) is not None
    }
    steps = np.array(sorted(values), np.int64)
    y = np.array([values[step] for step in steps], np.float64)
    return steps[np.isfinite(y)], y[np.isfinite(y)]

  def group_metrics(self) -> dict[str, str]:
    """The metrics of validation that are the exact match of one group.

    Returns:
      names of metrics by name or number of the group, in the groups' order.
    """
    validations = [x for x in self.metrics if x['split'] == 'validation']
    names = {
      name.removeprefix(_GROUP_METRIC): name
      for line in validations
      for name in line
      if name.startswith(_GROUP_METRIC)
    }
    # Groups that have names are written in their order.
    order = sorted(names, key=lambda n: int(n) if n.isdecimal() else 0)
    return {name: names[name] for name in order}

  def phases(self) -> dict[str, dict[float, int | None]]:
    """Step of the first validation at which each group passes a threshold."""
    result = {}
    for group, metric in self.group_metrics().items():
      step, exact = self.series('validation', metric)
      passed = {t: step[exact >= t][:1].tolist() for t in THRESHOLDS}
      result[group] = {t: s[0] if s else None for t, s in passed.items()}
    return result


def have_names(groups: Iterable[str]) -> bool:
  """Whether groups have names, rather than numbers alone."""
  return any(not group.isdecimal() for group in groups)


def refuse(where: Any, what: str) -> NoReturn:
  """Raises the error for what a report cannot be made of.

  Args:
    where: the file, and the place in it; or the folder.
    what: is wrong.
  """
  raise errors.UsageError(f'{where}: {what}')


def require(value: dict[str, Any], names: Iterable[str], where: Any) -> None:
  """Refuses an object of a file that lacks one of these fields."""
  for name in names:
    if name not in value:
      refuse(where, f'no field {name!r}')


def load(folder: str | pathlib.Path) -> Run:
  """Reads a run folder.

  Raises:
    UsageError: in one line that names the file, for a folder that is no run
      folder, a file that is cut off, or a field that is missing.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    refuse(folder, 'no such folder')
  path = folder / 'config.json'
  if not path.is_file():
    refuse(folder, 'not a run folder, it has no config.json')
  config = read_json(path)
  path = folder / 'metrics.jsonl'
  metrics = _lines(path, ('step', 'split')) if path.is_file() else ()
  paths = sorted((folder / 'evaluations').glob('*.json'))
  found = {path.stem: read_json(path) for path in paths}
  path = folder / 'environment.json'
  environment = read_json(path) if path.is_file() else {}
  return assemble(folder, config, metrics, found, environment)


def assemble(
  folder: pathlib.Path,
  config: dict[str, Any],
  metrics: Iterable[dict[str, Any]],
  found: dict[str, dict[str, Any]],
  environment: dict[str, Any],
) -> Run:
  """A run from what was read.

  Args:
    folder: the run folder.
    config: the nested config.
    metrics: the lines of `metrics.jsonl`.
    found: content of the JSON files under `evaluations`, by name.
    environment: where it was run; {} where that was not written.

  Raises:
    UsageError: naming the file and the field that it lacks.
  """
  path = folder / 'config.json'
  require(config, ('seed', 'task', 'model'), path)
  for group in ('task', 'model'):
    require(config[group], ('name',), f'{path}: {group}')
  run = Run(folder, config, tuple(metrics), {}, {}, environment)
  for name, value in found.items():
    if 'analysis' in value:
      run.analyses[name] = value
    else:
      path = folder / 'evaluations' / f'{name}.json'
      run.evaluations[name] = _evaluation(path, value)
  return run


def read_json(path: pathlib.Path, needed: Iterable[str] = ()) -> dict[str, Any]:
  """Reads a JSON file that is one object; refuses it without these fields."""
  try:
    value = json.loads(path.read_bytes())
  except ValueError as error:
    refuse(path, f'not readable as JSON ({error})')
  require(value, needed, path)
  return value


def rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
  """Yields the rows of an evaluation, a sample each; none where not written.

  Fields of a row: `group`, `exact` (bool), `prediction` and `target` (a
  character for each cell); for some tasks `observed` (the same of each observed
  state) and `ceiling_exact_match`.
  """
  path = evaluation.rows_path
  if path.is_file():
    yield from _lines(path, ('group', 'exact', 'prediction', 'target'))


def _lines(
  path: pathlib.Path, needed: Sequence[str]
) -> Iterator[dict[str, Any]]:
  """Yields the object of each line of a file.

  A last line without a line break was cut off as it was written: it is left
  out.
  """
  with path.open('rb') as file:
    for number, line in enumerate(file, 1):
      try:
        value = json.loads(line)
      except ValueError:
        if not line.endswith(b'\n'):
          return
        refuse(path, f'line {number} is not readable as JSON')
      require(value, needed, f'{path}: line {number}')
      yield value


def _evaluation(path: pathlib.Path, found: dict[str, Any]) -> Evaluation:
  own = ('split', 'step', 'group_name')
  require(found, (*own, 'groups', 'overall'), path)
  groups = []
  for i, group in enumerate(found['groups']):
    require(group, ('group',), f'{path}: groups[{i}]')
    groups.append(_score(group, f'{path}: groups[{i}]'))
  return Evaluation(
    name=path.stem,
    **{name: found[name] for name in own},
    groups=tuple(sorted(groups, key=lambda score: score.group)),
    overall=_score(found['overall'], f'{path}: overall'),
    rows_path=path.with_suffix('.jsonl'),
    overrides=tuple(found.get('overrides', ())),
    horizon=found.get('horizon'),
    scored_by=found.get('scored_by', ''),
  )


def _score(found: dict[str, Any], where: str) -> Score:
  fields = dataclasses.fields(Score)
  needed = [f.name for f in fields if f.default is dataclasses.MISSING]
  require(found, needed, where)
  return Score(**{f.name: found[f.name] for f in fields if f.name in found})
