"""Equal compute: exact match, as a share of the ceiling, against costs."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np

from reasoning_depth.report import costs, labels, plots, runs, style

# What stands on the axis, by the name of the picture.
AXES: dict[str, tuple[str, Callable[[costs.Cost], float]]] = {
  'parameters': ('parameters', lambda cost: cost.parameters),
  'training': (
    'floating-point operations of training',
    lambda cost: cost.training.operations,
  ),
  'answer': (
    'floating-point operations of one answer',
    lambda cost: cost.answer.operations,
  ),
}
GROUPS = (1, 4)  # the nearest and the farthest look-ahead of training
# Room on both sides, for names: a share of the width, and a factor at least.
_MARGIN, _LEAST_ROOM = 0.15, 1.3


@dataclasses.dataclass(frozen=True)
class Point:
  """One row at one group: the mean over seeds, and the range of its scores.

  Attributes:
    name: of the row.
    model: by which it is coloured.
    x: what it costs.
    share: exact match as a share of the ceiling.
    low: smallest share of a seed.
    high: largest.
  """

  name: str
  model: str
  x: float
  share: float
  low: float
  high: float


def points(
  named: Mapping[str, Sequence[runs.Run]],
  group: int,
  x: Callable[[runs.Run], float | None],
) -> list[Point]:
  """A point for each row with runs that have a share at a group.

  Args:
    named: runs by the name of their row; they differ in seed and group only.
    group: such as the look-ahead.
    x: what a run costs; None leaves it out.
  """
  found = []
  for name, members in named.items():
    own = [
      (x(run), score.share_of_ceiling)
      for run in members
      for score in run.scores
      if score.group == group and score.share_of_ceiling is not None
    ]
    own = [(at, share) for at, share in own if at is not None]
    if own:
      shares = [share for _, share in own]
      found.append(
        Point(
          name,
          members[0].model,
          sum(at for at, _ in own) / len(own),
          sum(shares) / len(shares),
          min(shares),
          max(shares),
        )
      )
  return found


def draw(
  named: Mapping[str, Sequence[runs.Run]],
  folder: pathlib.Path,
  groups: Sequence[int] = GROUPS,
) -> list[pathlib.Path]:
  """Draws a picture for each of `AXES` of the runs whose costs are known.

  Args:
    named: runs by the name of their row.
    folder: where the pictures go, as `compute_NAME.png`.
    groups: a panel for each.

  Returns:
    the paths; [] where there is nothing to draw.
  """
  written = []
  for name, (label, value) in AXES.items():

    def x(run, value=value):
      cost = costs.of(run)
      return cost and value(cost)

    panels = {group: points(named, group, x) for group in groups}
    title = 'share of the ceiling at equal compute'
    path = folder / f'compute_{name}.png'
    written.append(picture(panels, label, title, path))
  return [path for path in written if path]


@matplotlib.rc_context(style.RC)
def picture(
  panels: Mapping[int, Sequence[Point]],
  label: str,
  title: str,
  path: pathlib.Path,
  joined: Sequence[str] = (),
) -> pathlib.Path | None:
  """Draws shares of the ceiling on a logarithmic axis, a panel for each group.

  Args:
    panels: points by group; groups without any are left out.
    label: of the axis.
    title: of the picture.
    path: where to write.
    joined: names of rows that a line joins.

  Returns:
    the path, or None where there are no points.
  """
  panels = {group: found for group, found in panels.items() if found}
  if not panels:
    return None
  columns = min(2, len(panels))
  rows = -(-len(panels) // columns)
  width, height = 7 * columns, 5 * rows + 0.4
  figure = matplotlib.figure.Figure(figsize=(width, height))
  axes = figure.subplots(
    rows, columns, squeeze=False, sharex=True, sharey=True,
    gridspec_kw={
      # In inches, for all that can stand around panels: names are placed in
      # the final layout, and finding one takes a second.
      'left': 0.7 / width, 'right': 1 - 0.2 / width, 'bottom': 0.6 / height,
      'top': 1 - 0.7 / height, 'wspace': 0.06, 'hspace': 0.12,
    },
  )  # fmt: skip
  models = dict.fromkeys(p.model for found in panels.values() for p in found)
  colors = {
    model: style.COLORS[i % len(style.COLORS)] for i, model in enumerate(models)
  }
  _scale(axes[0, 0], [p.x for found in panels.values() for p in found])
  for ax, (group, found) in zip(axes.flat, panels.items(), strict=False):
    _panel(ax, group, found, colors, joined)
  for ax in axes.flat[len(panels) :]:
    ax.set_axis_off()
  for ax in axes[-1]:
    ax.set_xlabel(label)
  for ax in axes[:, 0]:
    ax.set_ylabel('exact match, share of the ceiling')
  figure.suptitle(title)
  for ax, found in zip(axes.flat, panels.values(), strict=False):
    labels.write(
      ax,
      [p.x for p in found],
      [p.share for p in found],
      [p.name for p in found],
      [colors[p.model] for p in found],
    )
  return style.save(figure, path)


def _scale(ax: matplotlib.axes.Axes, values: Sequence[float]) -> None:
  """Makes the axis of all panels logarithmic, with room for names."""
  low, high = min(values), max(values)
  room = max((high / low) ** _MARGIN, _LEAST_ROOM)
  ax.set_xscale('log')
  ax.set_xlim(low / room, high * room)


def _panel(
  ax: matplotlib.axes.Axes,
  group: int,
  found: Sequence[Point],
  colors: Mapping[str, str],
  joined: Sequence[str],
) -> None:
  """Draws the points of one group."""
  plots.log_ticks(ax.xaxis)
  ax.xaxis.set_major_formatter(lambda value, _: costs.short(value))
  ax.set_ylim(-0.08, 1.12)
  ax.axhline(1, color=style.GREY, linestyle='--', linewidth=1)
  ax.set_title(f'look-ahead k = {group}', loc='left')
  line = sorted((p.x, p.share) for p in found if p.name in joined)
  if line:
    ax.plot(*zip(*line, strict=True), color=style.GREY, linewidth=1, zorder=1)
  # All points of a colour at once: an artist for each takes seconds.
  for color in dict.fromkeys(colors.values()):
    own = [p for p in found if colors[p.model] == color]
    if own:
      x, y, low, high = zip(
        *((p.x, p.share, p.low, p.high) for p in own), strict=True
      )
      error = np.abs(np.array([low, high]) - y)
      ax.errorbar(x, y, error, color=color, fmt='o', capsize=2, linewidth=1)
