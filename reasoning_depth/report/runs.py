"""Reading a run folder: its config, its metrics and its evaluations."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from reasoning_depth.runtime import configuration

_INT64 = 2**63
THRESHOLDS = (0.5, 0.9)  # of exact match, between phases of training
_LARGE = 1e3  # no share is; that of the ceiling can be above 1


@dataclasses.dataclass(frozen=True)
class Score:
  """What an evaluation says of one group of samples, or of all of them.

  Attributes have the names and meaning of the fields in the file; those that
  a task need not have are None where the file has none.
  """

  num_samples: int
  exact_match: float
  exact_match_interval: tuple[float, float]  # 95 %
  bit_accuracy: float
  group: int | None = None  # None: all samples
  label: str = ''  # of the group, where groups have names
  ceiling_exact_match: float | None = None
  ceiling_bit_accuracy: float | None = None
  ceiling_is_exact: float | None = None  # share of samples
  share_of_ceiling: float | None = None
  repeat_last_exact_match: float | None = None
  majority_exact_match: float | None = None

  @property
  def name(self) -> str:
    """The group's name or number, or 'all'."""
    return self.label or ('all' if self.group is None else str(self.group))


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """`evaluations/<name>.json`, and the path of the rows beside it."""

  name: str
  split: str
  step: int
  group_name: str  # what `Score.group` counts, such as 'look_ahead'
  groups: tuple[Score, ...]  # in ascending order of the group
  overall: Score
  rows_path: pathlib.Path  # may not exist
  overrides: tuple[str, ...] = ()  # where it is not as the run was trained


@dataclasses.dataclass(frozen=True)
class Run:
  """A run folder.

  Attributes:
    folder: where it is.
    config: the nested config of the run.
    metrics: the lines of `metrics.jsonl`, in the order written.
    evaluations: all there are, by name.
    analyses: files beside them that have a field `analysis`, by name; not
      checked.
  """

  folder: pathlib.Path
  config: dict[str, Any]
  metrics: tuple[dict[str, Any], ...]
  evaluations: dict[str, Evaluation]
  analyses: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

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

  def plot(self, name: str) -> pathlib.Path:
    """Where the picture of a name goes, which may be that of a file."""
    name = re.sub(r'[^\w.=-]', '_', name)[:100]
    return self.folder / 'plots' / f'{name}.png'

  @property
  def evaluation(self) -> Evaluation | None:
    """The evaluation to report, or None where there is none.

    On the test split rather than another, then the one at the latest step,
    then the one that is named as its split, then the first by name.
    """
    return max(
      (self.evaluations[name] for name in sorted(self.evaluations)),
      key=lambda e: (e.split == 'test', e.step, e.name == e.split),
      default=None,
    )

  @property
  def further(self) -> tuple[Evaluation, ...]:
    """Those beside the one to report that differ in its groups alone.

    Such as other numbers of pairs than in training; `eval` may differ as well.
    """
    own = self.evaluation
    if own is None:
      return ()
    may_differ = 'eval.', f'task.{own.group_name}='
    return tuple(
      other
      for name, other in sorted(self.evaluations.items())
      if (other.split, other.step) == (own.split, own.step)
      and any(o.startswith(may_differ[1]) for o in other.overrides)
      and all(o.startswith(may_differ) for o in other.overrides)
    )

  @property
  def scores(self) -> tuple[Score, ...]:
    """Of the groups of the evaluation and of `further`, in ascending order."""
    found = {}
    for evaluation in (*self.further, self.evaluation):
      found |= {score.group: score for score in evaluation.groups}
    return tuple(found[group] for group in sorted(found))

  def series(self, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A metric over the run, empty where it was never written.

    A step that was written twice (a resumed run repeats some) has the later
    value; values that are not finite are left out.

    Returns:
      steps int64 [N], ascending, and values float64 [N].

    Raises:
      ValueError: naming the file and the step of a value that is no number.
    """
    values = {}
    for line in self.metrics:
      if line['split'] == split and line.get(name) is not None:
        where = f'{self.folder / "metrics.jsonl"}: step {line["step"]}'
        check(line, {name: float}, where)
        values[line['step']] = line[name]
    steps = np.array(sorted(values), np.int64)
    y = np.array([values[step] for step in steps], np.float64)
    return steps[np.isfinite(y)], y[np.isfinite(y)]

  def group_metrics(self) -> dict[str, str]:
    """Names of the metrics that are exact match on a group of validation.

    Returns:
      by name or number of the group, in the order of the groups.
    """
    validations = [x for x in self.metrics if x['split'] == 'validation']
    metrics = dict.fromkeys(name for line in validations for name in line)
    found = [re.fullmatch(r'exact_match_(\w+)', name) for name in metrics]
    names = {match[1]: match[0] for match in found if match}
    # Those that have names are written in their order.
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


def named(groups: Iterable[str]) -> bool:
  """Whether groups have names, and not only numbers."""
  return any(not group.isdecimal() for group in groups)


def load(folder: str | pathlib.Path) -> Run:
  """Reads a run folder.

  Raises:
    ValueError: in one line that names the file, for a folder that is no run
      folder, a file that is damaged, or a field that is missing.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise ValueError(f'{folder}: no such folder')
  if not (folder / 'config.json').is_file():
    raise ValueError(f'{folder}: not a run folder, it has no config.json')
  config = _config(folder / 'config.json')
  metrics = ()
  path = folder / 'metrics.jsonl'
  if path.is_file():
    needed = {'step': int, 'split': str}
    metrics = tuple(line for _, line in _lines(path, needed))
  evaluations, analyses = {}, {}
  for path in sorted((folder / 'evaluations').glob('*.json')):
    found = read_object(path, {})
    if 'analysis' in found:
      analyses[path.stem] = found
    else:
      evaluations[path.stem] = _evaluation(path, found)
  return Run(folder, config, metrics, evaluations, analyses)


def rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
  """Yields the rows of an evaluation, a sample each; none where not written.

  Raises:
    ValueError: naming file and line, for a row that is damaged, or whose
      prediction, target and observed states do not fit together.
  """
  path = evaluation.rows_path
  if not path.is_file():
    return
  needed = {'group': int, 'exact': bool, 'prediction': str, 'target': str}
  may_have = {'observed': list, 'ceiling_exact_match': float}
  for number, row in _lines(path, needed):
    where = f'{path}: line {number}'
    given = {k: v for k, v in may_have.items() if row.get(k) is not None}
    check(row, given, where)
    if len(row['prediction']) != len(row['target']):
      raise ValueError(
        f'{where}: prediction has {len(row["prediction"])} characters, '
        f'target {len(row["target"])}'
      )
    states = row.get('observed') or ()
    widths = {len(x) if isinstance(x, str) else 0 for x in states}
    if widths and (
      len(widths) > 1 or 0 in widths or len(row['target']) % max(widths)
    ):
      raise ValueError(
        f'{where}: observed states {sorted(widths)} cells wide, '
        f'target {len(row["target"])}'
      )
    yield row


def _lines(
  path: pathlib.Path, needed: dict[str, type]
) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields the number, from 1, and the object of each line of a file.

  A last line without its end was cut off as it was written: it is left out.
  """
  with path.open('rb') as file:
    for number, line in enumerate(file, 1):
      try:
        value = json.loads(line)
      except (ValueError, RecursionError):  # ValueError: not UTF-8 as well
        if not line.endswith(b'\n'):
          return
        raise ValueError(f'{path}: line {number} is damaged') from None
      check(value, needed, f'{path}: line {number}')
      yield number, value


def check(value: Any, needed: Mapping[str, type], where: str) -> None:
  """Raises ValueError unless `value` has the fields, of these types."""
  if not isinstance(value, dict):
    raise ValueError(f'{where}: not an object of named values')
  for name, kind in needed.items():
    if name not in value:
      raise ValueError(f'{where}: no field {name!r}')
    v = value[name]
    kinds = (int, float) if kind is float else (kind,)
    # Numbers go into arrays, and True is no number.
    if type(v) not in kinds or (type(v) is int and abs(v) >= _INT64):
      text = configuration.shown(repr(v))
      raise ValueError(f'{where}: {name}={text}, not of type {kind.__name__}')


def read_object(
  path: pathlib.Path, needed: Mapping[str, type]
) -> dict[str, Any]:
  """Reads a JSON file that is one object with certain fields.

  Raises:
    ValueError: in one line that names the file, and the field if it is one.
  """
  try:
    value = json.loads(path.read_bytes())
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(f'{path}: not readable as JSON ({error})') from None
  check(value, needed, str(path))
  return value


def _config(path: pathlib.Path) -> dict[str, Any]:
  config = read_object(path, {'seed': int, 'task': dict, 'model': dict})
  for group in ('task', 'model'):
    check(config[group], {'name': str}, f'{path}: {group}')
  if 'variant' in config['task']:
    check(config['task'], {'variant': str}, f'{path}: task')
  if 'train' in config:
    check(config, {'train': dict}, str(path))
  try:
    flat = configuration.flatten(config)
  except RecursionError:
    raise ValueError(f'{path}: nested too deep') from None
  for name, value in flat.items():
    if isinstance(value, list) and any(
      isinstance(v, list | dict) for v in value
    ):
      raise ValueError(f'{path}: {configuration.shown(name)} holds groups')
  return config


def _evaluation(path: pathlib.Path, found: dict[str, Any]) -> Evaluation:
  needed = {'split': str, 'step': int, 'group_name': str}
  check(found, {**needed, 'groups': list, 'overall': dict}, str(path))
  if not found['groups']:
    raise ValueError(f'{path}: groups is empty')
  overrides = found.get('overrides', [])
  check({'overrides': overrides}, {'overrides': list}, str(path))
  if not all(isinstance(o, str) for o in overrides):
    raise ValueError(f'{path}: overrides are no texts')
  groups = []
  for i, group in enumerate(found['groups']):
    where = f'{path}: groups[{i}]'
    check(group, {'group': int}, where)
    label = group.get('label', '')
    if not isinstance(label, str) or not re.fullmatch(r'\w*', label):
      raise ValueError(f'{where}: label is no word')
    score = _score(group, where)
    groups.append(dataclasses.replace(score, label=label))
  return Evaluation(
    name=path.stem,
    **{name: found[name] for name in needed},
    groups=tuple(sorted(groups, key=lambda score: score.group)),
    overall=_score(found['overall'], f'{path}: overall'),
    rows_path=path.with_suffix('.jsonl'),
    overrides=tuple(overrides),
  )


def _score(found: dict[str, Any], where: str) -> Score:
  needed = {
    'num_samples': int,
    'exact_match': float,
    'exact_match_interval': list,
    'bit_accuracy': float,
  }
  check(found, needed, where)
  interval = found['exact_match_interval']
  if len(interval) != 2:
    raise ValueError(f'{where}: exact_match_interval is not [low, high]')
  low_high = {'low': float, 'high': float}
  bounds = dict(zip(low_high, interval, strict=True))
  check(bounds, low_high, f'{where}: exact_match_interval')
  names = {field.name for field in dataclasses.fields(Score)} - {'label'}
  fields = {name: found[name] for name in names if found.get(name) is not None}
  check(fields, {name: float for name in fields if name not in needed}, where)
  counted = {'num_samples', 'group', 'exact_match_interval'}
  shares = bounds | {k: v for k, v in fields.items() if k not in counted}
  for name, value in shares.items():
    if not -_LARGE < value < _LARGE:  # NaN is not, either
      raise ValueError(f'{where}: {name}={value} is no share of anything')
  fields['exact_match_interval'] = tuple(interval)
  return Score(**fields)
