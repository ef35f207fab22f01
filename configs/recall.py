"""Recall on orbits of random rules: encodes once, loops over the answer.

  python main.py --config=configs/recall.py

Not measured.
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
  c.train.depth_loss = 'look_ahead'
  return common.build(arg, c, cpu)


def cpu(c: ml_collections.ConfigDict) -> None:
  c.task.look_ahead = (1, 2, 3, 4)
  c.task.variant = 'by_depth'
  c.eval.look_ahead = (1, 2, 3, 4, 8, 16, 64, 1024)
  c.train.num_steps = 1_000
  c.train.steps_per_dispatch = 10
