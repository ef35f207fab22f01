"""Group multiplication: prefix products of words over A5 (2508.16745).

  python main.py --config=configs/groups.py --config.task.group=z60

How many layers does a transformer need? Width 512, 8 heads, words of 5 to 40
elements; vary `model.num_layers` and `task.word_length`. Not measured.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  common.refuse(arg, 'groups', 'task', 'layout', 'k', 'small')
  c = common.base('transformer')
  c.model.width = 512
  c.model.num_heads = 8
  c.model.mlp_width = 2048
  c = common.build(arg, c, cpu, smoke)
  c.task = common.task('groups')  # words of twenty elements of A5
  if 'smoke' in common.parse_arg(arg):
    c.task.word_length = 5
  return c


def cpu(c: ml_collections.ConfigDict) -> None:
  c.model.positions = 'rotary'  # no lattice
  c.model.rotary_fraction = 0.25


def smoke(c: ml_collections.ConfigDict) -> None:
  c.train.batch_size = 16
