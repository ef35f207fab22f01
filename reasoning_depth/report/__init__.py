"""Plots and tables from run folders alone; models are not run.

`python -m reasoning_depth.report RUN [RUN ...]` reports on several runs.
"""

import dataclasses
import pathlib

from reasoning_depth.report import (
  ahead,
  depth_steps,
  heat_maps,
  lines,
  pictures,
  plots,
  runs,
  tables,
)


def write(run_folder: str | pathlib.Path) -> list[pathlib.Path]:
  """Draws every plot that one run has the data for, into its folder `plots`.

  Returns:
    The paths written.

  Raises:
    UsageError: in one line that names the file; see `runs.load`.
  """
  return draw(runs.load(run_folder))


def draw(run: runs.Run) -> list[pathlib.Path]:
  """Like `write`, for a run that has been read."""
  written = [
    plots.curves(run),
    plots.exact_match(lines.join([run]), run.plot_path('exact_match')),
    ahead.draw(ahead.join([run]), run.plot_path('look_ahead')),
    pictures.orbits(run),
    *heat_maps.draw(run),
    *depth_steps.draw(run),
  ]
  return [path for path in written if path is not None]


def summary(run_folder: str | pathlib.Path, evaluation: str = '') -> str:
  """The run's scores as a plain text table (Markdown).

  Args:
    run_folder: where the run is.
    evaluation: name of the evaluation to show, such as 'test-eval.rows=8', with
      the one at `eval.look_ahead` beside it; by default `Run.evaluation`.

  Raises:
    UsageError: in one line that names the file; see `runs.load`.
  """
  run = runs.load(run_folder)
  if evaluation:
    names = evaluation, evaluation.replace('test', 'look_ahead', 1)
    shown = {n: e for n, e in run.evaluations.items() if n in names}
    run = dataclasses.replace(run, evaluations=shown)
  return tables.markdown([run])
