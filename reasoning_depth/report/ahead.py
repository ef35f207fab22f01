"""Exact match against the look-ahead, far beyond training, and the ceiling."""

import pathlib
from collections.abc import Callable, Sequence

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np

from reasoning_depth.report import lines, plots, runs, style

_CEILING = 'ceiling_exact_match'
_MOST_TICKS = 12


def join(all_runs: Sequence[runs.Run]) -> list[lines.Line]:
  """As `lines.join`, of the runs' evaluations at `eval.look_ahead`."""
  return lines.join([run.ahead for run in all_runs if run.ahead])


@matplotlib.rc_context(style.RC)
def draw(
  all_lines: Sequence[lines.Line], path: pathlib.Path
) -> pathlib.Path | None:
  """Draws a band for each group of seeds, 95 %, on a logarithmic axis.

  On the left all samples, with the ceiling; on the right those whose answer is
  determined. Lines on different data are below each other.

  Args:
    all_lines: from `join`.
    path: where to write.

  Returns:
    The path, or None where there are no lines.
  """
  if not all_lines:
    return None
  panels: dict[str, list[lines.Line]] = {}
  for line in all_lines:
    panels.setdefault(line.panel, []).append(line)
  look = plots.colors_and_markers(all_lines)
  figure = matplotlib.figure.Figure(
    figsize=(10, 1 + 3.4 * len(panels) + 0.2 * len(all_lines)),
    layout='constrained',
  )
  axes = figure.subplots(len(panels), 2, squeeze=False, sharey=True)
  handles = {}
  for row, (name, members) in zip(axes, panels.items(), strict=True):
    for ax, title, of in zip(
      row,
      ('all samples', 'samples whose answer is determined'),
      (lambda p: (p.exact_match, p.interval), lambda p: p.determined),
      strict=True,
    ):
      _axis(ax, members)
      ax.set_title(' · '.join(filter(None, [name, title])))
      for line in members:
        _band(ax, line, of, look[line.label])
    _ceilings(row[0], members, look)
    row[0].set_ylabel('exact match (share of samples)')
    labelled = row[0].get_legend_handles_labels()[::-1]
    handles |= dict(zip(*labelled, strict=True))
  axes[0, 0].set_ylim(-0.02, 1.02)
  figure.suptitle('exact match by look-ahead, with 95 % intervals')
  style.legend_below(
    figure, 2, handles=list(handles.values()), labels=list(handles)
  )
  return style.save(figure, path)


def _axis(ax: matplotlib.axes.Axes, members: Sequence[lines.Line]) -> None:
  """A logarithmic axis with the look-aheads themselves as ticks."""
  asked = sorted({p.group for line in members for p in line.points})
  ax.set_xscale('log', base=2)
  every = -(-len(asked) // _MOST_TICKS)
  ax.set_xticks(asked[::every], asked[::every])
  ax.set_xticks([], minor=True)
  ax.set_xlabel(plots.group_label(members[0].group_name))


def _band(
  ax: matplotlib.axes.Axes,
  line: lines.Line,
  of: Callable[[lines.Point], tuple[float, tuple[float, float]] | None],
  drawn: dict[str, str],
) -> None:
  """Draws one line with its band; `of` gives value and interval of a point."""
  found = {p.group: of(p) for p in line.points if of(p) is not None}
  if not found:
    return
  x = list(found)
  y = [value for value, _ in found.values()]
  low, high = np.array([bounds for _, bounds in found.values()]).T
  ax.fill_between(x, low, high, color=drawn['color'], alpha=0.2, linewidth=0)
  ax.plot(x, y, label=line.label, markersize=4, **drawn)


def _ceilings(
  ax: matplotlib.axes.Axes,
  members: Sequence[lines.Line],
  look: dict[str, dict[str, str]],
) -> None:
  points = {
    line.label: {p.group: p.references.get(_CEILING) for p in line.points}
    for line in members
  }
  for whose, values in plots.merged_if_equal(points).items():
    ax.plot(
      list(values), list(values.values()), linestyle='--', zorder=1,
      color=look[whose]['color'] if whose else style.GREY,
      label=f'{lines.REFERENCES[_CEILING]} {whose}'.strip(),
    )  # fmt: skip
