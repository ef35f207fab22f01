"""GPT-NeoX transformer on orbits of random rules (2508.16745).

  python main.py --config=configs/transformer.py

The default is the paper's size on look-ahead 1 to 4 in one model (its
multi-horizon setting); `:k=2` is its O-S at one look-ahead. Neither has been
trained to the end yet: not measured.

`:cpu` (radius 1, 12 cells, 6 states): exact match 0.831 on rules never trained
on, 0.832 of the ceiling, in 4 min 4 s on two CPU cores; one seed
(results/cpu/transformer_cpu_seed0.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  words = common.parse_arg(arg)
  c = common.base()
  c.model = common.backbone()
  if 'gpu' in words:
    common.gpu(c)
  if 'cpu' in words:
    common.cpu(c)
  if 'smoke' in words:
    common.shrink(c)
  if 'layout' in words:
    c.task.layout = words['layout']
  if 'k' in words:
    common.look_ahead(c, words['k'])
  return c
