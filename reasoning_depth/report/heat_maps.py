"""Heat maps of a lens and of activation patching (`--mode=analyze`)."""

import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np

from reasoning_depth.report import runs, style

_MOST_ROWS, _MOST_COLUMNS = 6, 8  # panels; of more, some are left out
_MOST_TICKS = 8
_LEAST_HEIGHT = 3.6  # inches, for the label of the colour bar
_MOST_WRITTEN = 40  # cells of a panel that show their value as a number
_RC = {**style.RC, 'axes.grid': False, 'xtick.labelsize': 8,
       'ytick.labelsize': 8}  # fmt: skip


def draw(run: runs.Run) -> list[pathlib.Path]:
  """Draws every lens and every patching sweep of a run; returns the paths."""
  paths = []
  for path, make in pictures(run):
    with matplotlib.rc_context(_RC):
      paths.append(style.save(make(), path))
  return paths


def pictures(run: runs.Run) -> Iterator[tuple[pathlib.Path, Callable]]:
  """Yields where each picture goes, and the function that makes its figure."""
  kinds = {'lens': _lenses, 'patching': _sweeps}
  for name, found in run.analyses.items():
    if found['analysis'] in kinds:
      pictures_of = kinds[found['analysis']]
      for words, title, make in pictures_of(found, run.analysis_path(name)):
        path = run.plot_path('-'.join([name, *words]).replace(' ', ''))
        title = f'{run.model} · {run.task} · {title}'
        yield path, functools.partial(make, title=title)


def _lenses(found: dict[str, Any], where: pathlib.Path) -> Iterator[tuple]:
  """Words of the name, title and function of each lens and set of samples."""
  own = ('loop_name', 'milestones', 'positions')
  runs.require(found, (*own, 'logit'), where)
  for lens in ('logit', 'tuned'):
    for entry in found.get(lens, ()):
      needed = ('set', 'num_samples', 'probability')
      runs.require(entry, needed, f'{where}: {lens}')
      values = np.array(entry['probability'], np.float64)  # None: NaN
      yield (
        (lens, entry['set']),
        f'{lens} lens · {entry["set"]} ({entry["num_samples"]:,} samples)',
        functools.partial(_lens, values, *(found[name] for name in own)),
      )


def _sweeps(found: dict[str, Any], where: pathlib.Path) -> Iterator[tuple]:
  """Words of the name, title and function of each kind of pairs."""
  runs.require(found, ('pairs', 'loop_name'), where)
  for entry in found['pairs']:
    needed = ('other', 'num_pairs', 'told_apart', 'hooks')
    runs.require(entry, needed, f'{where}: pairs')
    for hook in entry['hooks']:
      needed = ('hook', 'places', 'recovered')
      runs.require(hook, needed, f'{where}: hooks')
    other = entry['other']
    yield (
      (other,),
      f'patching\npairs with another {other}, of which the model tells '
      f'{entry["told_apart"]:,} of {entry["num_pairs"]:,} apart',
      functools.partial(_sweep, entry['hooks'], found['loop_name']),
    )


def _lens(
  values: np.ndarray,
  loop: str,
  milestones: list[str],
  positions: list[str],
  title: str,
) -> matplotlib.figure.Figure:
  """The probability of each milestone: a row each, and a panel a layer.

  In a panel, positions run to the right and loops upward.

  Args:
    values: [milestones, loops, layers, positions].
    loop: what a loop is called.
    milestones: names of the rows.
    positions: names of the columns of a panel.
    title: of the figure.
  """
  columns = [f'layer {i + 1}' for i in range(values.shape[2])]
  if values.shape[1] == 1:  # nothing is looped: layers take the loops' place
    values, loop, columns = values.swapaxes(1, 2), 'layer', ['']
  rows = _evenly(len(values), _MOST_ROWS)
  across = _evenly(len(columns), _MOST_COLUMNS)
  figure, axes = _panels(
    len(rows), len(across), values.shape[3], values.shape[1]
  )
  for line, k in zip(axes, rows, strict=True):
    for ax, c in zip(line, across, strict=True):
      image = _panel(ax, values[k, :, c], 'viridis', (0, 1))
      _ticks(ax.set_xticks, positions)
      _ticks(ax.set_yticks, _numbers(values.shape[1]))
    line[0].set_ylabel(f'{milestones[k]}\n\n{loop}')
  for ax, c in zip(axes[0], across, strict=True):
    ax.set_title(columns[c])
  figure.supxlabel('position', fontsize=style.RC['font.size'])
  figure.colorbar(image, ax=axes, label='probability (mean over samples)')
  figure.suptitle(title)
  return figure


def _sweep(
  hooks: Sequence[dict[str, Any]], loop: str, title: str
) -> matplotlib.figure.Figure:
  """What patching recovers: a row for each hook, and a panel a place.

  In a panel, loops run to the right and layers upward.

  Args:
    hooks: each with its name `hook`, the names of its `places`, and
      `recovered` [places, loops, layers].
    loop: what a loop is called.
    title: of the figure.
  """
  recovered = [np.array(hook['recovered'], np.float64) for hook in hooks]
  most, loops, layers = np.max([x.shape for x in recovered], axis=0)
  columns = _evenly(most, _MOST_COLUMNS)
  figure, axes = _panels(len(hooks), len(columns), loops, layers)
  for line, hook, values in zip(axes, hooks, recovered, strict=True):
    name, places = hook['hook'], hook['places']
    for ax, c in zip(line, columns, strict=True):
      if c >= len(places):
        ax.set_axis_off()
        continue
      image = _panel(ax, values[c].T, 'RdBu', (-1, 1))
      ax.set_title(places[c])
      _ticks(ax.set_xticks, _numbers(values.shape[1]))
      in_layers = values.shape[2] > 1
      _ticks(ax.set_yticks, _numbers(values.shape[2]) if in_layers else [])
    line[0].set_ylabel(f'{name}\n\nlayer' if in_layers else f'{name}\n\n')
  figure.supxlabel(loop, fontsize=style.RC['font.size'])
  label = 'share of the logit difference recovered'
  figure.colorbar(image, ax=axes, label=label, extend='both')
  figure.suptitle(title)
  return figure


def _panel(
  ax: matplotlib.axes.Axes,
  values: np.ndarray,
  cmap: str,
  limits: tuple[float, float],
) -> Any:
  """Draws values [rows, columns], the first row at the bottom."""
  low, high = limits
  image = ax.imshow(
    values, cmap, aspect='auto', origin='lower', vmin=low, vmax=high
  )
  if values.size <= _MOST_WRITTEN:
    for (y, x), value in np.ndenumerate(values):
      if np.isfinite(value):
        share = min(max((value - low) / (high - low), 0), 1)
        red, green, blue, _ = image.cmap(share)
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        ax.text(
          x, y, f'{value:.2f}', ha='center', va='center', fontsize=7,
          color='white' if dark else 'black',
        )  # fmt: skip
  return image


def _panels(
  rows: int, columns: int, across: int, up: int
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
  """A figure of panels that have so many cells across and up."""
  width = min(max(1.5, 0.38 * across), 5)
  height = min(max(1.2, 0.28 * up), 3.5)
  figure = matplotlib.figure.Figure(
    figsize=(
      max(2.2 + width * columns, 6.5),
      max(1.1 + (height + 0.3) * rows, _LEAST_HEIGHT),
    ),
    layout='constrained',
  )
  return figure, figure.subplots(rows, columns, squeeze=False)


def _evenly(count: int, most: int) -> list[int]:
  """At most `most` of the numbers below `count`, both ends among them."""
  return np.unique(
    np.linspace(0, count - 1, min(count, most)).round().astype(int)
  ).tolist()


def _numbers(count: int) -> list[str]:
  return [str(i + 1) for i in range(count)]


def _ticks(put: Any, names: list[str]) -> None:
  at = _evenly(len(names), _MOST_TICKS)
  long = any(len(names[i]) > 3 for i in at)
  turned = {'rotation': 30, 'ha': 'right'} if long else {}
  put(at, [names[i] for i in at], **turned)
