"""Heat maps of what `--mode=analyze` found inside of a model."""

import functools
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np

from reasoning_depth.report import runs, style

_MOST_ROWS, _MOST_COLUMNS = 6, 8
_MOST_TICKS = 8
_LEAST_HEIGHT = 3.6  # inches, for the label of the colour bar
_MOST_WRITTEN = 40  # cells of a panel that have their number in them
_RC = {**style.RC, 'axes.grid': False, 'xtick.labelsize': 8,
       'ytick.labelsize': 8}  # fmt: skip


def draw(run: runs.Run) -> list[pathlib.Path]:
  """Draws every lens and every patching sweep that a run has.

  Raises:
    ValueError: in one line that names the file, where it is damaged.
  """
  paths = []
  for path, make in pictures(run):
    with matplotlib.rc_context(_RC):
      paths.append(style.save(make(), path))
  return paths


def pictures(run: runs.Run) -> Iterator[tuple[pathlib.Path, Callable]]:
  """Where each picture goes, and what draws it; errors as of `draw`."""
  kinds = {'lens': _lenses, 'patching': _sweeps}
  for name, found in run.analyses.items():
    check = kinds.get(str(found['analysis']))
    if check:
      where = f'{run.folder / "evaluations" / name}.json'
      for words, title, make in check(found, where):
        path = '-'.join([name, *words]).replace(' ', '')
        title = f'{run.model} · {run.task} · {title}'
        yield run.plot(path), functools.partial(make, title=title)


def _lenses(found: dict[str, Any], where: str) -> Iterator[tuple]:
  """A picture for each lens and set of samples."""
  needed = {'positions': list, 'milestones': list, 'loop_name': str}
  runs.check(found, {**needed, 'logit': list}, where)
  loop, milestones = _word(found['loop_name']), _words(found['milestones'])
  positions = _words(found['positions'])
  for lens in ('logit', 'tuned'):
    entries = found.get(lens, [])
    for entry in entries if isinstance(entries, list) else ():
      runs.check(
        entry, {'set': str, 'num_samples': int, 'probability': list}, where
      )
      values = _array(entry['probability'], 4, where)
      if (values.shape[0], values.shape[3]) != (
        len(milestones), len(positions),
      ):  # fmt: skip
        raise ValueError(
          f'{where}: {lens}: probability is not of {len(milestones)} '
          f'milestones and {len(positions)} positions'
        )
      name = _word(entry['set'])
      yield (
        (lens, name),
        f'{lens} lens · {name} ({entry["num_samples"]:,} samples)',
        functools.partial(_lens, values, loop, milestones, positions),
      )


def _sweeps(found: dict[str, Any], where: str) -> Iterator[tuple]:
  """A picture for each kind of pairs."""
  runs.check(found, {'pairs': list, 'loop_name': str}, where)
  for entry in found['pairs']:
    needed = {'other': str, 'num_pairs': int, 'told_apart': int}
    runs.check(entry, {**needed, 'hooks': list}, where)
    hooks = []
    for hook in entry['hooks']:
      runs.check(hook, {'hook': str, 'places': list, 'recovered': list}, where)
      values = _array(hook['recovered'], 3, where)
      name, places = _word(hook['hook']), _words(hook['places'])
      if len(values) != len(places):
        raise ValueError(f'{where}: recovered is not of {len(places)} places')
      hooks.append((name, places, values))
    if not hooks:
      raise ValueError(f'{where}: hooks is empty')
    other = _word(entry['other'])
    yield (
      (other,),
      f'patching: other {other} ({entry["told_apart"]:,} of '
      f'{entry["num_pairs"]:,} pairs told apart)',
      functools.partial(_sweep, hooks, _word(found['loop_name'])),
    )


def _lens(
  values: np.ndarray,
  loop: str,
  milestones: list[str],
  positions: list[str],
  title: str,
) -> matplotlib.figure.Figure:
  """A row for each milestone, a panel a layer, position by loop.

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
  rows = _some(len(values), _MOST_ROWS)
  across = _some(len(columns), _MOST_COLUMNS)
  figure, axes = _grid(len(rows), len(across), values.shape[3], values.shape[1])
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
  hooks: Sequence[tuple[str, list[str], np.ndarray]], loop: str, title: str
) -> matplotlib.figure.Figure:
  """A row for each hook, a panel a place, loop by layer."""
  most = max(len(places) for _, places, _ in hooks)
  loops = max(values.shape[1] for _, _, values in hooks)
  layers = max(values.shape[2] for _, _, values in hooks)
  columns = _some(most, _MOST_COLUMNS)
  figure, axes = _grid(len(hooks), len(columns), loops, layers)
  for line, (name, places, values) in zip(axes, hooks, strict=True):
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
  """values [rows, columns]; the first row is at the bottom."""
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


def _grid(
  rows: int, columns: int, across: int, up: int
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
  """Panels of so many cells across and up."""
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


def _some(count: int, most: int) -> list[int]:
  """At most so many of the first `count` numbers, the ends among them."""
  if not count:
    return []
  return np.unique(
    np.linspace(0, count - 1, min(count, most)).round().astype(int)
  ).tolist()


def _numbers(count: int) -> list[str]:
  return [str(i + 1) for i in range(count)]


def _ticks(put: Any, names: list[str]) -> None:
  at = _some(len(names), _MOST_TICKS)
  long = any(len(names[i]) > 3 for i in at)
  turned = {'rotation': 30, 'ha': 'right'} if long else {}
  put(at, [names[i] for i in at], **turned)


def _array(value: Any, ndim: int, where: str) -> np.ndarray:
  """Nested lists as an array; None is NaN.

  Raises:
    ValueError: where they are not numbers in so many axes, or there are none.
  """
  try:
    array = np.array(value, np.float64)
  except (ValueError, TypeError, OverflowError):
    array = np.zeros(0)
  if array.ndim != ndim or not array.size:
    raise ValueError(f'{where}: not numbers in {ndim} axes')
  return array


def _word(text: Any) -> str:
  """A name out of a file, without what cannot be drawn."""
  return re.sub(r'[^\w =+():,.-]', '_', str(text))[:40]


def _words(names: list[Any]) -> list[str]:
  return [_word(name) for name in names]
