"""How time and memory grow with look-ahead, loops, cells, segments and length.

  python -m reasoning_depth.bench growth --out=FILE --plot=PLOT

Each axis is measured at some sizes, in turns; an exponent is the slope of
log(value) over log(size), at the three largest. Memory is what XLA's compiled
program holds beside its arguments. Weights are untrained: neither depends on
them. Beside the exponents stands what is promised: 1 is linear, 0 constant.
"""

import argparse
import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.figure
import numpy as np

from reasoning_depth import models, tasks
from reasoning_depth.bench import output
from reasoning_depth.report import style
from reasoning_depth.runtime import configuration
from reasoning_depth.scoring import look_ahead
from reasoning_depth.training import step

ROOT = pathlib.Path(__file__).parents[2]
BATCH = 8  # samples at once
_FITTED = 3  # largest sizes to which a line is fitted
Work = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class Axis:
  """Something that grows.

  Attributes:
    sizes: ascending.
    work: from a size to a function that can be jitted, and its arguments.
    time: the exponent of time that is promised; None for none.
    memory: likewise.
  """

  sizes: tuple[int, ...]
  work: Callable[[int], Work]
  time: float | None
  memory: float | None


def _built(name: str, **fields: Any) -> tuple[Any, Any, Any, Any]:
  """Config, task, model and parameters of a config with other fields."""
  c = configuration.load(f'{ROOT}/configs/{name}')
  configuration.apply(c, [f'--config.{n}={v}' for n, v in fields.items()])
  task = tasks.make(c.task)
  model = models.make(c.model, task)
  tokens = jnp.zeros((1, task.length), jnp.int32)
  return (
    c,
    task,
    model,
    jax.jit(model.init)(jax.random.key(0), tokens)['params'],
  )


def _training(name: str, **fields: Any) -> Work:
  """The gradient of a batch."""
  c, task, model, params = _built(name, **fields)
  batch = jax.jit(lambda key: task.sample(key, BATCH))(jax.random.key(0))

  def gradient(params, batch):
    return step.gradients(model, params, batch, jax.random.key(0), c.train)

  return gradient, (params, batch)


def _look_ahead(k: int) -> Work:
  """Answers k steps ahead, by as many steps of recall."""
  c, task, model, params = _built('recall.py:cpu')
  drawn = task.draw_held_out(jax.random.key(0), 'test', BATCH)
  places = np.flatnonzero(drawn.batch.weights[0])
  targets = np.zeros((BATCH, 1, len(places)), np.int32)
  run = look_ahead.along(model, (k,), places, c.train.loss)
  return run, (params, (drawn.batch.inputs, targets))


def _looped(loops: int, truncate: int = 0) -> Work:
  numbers = dict.fromkeys(('min_loops', 'mean_loops', 'max_loops'), loops)
  fields = {f'model.recurrence.{n}': v for n, v in numbers.items()} | {
    'model.recurrence.draw': 'fixed',
    'model.recurrence.truncate': truncate,
    'model.unroll': 1,
    'task.num_states': 4,
  }
  return _training('looped.py:cpu', **fields)


def _segments(count: int) -> Work:
  """ARMT on as many segments of one row each, the last one the answer."""
  fields = {
    'task.num_states': count - 1,
    'model.memory.segment_states': 1,
    'model.memory.repeat_states': 0,
    'model.memory.unroll': 1,
  }
  return _training('armt.py:cpu', **fields)


AXES = {
  'look-ahead, answer': Axis((64, 256, 1024), _look_ahead, 1, 0),
  'loops, training': Axis((4, 8, 16, 32), _looped, 1, 1),
  'loops, training, 2 with gradient': Axis(
    (32, 64, 128), lambda n: _looped(n, 2), 1, 0
  ),
  'segments, training': Axis((4, 8, 16, 32), _segments, 1, 1),
  'cells, training': Axis(
    (10, 20, 40, 80),
    lambda W: _training('recall.py:cpu', **{'task.width': W}),
    None,
    None,
  ),
}


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench growth`."""
  parser = argparse.ArgumentParser('growth')
  parser.add_argument('--axes', nargs='+', choices=AXES, metavar='AXIS',
                      default=list(AXES), help=', '.join(AXES))  # fmt: skip
  parser.add_argument('--sizes', type=int, nargs='+',
                      help="instead of an axis's own")  # fmt: skip
  parser.add_argument('--rounds', type=int, default=9)
  parser.add_argument('--out', help='file for the JSON')
  parser.add_argument('--plot', type=pathlib.Path, help='file for the picture')
  a = parser.parse_args(args)
  found = {}
  for name in a.axes:
    axis = AXES[name]
    found[name] = measure(axis, a.sizes or axis.sizes, a.rounds)
    setting = output.setting(a) | {'batch': BATCH}
    output.save('growth', {'setting': setting, 'axes': found}, a.out)
  print(table(found))
  if a.plot:
    plot(found, a.plot)


def measure(axis: Axis, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
  """Median seconds and bytes at each size, and their exponents."""
  compiled, arguments = {}, {}
  for size in sizes:
    function, arguments[size] = axis.work(size)
    compiled[size] = jax.jit(function).lower(*arguments[size]).compile()
    jax.block_until_ready(compiled[size](*arguments[size]))  # a warm-up
  seconds: dict[int, list[float]] = {size: [] for size in sizes}
  for _ in range(rounds):
    for size in sizes:
      started = time.perf_counter()
      jax.block_until_ready(compiled[size](*arguments[size]))
      seconds[size].append(time.perf_counter() - started)
  medians = [float(np.median(seconds[size])) for size in sizes]
  held = [compiled[n].memory_analysis().temp_size_in_bytes for n in sizes]
  return {
    'sizes': list(sizes),
    'seconds': medians,
    'bytes': held,
    'exponents': {
      'time': exponent(sizes, medians), 'memory': exponent(sizes, held),
    },
    'promised': {'time': axis.time, 'memory': axis.memory},
  }  # fmt: skip


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
  """Slope of log(value) over log(size) at the largest sizes."""
  x, y = (np.log(v[-_FITTED:]) for v in (sizes, values))
  return float(np.polyfit(x, y, 1)[0])


def table(found: Mapping[str, dict[str, Any]]) -> str:
  """Exponents and what is promised, as Markdown."""
  lines = [
    '| axis | sizes | time | promised | memory | promised |',
    '| --- | --- | ---: | ---: | ---: | ---: |',
  ]
  for name, f in found.items():
    cells = [name, ', '.join(map(str, f['sizes']))]
    for what in ('time', 'memory'):
      promised = f['promised'][what]
      cells.append(f'{f["exponents"][what]:.2f}')
      cells.append('–' if promised is None else str(promised))
    lines.append(f'| {" | ".join(cells)} |')
  return '\n'.join(lines)


@matplotlib.rc_context(style.RC)
def plot(found: Mapping[str, dict[str, Any]], path: pathlib.Path) -> None:
  """Draws exponents of time and memory, a row for each axis."""
  figure = matplotlib.figure.Figure(
    figsize=(9, 1.4 + 0.4 * len(found)), layout='constrained'
  )
  for axes, what in zip(figure.subplots(1, 2), ('time', 'memory'), strict=True):
    rows = np.arange(len(found))
    axes.plot(
      [f['exponents'][what] for f in found.values()], rows, 'o',
      color=style.BLUE, label='measured',
    )  # fmt: skip
    promised = [f['promised'][what] for f in found.values()]
    axes.plot(
      [np.nan if p is None else p for p in promised], rows, '|',
      color=style.VERMILLION, markersize=18, label='promised',
    )  # fmt: skip
    axes.set(xlabel=f'exponent of {what}', yticks=rows, yticklabels=found)
    axes.set_xlim(-0.3, 2.3)
    axes.invert_yaxis()
    axes.label_outer()
  axes.legend(loc='center left', bbox_to_anchor=(1, 0.5))
  style.save(figure, path)
