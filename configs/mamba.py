"""Mamba on orbits of random rules (2508.16745, 2312.00752): state size 16.

  python main.py --config=configs/mamba.py

Not measured.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  model = common.backbone()
  model.name = 'mamba'
  model.positions = 'none'
  model.norm = 'rms'
  model.state_size = 16  # N, hidden units for each inner channel
  model.halting = common.halting()
  return common.build(arg, model, smoke=smoke)


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.state_size = 4
