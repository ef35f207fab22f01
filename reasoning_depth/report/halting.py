"""Depth steps taken at each position, of models that halt by themselves.

What is drawn here is `evaluations/samples.json`, as analysis/samples.py writes
it.
"""

import pathlib
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np

from reasoning_depth.report import runs, style

NAME = 'halting'  # that the plots begin with
ANALYSIS = 'samples'


@matplotlib.rc_context({**style.RC, 'axes.grid': False})
def draw(run: runs.Run) -> list[pathlib.Path]:
  """Draws the map of every such analysis of a run; returns the paths.

  Raises:
    UsageError: in one line that names the file, where a field is missing.
  """
  paths = []
  title = f'{run.model} · {run.task} · seed {run.seed}'
  needed = 'mean_steps', 'row_tokens', 'num_samples', 'loop_name'
  for suffix, found, _ in run.analyses_of(ANALYSIS, needed):
    if found['mean_steps'] is not None:
      path = run.plot_path(f'{NAME}{suffix}')
      paths.append(style.save(halting_map(found, title), path))
  return paths


def halting_map(found: dict[str, Any], title: str) -> matplotlib.figure.Figure:
  """Draws mean steps: rows of tokens below each other, or along one line."""
  steps, row = np.array(found['mean_steps'], float), found['row_tokens']
  figure = matplotlib.figure.Figure(layout='constrained')
  ax = figure.subplots()
  label = f'{found["loop_name"]}s, mean over {found["num_samples"]:,} samples'
  if row == 1:
    figure.set_size_inches(7, 3)
    ax.step(range(len(steps)), steps, where='mid', color=style.BLUE)
    ax.set_xlabel('position')
    ax.set_ylabel(label)
    ax.set_ylim(bottom=0)
  else:
    whole = np.full(-(-len(steps) // row) * row, np.nan)
    whole[: len(steps)] = steps
    whole = whole.reshape(-1, row)
    figure.set_size_inches(
      np.clip(2.2 + 0.2 * row, 5.5, 14),
      np.clip(1.4 + 0.2 * len(whole), 2.6, 10),
    )
    image = ax.imshow(whole, cmap='viridis', aspect='auto')
    ax.set_xlabel('token of the row')
    ax.set_ylabel('row')
    figure.colorbar(image, label=label)
  figure.suptitle(f'{title} · where depth steps are taken')
  return figure
