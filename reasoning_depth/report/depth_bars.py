"""DepthScores as bars, beside the most that can be had."""

import pathlib
import statistics
from collections.abc import Mapping

import matplotlib
import matplotlib.figure

from reasoning_depth.report import depth_score, style

_LEAST, _MOST = 1, 4  # of a DepthScore
_INCHES = 0.27  # of a bar


@matplotlib.rc_context({**style.RC, 'axes.grid.axis': 'x'})
def draw(
  sections: Mapping[str, Mapping[str, depth_score.Depth]],
  title: str,
  path: pathlib.Path,
) -> pathlib.Path | None:
  """Draws a bar for each row: the mean of its seeds, each seed a dot.

  Args:
    sections: by their name, rows by theirs, from top to bottom; a row without a
      DepthScore is left out.
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
  figure = matplotlib.figure.Figure(
    figsize=(9, _INCHES * lines + 1.6), layout='constrained'
  )
  ax = figure.subplots()
  y, ticks = 0, {}
  for name, rows in sections.items():
    ax.text(_LEAST + 0.01, y, name, size=9, style='italic', va='center')
    places = dict(zip(rows, range(y + 1, y + 1 + len(rows)), strict=True))
    _bars(ax, rows, places)
    ticks |= places
    y += len(rows) + 1
  ax.set_yticks(list(ticks.values()), list(ticks))
  ax.set_ylim(y - 0.4, -0.6)
  ax.set_xlim(_LEAST, _MOST)
  ax.set_xlabel('DepthScore: 1 + exact match at look-ahead 2, 3 and 4')
  ax.tick_params(axis='y', length=0)
  figure.suptitle(title)
  handles, names = ax.get_legend_handles_labels()
  named = dict(zip(names, handles, strict=True))
  style.legend_below(figure, 4, handles=[*named.values()], labels=[*named])
  return style.save(figure, path)


def _scores(row: depth_score.Depth) -> list[float]:
  return row.depth_scores(depth_score.exact_match)


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
      ax.plot(
        scores, [at] * len(scores), 'o', color='white', markersize=4,
        markeredgecolor='black', zorder=4, label='single seed',
      )  # fmt: skip
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
