"""What a run folder says, as plots and tables; reads folders, no models.

`python -m reasoning_depth.report RUN [RUN ...]` reports on several runs.
"""

import dataclasses
import pathlib

from reasoning_depth.report import (
  depth_steps,
  heat_maps,
  lines,
  pictures,
  plots,
  runs,
  tables,
)


def write(run_folder: str | pathlib.Path) -> list[pathlib.Path]:
  """Draws all that one run has to show, into its folder `plots`.

  Returns:
    The paths written. A plot is left out where the run has not written what
    it shows.

  Raises:
    ValueError: in one line that names the file; see `runs.load`.
  """
  return draw(runs.load(run_folder))


def draw(run: runs.Run) -> list[pathlib.Path]:
  """Like `write`, for a run that is read already."""
  scores = run.folder / 'plots' / 'exact_match.png'
  written = [
    plots.curves(run),
    plots.exact_match(lines.join([run]), scores),
    pictures.orbits(run),
    *heat_maps.draw(run),
    *depth_steps.draw(run),
  ]
  return [path for path in written if path is not None]


def summary(run_folder: str | pathlib.Path, evaluation: str = '') -> str:
  """The run's scores as a plain text table (Markdown).

  Args:
    run_folder: where the run is.
    evaluation: name of the evaluation that is told, if not the run's own.

  Raises:
    ValueError: in one line that names the file; see `runs.load`.
  """
  run = runs.load(run_folder)
  if evaluation:
    told = {evaluation: run.evaluations[evaluation]}
    run = dataclasses.replace(run, evaluations=told)
  return tables.markdown([run])
