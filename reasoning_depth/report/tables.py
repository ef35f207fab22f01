"""Tables of exact match per look-ahead, for the terminal and as Markdown."""

from collections.abc import Sequence

import rich.box
import rich.table

from reasoning_depth.report import runs

_MISSING = '–'
_BOUND = '*'
_BOUND_NOTE = (
  f'{_BOUND} An upper bound: for some samples the ceiling was told what no '
  'predictor can know.'
)
_TEXT = ('run', 'model', 'variant', 'split')  # columns that align left


def cells(all_runs: Sequence[runs.Run]) -> list[dict[str, str]]:
  """The table as text: a row for each group of each run, by column name.

  A run with several groups has a last row over all its samples, a run without
  an evaluation has none. Run and seed are there with several runs, the split
  where they are scored on different ones.
  """
  found = [run for run in all_runs if run.evaluation is not None]
  names = {run.evaluation.group_name for run in found}
  group_name = names.pop() if len(names) == 1 else 'group'
  column = 'k' if group_name == 'look_ahead' else group_name
  mixed = len({run.evaluation.split for run in found}) > 1
  table = []
  for run in found:
    scores = list(run.scores)
    if len(run.evaluation.groups) > 1:
      scores.append(run.evaluation.overall)
    head = {'run': run.folder.resolve().name, 'seed': str(run.seed)}
    head = head if len(all_runs) > 1 else {}
    head |= {'model': run.model, 'variant': run.task}
    head |= {'split': run.evaluation.split} if mixed else {}
    for score in scores:
      table.append(head | {column: score.name} | _numbers(score))
  return table


def markdown(all_runs: Sequence[runs.Run]) -> str:
  """The table as Markdown that is aligned to be read as it is.

  Runs without an evaluation are named below it.
  """
  table = cells(all_runs)
  parts = []
  if table:
    texts = [list(table[0]), *(list(row.values()) for row in table)]
    widths = [max(3, *map(len, c)) for c in zip(*texts, strict=True)]
    left = [name in _TEXT for name in table[0]]
    rule = [
      '-' * width if to_left else '-' * (width - 1) + ':'
      for width, to_left in zip(widths, left, strict=True)
    ]
    texts.insert(1, rule)
    parts += [_line(text, widths, left) for text in texts]
  return '\n'.join([*parts, *([''] if parts else []), *notes(all_runs)]).strip()


def pretty(all_runs: Sequence[runs.Run]) -> rich.table.Table:
  """The table for a terminal; `notes` belong below it.

  What is the same in all rows stands in the title, not in a column.
  """
  table = cells(all_runs)
  columns = list(table[0]) if table else []
  same = [
    name
    for name in columns
    if name in _TEXT and len({row[name] for row in table}) == 1
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
    justify = 'left' if name in _TEXT else 'right'
    head = '\n'.join(name.rsplit(' ', 1))
    drawn.add_column(head, justify=justify, vertical='bottom', no_wrap=True)
  for row in table:
    drawn.add_row(*(row[name] for name in columns))
  return drawn


def notes(all_runs: Sequence[runs.Run]) -> list[str]:
  """What the table does not say: split, bounds, phases, runs left out."""
  splits = {run.evaluation.split for run in all_runs if run.evaluation}
  found = [f'Scores on the {splits.pop()} split.'] if len(splits) == 1 else []
  for row in cells(all_runs):
    if row['ceiling'].endswith(_BOUND):
      found.append(_BOUND_NOTE)
      break
  for run in all_runs:
    if runs.named(run.group_metrics()):
      head = f'{run.folder.resolve().name}: ' if len(all_runs) > 1 else ''
      found += [head + text for text in _phases(run)]
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
    'repeat last': _number(score.repeat_last_exact_match),
    'majority': _number(score.majority_exact_match),
    'bit accuracy': _number(score.bit_accuracy),
  }


def _number(value: float | None) -> str:
  return _MISSING if value is None else f'{value:.3f}'
