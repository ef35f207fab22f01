"""GPT-NeoX transformer on orbits of random rules (2508.16745).

  python main.py --config=configs/transformer.py

The default is the paper's size on look-ahead 1 to 4 in one model (its
multi-horizon setting); `:k=2` is its O-S at one look-ahead, `:act=layer` adds
adaptive computation, `:task=cot` a chain of thought. Not measured at this size.

`:cpu` (the paper's lattice, width 64, look-ahead 1; each head starts at an
offset of the light cone): exact match 0.955, 0.956, 0.952 on rules not seen in
training, 0.997 to 0.999 of the ceiling, in 4 min 21 s on two CPU cores beside
other work, or 10 min on one; seeds 0, 1, 2 (results/cpu/transformer_cpu.json).
`:cpu,k=2`: 0.168, 0.180 of the ceiling; seed 0, 9 min 30 s on one core
(results/cpu/transformer_k2_cpu.json).

`:cpu,k=1-4 --config.train.num_steps=1000`: 0.948, 0.246, 0.059, 0.072 at k = 1
to 4, in 15.7 min on one core; with `:cpu,task=cot,k=1-4`, which writes the
states between, 0.952, 0.921, 0.910, 0.901, in 15.2 min, 0.995 to 1.001 of the
ceiling; seed 0, beside other work (results/cpu/figure5/).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  return common.build(arg, common.base('transformer'), cpu)


def cpu(c: ml_collections.ConfigDict) -> None:
  c.train.num_steps = 500
