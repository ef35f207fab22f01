"""The table of scores at further look-aheads, a row for each setting."""

from collections.abc import Callable, Mapping, Sequence

from reasoning_depth.report import depth_table, runs

DETERMINED = (1, 16, 64)  # look-aheads with a column for determined samples
_BOUND = '≤ '
_NOTE = (
  'Mean over seeds, their range in parentheses. Ceiling: exact match of the '
  'best possible predictor on the same samples. Determined: exact match on '
  'samples whose answer the observed states determine. Slashes separate '
  'the look-aheads.'
)
_BOUND_NOTE = (
  f'{_BOUND}An upper bound, computed with what no predictor sees: true cells '
  'where flipped ones are shown, or entries of the rule.'
)
Of = Callable[[runs.Score], float | None]


def markdown(lines: Mapping[str, Sequence[runs.Run]]) -> str:
  """A table with a row for each line, in their order.

  Notes stand below it; runs that were cut off are named.

  Args:
    lines: by name, runs that differ in seed alone, each with the evaluation to
      show alone; see `runs.Run.ahead`.
  """
  every = (run for line in lines.values() for run in line)
  asked = sorted({score.group for run in every for score in run.scores})
  rows = [_cells(line, asked) for line in lines.values()]
  head = list(_cells([], asked))
  texts = [['setting', *head], ['---', *['---:'] * len(head)]]
  texts += [
    [name, *row.values()] for name, row in zip(lines, rows, strict=True)
  ]
  table = [f'| {" | ".join(row)} |' for row in texts]
  return '\n'.join([*table, '', *_notes(lines, rows)])


def _cells(line: Sequence[runs.Run], asked: Sequence[int]) -> dict[str, str]:
  """Texts of a row by the name of the column."""
  scores = [{s.group: s for s in run.scores} for run in line]

  def at(k: int, of: Of) -> list[float]:
    found = [of(seed[k]) for seed in scores if k in seed]
    return [value for value in found if value is not None]

  def means(of: Of) -> str:
    return ' / '.join(
      depth_table.number(at(k, of), with_range=False) for k in asked
    )

  bound = any(map(_is_bound, (s for seed in scores for s in seed.values())))
  reached = [run.evaluation.horizon for run in line]
  return {
    **{
      f'{"" if i else "k = "}{k}': depth_table.number(
        at(k, lambda s: s.exact_match)
      )
      for i, k in enumerate(asked)
    },
    'ceiling': _BOUND * bound + means(_ceiling),
    'of the ceiling': means(_share),
    **{
      f'determined, k = {k}': depth_table.number(
        at(k, lambda s: s.determined_exact_match)
      )
      for k in DETERMINED
      if k in asked
    },
    'horizon': depth_table.horizon([k for k in reached if k is not None]),
    'seeds': str(len(line)),
  }


def _ceiling(score: runs.Score) -> float | None:
  if score.ceiling_exact_match is None:
    return score.clean_ceiling_exact_match
  return score.ceiling_exact_match


def _share(score: runs.Score) -> float | None:
  best = _ceiling(score)
  return score.exact_match / best if best else None


def _is_bound(score: runs.Score) -> bool:
  """Whether its ceiling is higher than what a predictor can have."""
  if score.ceiling_exact_match is None:
    return score.clean_ceiling_exact_match is not None
  return score.ceiling_is_exact is not None and score.ceiling_is_exact < 1


def _notes(
  lines: Mapping[str, Sequence[runs.Run]], rows: Sequence[Mapping[str, str]]
) -> list[str]:
  """Lines below the table."""
  found = [_NOTE]
  if any(row['ceiling'].startswith(_BOUND) for row in rows):
    found.append(_BOUND_NOTE)
  for name, line in lines.items():
    for run in line:
      if run.cut_off:
        found.append(depth_table.cut_off(name, run.seed, *run.cut_off))
  return found
