"""DepthScores and horizons as bars, beside the most that can be had."""

import pathlib
import statistics
from collections.abc import Mapping

import matplotlib
import matplotlib.figure

from reasoning_depth.report import depth_score, style

_LEAST, _MOST = 1, 4  # of a DepthScore
_INCHES = 0.27  # of a bar
_MOST_TICKS = 6  # of horizons


@matplotlib.rc_context({**style.RC, 'axes.grid.axis': 'x'})
def draw(
  sections: Mapping[str, Mapping[str, depth_score.Depth]],
  title: str,
  path: pathlib.Path,
) -> pathlib.Path | None:
  """Draws a bar for each row: the mean of its seeds, each seed a dot.

  On the right stand horizons, where any are known; the bar is their median.

  Args:
    sections: by their name ('' for none), rows by theirs, from top to bottom; a
      row without a DepthScore is left out.
    title: of the picture.
    path: where to write.

  Returns:
    the path, or None where no row has a DepthScore.
  """
  sections = {
    name: {n: row for n, row in rows.items() if _scores(row)}
    for name, rows in sections.items()
  }
  sections = {name: rows for name, rows in sections.items() if rows}
  if not sections:
    return None
  lines = sum(len(rows) + 1 for rows in sections.values())
  every = [row for rows in sections.values() for row in rows.values()]
  panels = 2 if any(map(_horizons, every)) else 1
  figure = matplotlib.figure.Figure(
    figsize=(9 + 3 * (panels - 1), _INCHES * lines + 1.6), layout='constrained'
  )
  axes = figure.subplots(
    1, panels, squeeze=False, sharey=True, width_ratios=[2, 1][:panels]
  )[0]
  y, ticks = 0, {}
  for name, rows in sections.items():
    axes[0].text(_LEAST + 0.01, y, name, size=9, style='italic', va='center')
    places = dict(zip(rows, range(y + 1, y + 1 + len(rows)), strict=True))
    _bars(axes[0], rows, places)
    if panels == 2:
      _horizon_bars(axes[1], rows, places)
    ticks |= places
    y += len(rows) + 1
  axes[0].set_yticks(list(ticks.values()), list(ticks))
  axes[0].set_ylim(y - 0.4, -0.6)
  axes[0].set_xlim(_LEAST, _MOST)
  axes[0].set_xlabel('DepthScore: 1 + exact match at look-ahead 2, 3 and 4')
  for ax in axes:
    ax.tick_params(axis='y', length=0)
  if panels == 2:
    _horizon_axis(axes[1], [k for row in every for k in _horizons(row)])
  figure.suptitle(title)
  handles, names = axes[0].get_legend_handles_labels()
  named = dict(zip(names, handles, strict=True))
  style.legend_below(figure, 4, handles=[*named.values()], labels=[*named])
  return style.save(figure, path)


def _scores(row: depth_score.Depth) -> list[float]:
  return row.depth_scores(depth_score.exact_match)


def _horizons(row: depth_score.Depth) -> list[int]:
  return row.each(lambda seed: seed.horizon)


def _horizon_bars(ax, rows: Mapping[str, depth_score.Depth], places) -> None:
  """Draws the horizons of a section's rows at their places."""
  for name, row in rows.items():
    found, at = _horizons(row), places[name]
    if found:
      ax.barh(at, statistics.median(found), 0.7, zorder=2, color=style.GREEN)
    if len(found) > 1:
      _dots(ax, found, at)


def _horizon_axis(ax, found: list[int]) -> None:
  """An axis over look-aheads, where 0 has a place too."""
  ax.set_xscale('symlog', base=2, linthresh=1)
  most = max(1, *found)
  ticks = [0, *(2**i for i in range(most.bit_length()))]
  every = -(-len(ticks) // _MOST_TICKS)
  ax.set_xticks(ticks[::every], ticks[::every])
  ax.set_xlim(0, 1.1 * most)
  ax.set_xlabel('horizon (look-ahead)')


def _dots(ax, values, at: int) -> None:
  ax.plot(
    values, [at] * len(values), 'o', color='white', markersize=4,
    markeredgecolor='black', zorder=4, clip_on=False, label='single seed',
  )  # fmt: skip


def _bars(ax, rows: Mapping[str, depth_score.Depth], places) -> None:
  """Draws the rows of a section at their places."""
  most = {}
  for name, row in rows.items():
    scores, at = _scores(row), places[name]
    cut = any(seed.cut_off for seed in row.seeds.values())
    ax.barh(
      at, statistics.fmean(scores) - _LEAST, 0.7, _LEAST, zorder=2,
      color=style.SKY if cut else style.BLUE,
      label='cut off at the time limit' if cut else 'trained to the end',
    )  # fmt: skip
    if len(scores) > 1:
      _dots(ax, scores, at)
    ceilings = row.depth_scores(depth_score.ceiling)
    if ceilings:
      most[at] = statistics.fmean(ceilings)
  # A line down the rows, as long as the first and the last bar are wide.
  ends = [(at + d, value) for at, value in most.items() for d in (-0.5, 0.5)]
  if ends:
    at, value = zip(*ends, strict=True)
    ax.plot(
      value, at, color=style.VERMILLION, linestyle='--', zorder=3,
      label='the most that can be had',
    )  # fmt: skip
