"""Plots of metrics over training, and of exact match by look-ahead."""

import pathlib
from collections.abc import Sequence

import matplotlib
import matplotlib.axes
import matplotlib.axis
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from reasoning_depth.report import lines, runs, style

_LOSS, _EXACT, _BITS = 'loss', 'exact_match', 'bit_accuracy'
_LABELS = {
  _LOSS: 'loss (nats)',
  _EXACT: 'exact match (share of samples)',
  _BITS: 'bit accuracy (share of answer tokens)',
}
_NOISY = 30  # with at least this many points, a smoothed line is drawn
_REFERENCE_STYLES = {
  'ceiling_exact_match': '--',
  'repeat_last_exact_match': '-.',
  'majority_exact_match': ':',
}
_SAME = 0.01  # references of two lines that differ by less are drawn as one
_MAX_NAMED = 10  # groups in a legend; of more, evenly chosen ones
_WIDEST = 14  # inches, of a panel
_DODGE = 0.06  # shift between lines, so that error bars do not overlap


def smooth(values: np.ndarray, window: int) -> np.ndarray:
  """Means over a centred window, cut off at the ends.

  Args:
    values: float [N].
    window: odd, at least 1.
  """
  N, half = len(values), window // 2
  total = np.concatenate([[0.0], np.cumsum(values)])
  at = np.arange(N)
  first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, N)
  return (total[last] - total[first]) / (last - first)


@matplotlib.rc_context(style.RC)
def curves(run: runs.Run) -> pathlib.Path | None:
  """Draws loss and accuracies against the training step.

  Returns:
    The path written, or None for a run without metrics.
  """
  if not run.metrics:
    return None
  groups = run.group_metrics()
  shape = (2, 2) if len(groups) > 1 else (1, 3)
  figure = matplotlib.figure.Figure(
    figsize=(4.3 * shape[1], 3.3 * shape[0] + 0.6), layout='constrained'
  )
  axes = list(figure.subplots(*shape).flat)
  for ax, name in zip(axes, _LABELS, strict=False):
    _curve(ax, run, name)
  if len(groups) > 1:
    _group_curves(axes[3], run, groups)
  for ax in axes:
    ax.set_xlabel('training step')
    ax.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=''))
    if ax.get_xscale() == 'log':
      log_ticks(ax.xaxis)
      continue
    ax.xaxis.set_major_locator(
      matplotlib.ticker.MaxNLocator(5, steps=[1, 2, 5, 10])
    )
    ax.set_xlim(left=0)
  handles, labels = axes[1].get_legend_handles_labels()
  style.legend_below(figure, 3, handles=handles, labels=labels)
  figure.suptitle(_title(run))
  return style.save(figure, run.plot_path('curves'))


def _title(run: runs.Run) -> str:
  k = run.config['task'].get('look_ahead')
  k = ', '.join(map(str, k)) if isinstance(k, list) else k
  parts = [run.model, run.task] + [f'k = {k}'] * (k is not None)
  return ' · '.join([*parts, f'seed {run.seed}'])


def _curve(ax: matplotlib.axes.Axes, run: runs.Run, name: str) -> None:
  """Draws one metric on both splits."""
  step, train = run.series('train', name)
  if len(step) < _NOISY:
    ax.plot(step, train, color=style.BLUE, label='training')
  else:
    ax.plot(step, train, color=style.BLUE, alpha=0.25, linewidth=0.8)
    window = 2 * (len(step) // 50) + 3
    smoothed = smooth(train, window)
    ax.plot(step, smoothed, color=style.BLUE, label='training, smoothed')
  step, validation = run.series('validation', name)
  if len(step):
    drawn = {'color': style.VERMILLION, 'label': 'validation'}
    drawn |= {'marker': 'o', 'markersize': 3.5} if len(step) < _NOISY else {}
    ax.plot(step, validation, **drawn)
  ax.set_ylabel(_LABELS[name])
  if name == _LOSS:
    values = np.concatenate([train, validation])
    if len(values) and values.min() > 0 and values.max() > 8 * values.min():
      ax.set_yscale('log')
      log_ticks(ax.yaxis)
      ax.yaxis.set_major_formatter('{x:g}')
    return
  _unit_axis(ax)
  if run.evaluation is not None:
    ceiling = getattr(run.evaluation.overall, f'ceiling_{name}')
    if ceiling is not None:
      label = f'ceiling on the {run.evaluation.split} split'
      ax.axhline(ceiling, color=style.GREY, linestyle='--', label=label)


def log_ticks(axis: matplotlib.axis.Axis) -> None:
  """Puts ticks of a logarithmic axis at 1, 2, 5, 10, 20, …."""
  axis.set_major_locator(
    matplotlib.ticker.LogLocator(subs=(1, 2, 5), numticks=12)
  )
  axis.set_minor_locator(matplotlib.ticker.NullLocator())  # slow to draw


def _group_curves(
  ax: matplotlib.axes.Axes, run: runs.Run, groups: dict[str, str]
) -> None:
  """Draws exact match on validation, one line for each group."""
  colors = matplotlib.colormaps['viridis'](np.linspace(0, 0.85, len(groups)))
  every = -(-len(groups) // _MAX_NAMED)
  for i, (name, color) in enumerate(zip(groups, colors, strict=True)):
    step, exact = run.series('validation', groups[name])
    label = None if i % every else name
    ax.plot(step, exact, color=color, label=label)
  if runs.have_names(groups):  # these may be learnt far apart in time
    ax.set_xscale('log')
  name = run.evaluation.group_name if run.evaluation else 'group'
  ax.legend(title=group_label(name), ncols=2, loc='best')
  ax.set_ylabel('validation exact match')
  _unit_axis(ax)


def _unit_axis(ax: matplotlib.axes.Axes) -> None:
  """Shows 0 to 1, or from 0.4 where nothing lies below."""
  drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines]
  lowest = min((y.min() for y in drawn if len(y)), default=0)
  ax.set_ylim(0.4 if lowest >= 0.4 else 0, 1.02)


def group_label(name: str) -> str:
  """The label of an axis over groups."""
  return 'look-ahead k' if name == 'look_ahead' else name.replace('_', ' ')


@matplotlib.rc_context(style.RC)
def exact_match(
  all_lines: Sequence[lines.Line], path: pathlib.Path
) -> pathlib.Path | None:
  """Draws exact match against the look-ahead, with 95 % intervals.

  Args:
    all_lines: from `lines.join`; lines on the same data share a panel.
    path: where to write.

  Returns:
    The path, or None where there are no lines.
  """
  if not all_lines:
    return None
  panels: dict[tuple[str, str], list[lines.Line]] = {}
  for line in all_lines:
    panels.setdefault((line.panel, line.group_name), []).append(line)
  width = sum(
    min(2 + 0.7 * len(_groups(members)), _WIDEST) for members in panels.values()
  )
  figure = matplotlib.figure.Figure(
    figsize=(max(5.5, 1 + width), 4.2 + 0.2 * len(all_lines)),
    layout='constrained',
  )
  axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
  look = colors_and_markers(all_lines)
  handles = {}
  for ax, key in zip(axes, panels, strict=True):
    _panel(ax, panels[key], look)
    ax.set_title(key[0])
    found = zip(*ax.get_legend_handles_labels()[::-1], strict=True)
    handles |= dict(found)
  axes[0].set_ylabel('exact match (share of samples)')
  axes[0].set_ylim(-0.02, 1.02)
  splits = {line.split for line in all_lines}
  on = f' on the {splits.pop()} split' if len(splits) == 1 else ''
  figure.suptitle(f'exact match{on}, with 95 % intervals')
  style.legend_below(
    figure, 2, handles=list(handles.values()), labels=list(handles)
  )
  return style.save(figure, path)


def _groups(members: Sequence[lines.Line]) -> list[int]:
  return sorted({p.group for line in members for p in line.points})


def colors_and_markers(
  all_lines: Sequence[lines.Line],
) -> dict[str, dict[str, str]]:
  """Gives each label its colour and marker, the same in all panels."""
  labels = dict.fromkeys(line.label for line in all_lines)
  return {
    label: {
      'color': style.COLORS[i % len(style.COLORS)],
      'marker': style.MARKERS[i % len(style.MARKERS)],
    }
    for i, label in enumerate(labels)
  }


def _panel(
  ax: matplotlib.axes.Axes,
  members: Sequence[lines.Line],
  look: dict[str, dict[str, str]],
) -> None:
  """Draws the lines of one panel; the groups are evenly spaced."""
  place = {group: i for i, group in enumerate(_groups(members))}
  ax.set_xlim(-0.5, len(place) - 0.5)
  names = {p.group: p.name for line in members for p in line.points}
  ax.set_xticks(list(place.values()), [names[group] for group in place])
  ax.set_xlabel(group_label(members[0].group_name))
  for i, line in enumerate(members):
    shift = _DODGE * (i - (len(members) - 1) / 2)
    x = np.array([place[p.group] + shift for p in line.points])
    y = np.array([p.exact_match for p in line.points])
    bounds = np.array([p.interval for p in line.points]).T
    error, drawn = np.abs(bounds - y), look[line.label]
    ax.errorbar(x, y, error, label=line.label, capsize=3, **drawn)
    for at, point in zip(x, line.points, strict=True):
      seeds = list(point.by_seed.values())
      if len(seeds) > 1:  # on top of the mean's marker
        at = np.full(len(seeds), at)
        ax.scatter(at, seeds, 9, 'white', edgecolors=drawn['color'], zorder=3)
  if any(len(p.by_seed) > 1 for line in members for p in line.points):
    ax.scatter([], [], 9, 'white', edgecolors=style.GREY, label='single seed')
  for name, label in lines.REFERENCES.items():
    points = {
      line.label: {p.group: p.references.get(name) for p in line.points}
      for line in members
    }
    for whose, values in merged_if_equal(points).items():
      color = look[whose]['color'] if whose else style.GREY
      _reference(ax, name, f'{label} {whose}'.strip(), color, place, values)


def merged_if_equal(
  points: dict[str, dict[int, float | None]],
) -> dict[str, dict[int, float]]:
  """Merges references that are nearly the same into one, of the label ''.

  Args:
    points: by label, the reference at each group, None where there is none.
  """
  found = {
    label: {k: value for k, value in values.items() if value is not None}
    for label, values in points.items()
  }
  merged: dict[int, list[float]] = {}
  for values in found.values():
    for k, value in values.items():
      merged.setdefault(k, []).append(value)
  if any(max(values) - min(values) > _SAME for values in merged.values()):
    return {label: values for label, values in found.items() if values}
  mean = {k: float(np.mean(merged[k])) for k in sorted(merged)}
  return {'': mean} if mean else {}


def _reference(
  ax: matplotlib.axes.Axes,
  name: str,
  label: str,
  color: str,
  place: dict[int, int],
  values: dict[int, float],
) -> None:
  """Draws a ceiling or baseline, a little beyond its first and last group."""
  x, y = [place[k] for k in values], list(values.values())
  x, y = [x[0] - 0.3, *x, x[-1] + 0.3], [y[0], *y, y[-1]]
  linestyle = _REFERENCE_STYLES[name]
  ax.plot(x, y, color=color, linestyle=linestyle, label=label, zorder=1)
