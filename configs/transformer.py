"""GPT-NeoX transformer on orbits of random rules (2508.16745).

  python main.py --config=configs/transformer.py

The default is the paper's size on look-ahead 1 to 4 in one model (its
multi-horizon setting); `:k=2` is its O-S at one look-ahead, `:act=layer` adds
adaptive computation, `:task=cot` a chain of thought. Not measured at this size.

`:cpu` (radius 1, 12 cells, 6 states; learned relative bias on the lattice):
exact match 0.978, 0.998 and 0.932 on rules not seen in training, which is
0.979, 0.998 and 0.933 of the ceiling, in about four minutes on two CPU cores;
seeds 0, 1, 2 (results/cpu/transformer_cpu.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  return common.build(arg, common.base('transformer'), cpu)


def cpu(c: ml_collections.ConfigDict) -> None:
  c.train.num_steps = 500
  c.train.steps_per_dispatch = 5
