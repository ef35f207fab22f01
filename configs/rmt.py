"""Recurrent Memory Transformer on orbits of random rules (2207.06881).

  python main.py --config=configs/rmt.py

Segments of two states, as for ARMT. Not measured.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  return common.build(arg, common.base('rmt'), smoke=smoke)


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.memory.num_tokens = 4
