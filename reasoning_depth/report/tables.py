"""Tables of scores by group, for the terminal and as Markdown."""

from collections.abc import Sequence

import rich.box
import rich.table

from reasoning_depth.report import depth_score, runs

_MISSING = '–'
_DETERMINED = 'on determined'  # exact match on such samples
_TABLE = 'table'  # exact match of the baseline of that name
_OPTIONAL = (_DETERMINED, _TABLE)  # left out where no row has them
_BOUND = '*'
_BOUND_NOTE = (
  f'{_BOUND} An upper bound: for some samples the ceiling was computed with '
  'information that no predictor has.'
)
TEXT = ('run', 'model', 'variant', 'split')  # columns that align left


def cells(
  all_runs: Sequence[runs.Run], ahead: bool = False
) -> list[dict[str, str]]:
  """The rows of the table: text by column name, a row for each group of a run.

  A run with several groups has a last row over all its samples; a run without
  an evaluation has no row. There are columns for run and seed where there are
  several runs, for the split where it differs, and for the samples whose answer
  is determined where that is known.

  Args:
    all_runs: to show.
    ahead: shows their evaluations at `eval.look_ahead`, without the last row.
  """
  found = [run.ahead if ahead else run for run in all_runs]
  found = [run for run in found if run and run.evaluation is not None]
  names = {run.evaluation.group_name for run in found}
  group_name = names.pop() if len(names) == 1 else 'group'
  column = 'k' if group_name == 'look_ahead' else group_name
  mixed = len({run.evaluation.split for run in found}) > 1
  table = []
  for run in found:
    scores = list(run.scores)
    if len(run.evaluation.groups) > 1 and not ahead:
      scores.append(run.evaluation.overall)
    head = {'run': run.folder.resolve().name, 'seed': str(run.seed)}
    head = head if len(all_runs) > 1 else {}
    head |= {'model': run.model, 'variant': run.task}
    head |= {'split': run.evaluation.split} if mixed else {}
    for score in scores:
      table.append(head | {column: score.name} | _numbers(score))
  empty = [n for n in _OPTIONAL if all(r[n] == _MISSING for r in table)]
  return [{n: x for n, x in r.items() if n not in empty} for r in table]


def markdown(all_runs: Sequence[runs.Run]) -> str:
  """The table as Markdown, aligned so that it reads well as plain text.

  Below it stand that of `eval.look_ahead` and the `notes`.
  """
  parts = []
  for ahead in (False, True):
    if table := cells(all_runs, ahead):
      parts += [*_markdown(table), '']
  return '\n'.join([*parts, *notes(all_runs)]).strip()


def _markdown(table: list[dict[str, str]]) -> list[str]:
  texts = [list(table[0]), *(list(row.values()) for row in table)]
  widths = [max(3, *map(len, c)) for c in zip(*texts, strict=True)]
  left = [name in TEXT for name in table[0]]
  rule = [
    '-' * width if to_left else '-' * (width - 1) + ':'
    for width, to_left in zip(widths, left, strict=True)
  ]
  texts.insert(1, rule)
  return [_line(text, widths, left) for text in texts]


def pretty(
  all_runs: Sequence[runs.Run], ahead: bool = False
) -> rich.table.Table:
  """The table for a terminal, without the `notes`; arguments as of `cells`.

  Columns of text that are the same in all rows stand in the title.
  """
  table = cells(all_runs, ahead)
  columns = list(table[0]) if table else []
  same = [
    name
    for name in columns
    if name in TEXT and len({row[name] for row in table}) == 1
  ]
  columns = [name for name in columns if name not in same]
  drawn = rich.table.Table(
    title=' · '.join(table[0][name] for name in same) if same else None,
    box=rich.box.SIMPLE_HEAD,
    padding=0,
    pad_edge=False,
    collapse_padding=True,
  )
  for name in columns:
    justify = 'left' if name in TEXT else 'right'
    head = '\n'.join(name.rsplit(' ', 1))
    drawn.add_column(head, justify=justify, vertical='bottom', no_wrap=True)
  for row in table:
    drawn.add_row(*(row[name] for name in columns))
  return drawn


def notes(all_runs: Sequence[runs.Run]) -> list[str]:
  """Lines below the table: split, bounds, phases, horizon, time, left out."""
  splits = {run.evaluation.split for run in all_runs if run.evaluation}
  found = [f'Scores on the {splits.pop()} split.'] if len(splits) == 1 else []
  for row in (*cells(all_runs), *cells(all_runs, ahead=True)):
    if row['ceiling'].endswith(_BOUND):
      found.append(_BOUND_NOTE)
      break
  for run in all_runs:
    head = f'{run.folder.resolve().name}: ' if len(all_runs) > 1 else ''
    if runs.have_names(run.group_metrics()):
      found += [head + text for text in _phases(run)]
    if run.ahead:
      found += [
        f'{head}further look-aheads by {run.ahead.evaluation.scored_by}'
      ]
    if (reached := depth_score.horizon([run])) is not None:
      found.append(f'{head}horizon: {_horizon(reached)}')
    if run.seconds is not None:
      found.append(f'{head}trained for {duration(run.seconds)}')
  return found + [
    f'{run.folder}: no evaluation yet'
    for run in all_runs
    if run.evaluation is None
  ]


def _phases(run: runs.Run) -> list[str]:
  """A line for each group: the steps at which it passes thresholds."""
  return [
    f'{group}: '
    + ', '.join(
      f'{t:g} not passed' if step is None else f'{t:g} passed at step {step:,}'
      for t, step in steps.items()
    )
    for group, steps in run.phases().items()
  ]


def _horizon(reached: int) -> str:
  """What `scoring/horizon.py` says, in words."""
  if not reached:
    return 'none, the first look-ahead is not close to the ceiling'
  return f'close to the ceiling up to look-ahead {reached}'


def duration(seconds: float) -> str:
  """Seconds in hours, minutes and seconds."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes} min'
  return f'{minutes} min {seconds} s' if minutes else f'{seconds} s'


def _line(texts: list[str], widths: list[int], left: list[bool]) -> str:
  padded = [
    text.ljust(width) if to_left else text.rjust(width)
    for text, width, to_left in zip(texts, widths, left, strict=True)
  ]
  return f'| {" | ".join(padded)} |'


def _numbers(score: runs.Score) -> dict[str, str]:
  low, high = score.exact_match_interval
  ceiling = _number(score.ceiling_exact_match)
  if score.ceiling_is_exact is not None and score.ceiling_is_exact < 1:
    ceiling += _BOUND
  return {
    'n': str(score.num_samples),
    'exact match': _number(score.exact_match),
    '95 % interval': f'{low:.3f}–{high:.3f}',
    'ceiling': ceiling,
    'share of ceiling': _number(score.share_of_ceiling),
    _DETERMINED: _number(score.determined_exact_match),
    'repeat last': _number(score.repeat_last_exact_match),
    'majority': _number(score.majority_exact_match),
    _TABLE: _number(score.table_exact_match),
    'bit accuracy': _number(score.bit_accuracy),
  }


def _number(value: float | None) -> str:
  return _MISSING if value is None else f'{value:.3f}'
