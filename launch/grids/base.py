"""A grid: rows of runs, trained and then compared in one table."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reasoning_depth.report import ahead_table, depth_score, depth_table, runs

# Finished runs by the name of their row.
Finished = Mapping[str, Sequence[runs.Run]]
LOOK_AHEADS = 'k=1-4'  # of a run for all of them


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table: how its runs are trained.

  Attributes:
    config: name of a file under configs/, without '.py'.
    words: what follows the colon in --config, without the look-ahead.
    models: 'one' for all look-aheads, one for 'each', or 'either': one, and
      with --apart one for each.
    flags: further flags for main.py.
    start: config and words of a run whose weights each run of the row starts
      from; '' for none.
    paper: what the paper reports; '' for nothing.
    evaluations: flags of evaluations after training, by what the table calls
      them; '' for one that stands for the row.
  """

  config: str
  words: str = ''
  models: str = 'either'
  flags: tuple[str, ...] = ()
  start: str = ''
  paper: str = ''
  evaluations: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )

  def together(self, apart: bool) -> bool:
    """Whether one run is trained for all look-aheads."""
    return self.models == 'one' or (self.models == 'either' and not apart)


def flags(fields: Mapping[str, Any]) -> tuple[str, ...]:
  """Flags for main.py from fields of the config, by dotted name."""
  return tuple(
    f'--config.{name}={value}'.replace(' ', '')
    for name, value in fields.items()
  )


def depth_scores(rows: Mapping[str, Row], finished: Finished) -> str:
  """A table of DepthScores, with what the paper reports."""
  return depth_table.markdown(
    {name: depth_score.depth(found) for name, found in finished.items()},
    {name: row.paper for name, row in rows.items() if row.paper},
  )


def look_aheads(rows: Mapping[str, Row], finished: Finished) -> str:
  """A table of scores at `eval.look_ahead`, of runs and their evaluations."""
  lines = {}
  for name, members in finished.items():
    lines[name] = [run.ahead for run in members]
    for what, extra in rows[name].evaluations.items():
      overrides = [flag.removeprefix('--config.') for flag in extra]
      line = ', '.join(filter(None, [name, what]))
      lines[line] = [run.ahead_with(overrides) for run in members]
  found = {name: [run for run in line if run] for name, line in lines.items()}
  return ahead_table.markdown({n: line for n, line in found.items() if line})


@dataclasses.dataclass(frozen=True)
class Grid:
  """Rows, in the order in which they are trained and drawn.

  Attributes:
    meaning: one line.
    rows: by name.
    draw: draws pictures of finished runs in a folder; returns their paths.
    table: the table of finished runs, as Markdown.
  """

  meaning: str
  rows: Mapping[str, Row]
  draw: Callable[[Finished, pathlib.Path], list[pathlib.Path]] = (
    lambda finished, folder: []
  )
  table: Callable[[Mapping[str, Row], Finished], str] = depth_scores
