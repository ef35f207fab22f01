"""Mamba on orbits of random rules (2508.16745, 2312.00752): state size 16.

  python main.py --config=configs/mamba.py

Not measured on orbits; on words of group elements in configs/groups.py.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  c = common.base('mamba')
  c.model.norm = 'rms'
  return common.build(arg, c, smoke=smoke)


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.state_size = 4
