"""The models of figure 5 of 2508.16745, and some that came later.

The figure ranks twenty models by DepthScore; it gives an order, no numbers.
There a model is trained for each look-ahead. Here one is trained for all four,
the paper's multi-horizon setting, or with --apart one for each.
"""

import pathlib

from launch.grids import base
from reasoning_depth.report import compute, depth_bars, depth_score


def _row(place: int, config: str, words: str = '', **fields) -> base.Row:
  """A row of the figure, by its place there."""
  if 'o_o' in words or 'cot' in words:
    fields['models'] = 'one'
  paper = [f'place {place} of 20', fields.pop('paper', '')]
  paper = '; '.join(filter(None, paper))
  return base.Row(config, words, paper=paper, **fields)


_O_O = 'task=o_o,curriculum'
_COT = '> 0.90 at each k'
# In ascending order of DepthScore in the paper.
PLACES = {
  'lstm+act': _row(1, 'lstm', 'act=layer'),
  'lstm': _row(2, 'lstm'),
  'mamba+act': _row(3, 'mamba', 'act=layer'),
  'mamba': _row(4, 'mamba'),
  'gptneox+o_o': _row(5, 'transformer', _O_O),
  'armt+fct+o_o': _row(6, 'armt', f'act=fixed,{_O_O}'),
  'gptneox': _row(
    7, 'transformer',
    paper='one for each k: 0.95 / 0.40 / < 0.25 / < 0.25; one for all: 0.32 at '
    'k = 2, 0.19 at 4',
  ),
  'armt+fct': _row(8, 'armt', 'act=fixed'),
  'armt+o_o': _row(9, 'armt', _O_O),
  'armt': _row(10, 'armt', paper='one for all k: 0.43 at k = 2'),
  'armt+act': _row(11, 'armt', 'act=layer'),
  'gptneox+fct+o_o': _row(12, 'transformer', f'act=fixed,{_O_O}'),
  'gptneox+act': _row(13, 'transformer', 'act=layer'),
  'gptneox+act+o_o': _row(14, 'transformer', f'act=layer,{_O_O}'),
  'gptneox+fct': _row(15, 'transformer', 'act=fixed'),
  'armt+act+o_o': _row(16, 'armt', f'act=layer,{_O_O}'),
  # A prompt does not tell the look-ahead, so it is the same for all of a run.
  'gptneox+grpo': _row(
    17, 'grpo', models='each', start='transformer:task=cot,k=1'
  ),
  'gptneox_12_layers': _row(
    18, 'transformer', flags=('--config.model.num_layers=12',)
  ),
  'armt+cot': _row(19, 'armt', 'task=cot', paper=_COT),
  'gptneox+cot': _row(20, 'transformer', 'task=cot', paper=_COT),
}  # fmt: skip
LATER = {name: base.Row(name) for name in ('rmt', 'looped', 'trm', 'recall')}


def draw(finished: base.Finished, folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws DepthScores in the paper's order, then costs."""
  sections = {
    title: {
      name: depth_score.depth(finished[name])
      for name in rows
      if name in finished
    }
    for title, rows in (
      ("in the paper's order, from its lowest to its highest", PLACES),
      ('not in the paper', LATER),
    )
  }
  path = folder / 'depth_score.png'
  drawn = depth_bars.draw(sections, 'DepthScore', path)
  return ([drawn] if drawn else []) + compute.draw(finished, folder)


GRID = base.Grid(
  'the models of figure 5 of 2508.16745, and rmt, looped, trm, recall',
  PLACES | LATER,
  draw,
)
