"""How many layers a step of reasoning takes.

Plain transformers of 2 to 12 layers, one model for the look-aheads 1 to 4, so
that it learns the second step where it knows the first, or with --apart one for
each; on the same axis what repeats layers. Then ACT with other starts: the
paper's halting units begin with a bias of +1 and repeat a layer at most 4
times.
"""

import pathlib

from launch.grids import base
from reasoning_depth.report import compute, costs, depth_score, runs


def _row(words: str = '', config: str = 'transformer', **fields) -> base.Row:
  """A row, from fields of `config.model`."""
  flags = base.flags({f'model.{n}': value for n, value in fields.items()})
  return base.Row(config, words, flags=flags)


def _act(bias: int, most: int) -> base.Row:
  fields = {'halting.bias': bias, 'halting.max_steps': most}
  return _row('act=layer', **fields)


PLAIN = {f'layers_{n}': _row(num_layers=n) for n in (2, 4, 6, 8, 12)}
ROWS = PLAIN | {
  'fixed': _row('act=fixed'),
  'looped': _row(config='looped'),
  # The paper's, then the literature's bias, and more repetitions.
  'act': _act(1, 4),
  'act_bias-3': _act(-3, 4),
  'act_most_16': _act(1, 16),
  'act_bias-3_most_16': _act(-3, 16),
}


def applied_layers(run: runs.Run) -> float | None:
  """Layers applied one after another: each as often as it was in training."""
  cost, model = costs.of(run), run.config['model']
  if cost is None or cost.depth_steps is None:
    return None
  once = model.get('recurrence', {})
  return (
    model['num_layers'] * cost.depth_steps
    + once.get('prelude', 0)
    + once.get('coda', 0)
  )


def draw(finished: base.Finished, folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws shares of the ceiling against applied layers, then costs."""
  panels = {
    k: compute.points(finished, k, applied_layers)
    for k in depth_score.LOOK_AHEADS
  }
  path = compute.picture(
    panels,
    'layers applied one after another',
    'how many layers a step of reasoning takes',
    folder / 'layers.png',
    joined=tuple(PLAIN),
  )
  return ([path] if path else []) + compute.draw(finished, folder)


GRID = base.Grid(
  'layers, ACT, fixed computation and loops by look-ahead', ROWS, draw
)
