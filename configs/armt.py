"""ARMT on orbits of random rules (2508.16745, 2407.04841).

  python main.py --config=configs/armt.py

The default is the paper's size on look-ahead 1 to 4 in one model (its
multi-horizon setting); `:k=2` is its O-S at one look-ahead, `:act=layer` adds
adaptive computation. Not measured at this size.

`:cpu` (the paper's lattice, width 64, look-ahead 1; memory tokens at the places
of the last row, memory keys that start as the queries): exact match 0.954 on
rules not seen in training, 0.996 of the ceiling; seed 0, 59 min by the clock
and 36 min of processor time on one CPU core beside other work. Half of the
updates gave 0.898 in validation (results/cpu/armt_cpu.json).

`:cpu,k=1-4` with 1,000 updates has learned nothing: 0.023, 0.036, 0.022, 0.024;
seed 0, cut off at 990 after an hour on one core beside other work
(results/cpu/figure5/armt-k1-4-seed0.json). With `curriculum` and 250 of these
updates a stage it knows one step: 0.916, 0.068, 0.045, 0.046, in 31.9 min
(results/cpu/armt_curriculum.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  return common.build(arg, common.base('armt'), cpu, smoke)


def cpu(c: ml_collections.ConfigDict) -> None:
  c.train.num_steps = 800
  c.train.steps_per_dispatch = 10
  c.eval.every = c.checkpoint.every = 200
  c.model.memory.num_tokens = 21  # as many as tokens in a row
  c.model.memory.key_width = 32
  c.model.memory.equal_start = True
  c.model.memory.unroll = 1  # compiles faster


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.memory.num_tokens = 4
  c.model.memory.key_width = 8
