"""ARMT on orbits of random rules (2508.16745, 2407.04841).

  python main.py --config=configs/armt.py

The default is the paper's size on look-ahead 1 to 4 in one model (its
multi-horizon setting); `:k=2` is its O-S at one look-ahead. Neither has been
trained to the end yet: not measured.

`:cpu` (radius 1, 12 cells, 6 states): exact match 0.970 on rules never trained
on, 0.971 of the ceiling, in 7 min 45 s on two CPU cores; one seed
(results/cpu/armt_cpu_seed0.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  words = common.parse_arg(arg)
  c = common.base()
  c.model = common.backbone()
  c.model.name = 'armt'
  c.model.memory = memory()
  if 'gpu' in words:
    common.gpu(c)
  if 'cpu' in words:
    common.cpu(c)
    c.train.num_steps = 2_000
    c.model.memory.num_tokens = 8
    c.model.memory.key_width = 16
  if 'smoke' in words:
    common.shrink(c)
    c.model.memory.num_tokens = 4
    c.model.memory.key_width = 8
  if 'layout' in words:
    c.task.layout = words['layout']
  if 'k' in words:
    common.look_ahead(c, words['k'])
  return c


def memory() -> ml_collections.ConfigDict:
  """The paper's associative memory, a pair of states a segment."""
  m = ml_collections.ConfigDict()
  m.num_tokens = 16  # M, memory tokens at the end of a segment
  m.key_width = 32  # d_mem
  m.nu = 3  # of the feature map DPFP
  m.num_heads = 1  # of the memory
  m.features = 'normalised'  # or plain, as in the code of the paper
  m.correction = True  # stored keys do not grow the normaliser again
  m.use_denominator = True  # reads are divided by the normaliser
  m.gating = False  # a write strength for each channel
  m.segment_states = 2  # states (with separators) in a segment
  m.repeat_states = 1  # states shown again at the start of the next one
  m.truncate = 0  # segments that the gradient covers; 0 for all
  m.unroll = 0  # segments unrolled in the scan; 0 by platform
  return m
