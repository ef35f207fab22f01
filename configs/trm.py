"""Tiny Recursive Model on orbits of random rules (2510.04871).

  python main.py --config=configs/trm.py

The default is a small model reported by a reader of 2508.16745: width 128,
two layers, three cycles of six inner steps, batch 16, 2,500 steps, k = 1.
Not measured at this size.

  python main.py --config=configs/trm.py:cpu,k=1-4 \\
    --config.train.num_steps=1000

Stopped after 370 updates, 30.5 min on one core of an AMD EPYC beside other
work, seed 0: 0.047, 0.066, 0.047, 0.046 at k = 1 to 4, as good as repeating the
last state (results/cpu/figure5/trm-k1-4-seed0.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  c = common.base('trm')
  c.task.layout = 'masked'
  c.model.num_layers = 2
  c.model.parallel_residual = False
  c.model.norm = 'rms'
  c.model.norm_place = 'post'
  c.model.mlp = 'swiglu'
  c.model.rotary_fraction = 1.0
  c = common.build(arg, c, cpu, smoke)
  if common.at_full_size(arg):
    c.train.num_steps = 2_500
    c.train.batch_size = 16
    c.train.warmup_steps = 200
    c.train.decay_steps = 0
    c.eval.every = c.checkpoint.every = 500
    if 'k' not in common.parse_arg(arg):
      common.look_ahead(c, '1')
  return c


def cpu(c: ml_collections.ConfigDict) -> None:
  c.train.num_steps = 500


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.recursion.inner_steps = 2
  c.model.recursion.cycles = 2
