"""Plots, tables and pages from run folders alone; models are not run.

`python -m reasoning_depth.report RUN [RUN ...]` reports on several runs.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from reasoning_depth.report import (
  ahead,
  depth_steps,
  halting,
  heat_maps,
  lines,
  pictures,
  plots,
  runs,
  tables,
)
from reasoning_depth.report.pages import look_inside, sections
from reasoning_depth.report.pages import report as report_page


def write(run_folder: str | pathlib.Path) -> list[pathlib.Path]:
  """Draws every plot that one run has the data for, and writes its pages.

  Plots go into its folder `plots`; `report.html` and, after `--mode=analyze`,
  `look_inside.html` go into the run folder itself.

  Returns:
    The paths written.

  Raises:
    UsageError: in one line that names the file; see `runs.load`.
  """
  run = runs.load(run_folder)
  drawn = draw(run)
  return [*drawn, *write_pages(run, drawn)]


def write_pages(
  run: runs.Run, drawn: Sequence[pathlib.Path]
) -> list[pathlib.Path]:
  """Writes the pages of a run; `drawn` are its plots. Returns the paths."""
  inside = look_inside.write(run)
  named = sections.by_setting([run])
  return [*inside, report_page.write(named, drawn, run.folder)]


def draw(run: runs.Run) -> list[pathlib.Path]:
  """Draws every plot of a run; returns the paths."""
  written = [
    plots.curves(run),
    plots.exact_match(lines.join([run]), run.plot_path('exact_match')),
    ahead.draw(ahead.join([run]), run.plot_path('look_ahead')),
    pictures.orbits(run),
    *heat_maps.draw(run),
    *depth_steps.draw(run),
    *halting.draw(run),
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


def summary_of_answers(name: str, scores: dict[str, Any]) -> str:
  """As `summary`, of answers made elsewhere.

  Args:
    name: of whoever made them.
    scores: what `--mode=score` writes.
  """
  config = {'model': {'name': name}, **{n: scores[n] for n in ('task', 'seed')}}
  found = runs.assemble(pathlib.Path(name), config, (), {'test': scores}, {})
  return tables.markdown([found])
