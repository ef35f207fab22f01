"""Recall on orbits of random rules: encodes once, loops over the answer.

  python main.py --config=configs/recall.py

One encoder block, one core block; step k of the core answers for look-ahead k.
The default is the paper's size on look-ahead 1 to 4 (2508.16745). Not measured
at this size.

`:cpu` (the paper's lattice, width 64; one k from 1 to 4 drawn for each sample,
its answer alone supervised): trained in 2 min 17 s to 2 min 35 s on two CPU
cores beside other work. On 4,000 orbits of rules not seen in training, at
look-ahead 1, 2, 3, 4, 8, 16 and 64, exact match is 0.987 to 1.003 of the
ceiling, and 0.999 to 1.000 where the orbit determines the answer; seeds 0, 1, 2
(results/cpu/recall_cpu.json; also at 1,024: 1.000 of those determined). The
same at 12, 40 and 100 cells, untouched: 0.996 or more of those determined. With
`--config.model.relative_window=2` a cell sees nothing beyond its neighbourhood,
and exact match at 64 is 0.996 of the ceiling; seed 0
(results/cpu/recall_window_cpu.json). Rules of radius 3 (33 observed states, a
window of 3, 37 to 44 min on one core): 0.994, 1.000, 0.995 of those determined
at 16; seeds 0, 1, 2 (results/cpu/breaks/radius_3-k1-4-seed*.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  c = common.base('recall')
  c.task.layout = 'masked'
  c.model.num_layers = 1  # of the encoder
  c.model.num_heads = 8
  c.model.positions = 'relative'
  c.model.relative_start = 'cone'
  c.model.norm = 'rms'
  c.model.parallel_residual = False
  c.train.depth_loss = 'look_ahead'
  return common.build(arg, c, cpu)


def cpu(c: ml_collections.ConfigDict) -> None:
  c.task.look_ahead = (1, 2, 3, 4)
  c.task.variant = 'by_depth'
  c.eval.look_ahead = (1, 2, 3, 4, 8, 16, 64)
  c.train.num_steps = 1_000
  c.train.steps_per_dispatch = 10
