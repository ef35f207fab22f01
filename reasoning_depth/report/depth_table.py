"""The table of DepthScores: scores, ceilings and costs of each row."""

import statistics
from collections.abc import Mapping, Sequence

from reasoning_depth.report import costs, depth_score

_MISSING = '–'
_NOTE = (
  'Mean over seeds, their range in parentheses. At most: the DepthScore of the '
  'ceiling on the same samples. Training, answer: floating-point operations of '
  'all updates and of one answer.'
)


def markdown(
  table: Mapping[str, depth_score.Depth], paper: Mapping[str, str]
) -> str:
  """A table of a row for each name, in ascending order of DepthScore.

  Notes stand below it: rows that learned nothing, runs that were cut off.

  Args:
    table: by name of the row.
    paper: by name of the row, what the paper reports; {} for no such column.
  """

  def order(name: str) -> tuple[float, str]:
    scores = table[name].depth_scores(depth_score.exact_match)
    return (sum(scores) / len(scores) if scores else 0, name)

  names = sorted(table, key=order)
  rows = [cells(table[name]) for name in names]
  head = list(cells(depth_score.Depth({})))
  texts = [['model', *head], ['---', *['---:'] * len(head)]]
  texts += [
    [name, *row.values()] for name, row in zip(names, rows, strict=True)
  ]
  if paper:
    last = ['the paper', '---', *(paper.get(n, 'not stated') for n in names)]
    texts = [[*row, end] for row, end in zip(texts, last, strict=True)]
  lines = [f'| {" | ".join(row)} |' for row in texts]
  return '\n'.join([*lines, '', *_notes(table)])


def cells(row: depth_score.Depth) -> dict[str, str]:
  """Texts of a row by the name of the column."""
  exact = {
    f'{"k = " if k == 1 else ""}{k}': number(row.at(k, depth_score.exact_match))
    for k in depth_score.LOOK_AHEADS
  }
  shares = [row.at(k, depth_score.share) for k in depth_score.LOOK_AHEADS]
  paid = row.each(lambda seed: seed.cost)
  minutes = [cost.minutes for cost in paid]
  return exact | {
    'of the ceiling': ' / '.join(
      f'{statistics.fmean(x):.2f}' if x else _MISSING for x in shares
    ),
    'DepthScore': number(row.depth_scores(depth_score.exact_match)),
    'at most': number(row.depth_scores(depth_score.ceiling), with_range=False),
    'horizon': horizon(row.each(lambda seed: seed.horizon)),
    'parameters': costs.short(paid[0].parameters) if paid else _MISSING,
    'training': _operations([cost.training for cost in paid]),
    'answer': _operations([cost.answer for cost in paid]),
    'minutes': f'{statistics.fmean(minutes):.1f}' if minutes else _MISSING,
    'seeds': str(len(row.seeds)),
  }


def _notes(table: Mapping[str, depth_score.Depth]) -> list[str]:
  """Lines below the table."""
  lines = [_NOTE]
  nothing = [name for name, row in table.items() if not row.learned]
  if nothing:
    lines.append(
      'Learned nothing in this budget (at no look-ahead above repeating the '
      f'last state or the majority): {", ".join(nothing)}.'
    )
  for name, row in table.items():
    for seed, found in row.seeds.items():
      for step, asked in found.cut_off:
        lines.append(cut_off(name, seed, step, asked))
  return lines


def cut_off(name: str, seed: int, step: int, asked: int) -> str:
  """Says that a run of a row was scored at a step before the last one."""
  return f'{name}, seed {seed}: cut off at step {step:,} of {asked:,}.'


def number(values: Sequence[float], with_range: bool = True) -> str:
  """The mean, and the range of several."""
  if not values:
    return _MISSING
  text = f'{statistics.fmean(values):.3f}'
  if with_range and len(values) > 1:
    text += f' ({min(values):.3f}–{max(values):.3f})'
  return text


def horizon(values: Sequence[int]) -> str:
  """The number, or the range of several."""
  ends = sorted({min(values), max(values)}) if values else [_MISSING]
  return '–'.join(map(str, ends))


def _operations(amounts: Sequence[costs.Amount]) -> str:
  if not amounts:
    return _MISSING
  return str(sum(amounts, costs.Amount()) * (1 / len(amounts)))
