"""Exact match on the validation split over training, of several runs."""

import pathlib
from collections.abc import Sequence

import matplotlib
import matplotlib.figure
import matplotlib.ticker

from reasoning_depth.report import lines, plots, style


@matplotlib.rc_context(style.RC)
def draw(
  all_lines: Sequence[lines.Line], path: pathlib.Path
) -> pathlib.Path | None:
  """Draws a line for each run, in the colour of its setting.

  Args:
    all_lines: from `lines.join`.
    path: where to write.

  Returns:
    The path, or None where no run has been validated.
  """
  look = plots.colors_and_markers(all_lines)
  drawn = [
    (line.label, *run.series('validation', 'exact_match'))
    for line in all_lines
    for run in line.members
  ]
  drawn = [(label, x, y) for label, x, y in drawn if len(x)]
  if not drawn:
    return None
  names = dict.fromkeys(label for label, *_ in drawn)
  figure = matplotlib.figure.Figure(
    figsize=(8, 3.8 + 0.2 * len(names)), layout='constrained'
  )
  ax = figure.subplots()
  for label, x, y in drawn:
    first = names[label] is None
    names[label] = label
    ax.plot(
      x, y, label=label if first else None, linewidth=1.2, markersize=3,
      **look[label],
    )  # fmt: skip
  ax.set_xlabel('training step')
  ax.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=''))
  ax.set_xlim(left=0)
  ax.set_ylabel('validation exact match')
  ax.set_ylim(-0.02, 1.02)
  figure.suptitle('exact match over training, a line for each run')
  style.legend_below(figure, 2)
  return style.save(figure, path)
