"""ARMT on orbits of random rules (2508.16745, 2407.04841).

  python main.py --config=configs/armt.py

The default is the paper's size on look-ahead 1 to 4 in one model (its
multi-horizon setting); `:k=2` is its O-S at one look-ahead, `:act=layer` adds
adaptive computation. Not measured at this size.

`:cpu` (the paper's lattice, width 64, look-ahead 1; memory tokens at the places
of the last row, memory keys that start as the queries): not measured.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  return common.build(arg, common.base('armt'), cpu, smoke)


def cpu(c: ml_collections.ConfigDict) -> None:
  c.train.num_steps = 1_500
  c.train.steps_per_dispatch = 10
  c.model.memory.num_tokens = 21  # as many as tokens in a row
  c.model.memory.key_width = 32
  c.model.memory.equal_start = True


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.memory.num_tokens = 4
  c.model.memory.key_width = 8
