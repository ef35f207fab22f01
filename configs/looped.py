"""Looped transformer on orbits of random rules (2604.07822, 2502.05171).

  python main.py --config=configs/looped.py

A core of two layers, looped about four times; the number of loops is drawn for
each batch. Not measured at this size.

  python main.py --config=configs/looped.py:cpu,k=1-4 \\
    --config.train.num_steps=1000 --config.host.cpu_devices=1

Exact match on rules not seen in training at k = 1 to 4: 0.938, 0.157, 0.050,
0.067, of the ceiling 0.980, 0.170, 0.055, 0.074; seed 0, 53.9 min on one CPU
core beside other work (results/cpu/figure5/looped-k1-4-seed0.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  c = common.base('looped')
  c.model.num_layers = 2  # of the core
  c.model.parallel_residual = False
  c.model.norm_place = 'sandwich'
  c.model.recurrence.update(draw='poisson', min_loops=2)
  return common.build(arg, c, cpu)


def cpu(c: ml_collections.ConfigDict) -> None:
  c.train.num_steps = 1_500
