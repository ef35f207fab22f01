"""A grid: rows of runs, trained and then compared in one table."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from reasoning_depth.report import runs

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
  """

  config: str
  words: str = ''
  models: str = 'either'
  flags: tuple[str, ...] = ()
  start: str = ''
  paper: str = ''

  def together(self, apart: bool) -> bool:
    """Whether one run is trained for all look-aheads."""
    return self.models == 'one' or (self.models == 'either' and not apart)


@dataclasses.dataclass(frozen=True)
class Grid:
  """Rows, in the order in which they are trained and drawn.

  Attributes:
    meaning: one line.
    rows: by name.
    draw: draws what only this grid has; (finished runs, folder) → paths.
  """

  meaning: str
  rows: Mapping[str, Row]
  draw: Callable[[Finished, pathlib.Path], list[pathlib.Path]]
