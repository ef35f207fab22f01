"""Looped transformer on orbits of random rules (2604.07822, 2502.05171).

  python main.py --config=configs/looped.py

A core of two layers, looped about four times; the number of loops is drawn for
each batch. Not measured.
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
