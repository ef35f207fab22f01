"""ARMT on orbits of random rules (2508.16745, 2407.04841).

  python main.py --config=configs/armt.py

The default is the paper's size on look-ahead 1 to 4 in one model (its
multi-horizon setting); `:k=2` is its O-S at one look-ahead, `:act=layer` adds
adaptive computation. None of these has been trained to the end yet: not
measured.

`:cpu` (radius 1, 12 cells, 6 states): exact match 0.959, 0.923 and 0.930 on
rules never trained on, at most 0.001 less than their share of the ceiling, in
seven to eight minutes on two CPU cores; seeds 0, 1, 2. Seed 0 with another
number of updates in a dispatch, which changes rounding alone, reached 0.872
(results/cpu/armt_cpu.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  model = common.backbone()
  model.name = 'armt'
  model.memory = memory()
  model.halting = common.halting()
  return common.build(arg, model, cpu, smoke)


def memory() -> ml_collections.ConfigDict:
  """The paper's associative memory, a pair of states a segment."""
  m = common.segments()
  m.num_tokens = 16  # M, memory tokens at the end of a segment
  m.key_width = 32  # d_mem
  m.nu = 3  # of the feature map DPFP
  m.num_heads = 1  # of the memory
  m.features = 'normalised'  # or plain, as in the code of the paper
  m.correction = True  # stored keys do not grow the normaliser again
  m.use_denominator = True  # reads are divided by the normaliser
  m.gating = False  # a write strength for each channel
  return m


def cpu(c: ml_collections.ConfigDict) -> None:
  c.train.num_steps = 1_500
  c.train.steps_per_dispatch = 10
  c.model.memory.num_tokens = 8
  c.model.memory.key_width = 16


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.memory.num_tokens = 4
  c.model.memory.key_width = 8
