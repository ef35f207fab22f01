"""GPT-NeoX transformer on orbits of random rules (2508.16745)."""

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
