"""Group multiplication: prefix products of words over A5 (2508.16745).

  python main.py --config=configs/groups.py --config.task.group=z60

The question is how many layers a model needs: width 512, 8 heads, words of 5 to
40 elements. `model.num_layers` and `task.word_length` set the point; the model
is a transformer. Not measured.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  model = common.backbone()
  model.width = 512
  model.num_heads = 8
  model.mlp_width = 2048
  model.halting = common.halting()
  common.refuse(arg, 'groups', 'task', 'layout', 'k')
  c = common.build(arg, model, cpu, smoke)
  c.task = task()
  if 'smoke' in common.parse_arg(arg):
    c.task.word_length = 5
  return c


def task() -> ml_collections.ConfigDict:
  """Words of twenty elements of the smallest group that is not solvable."""
  t = ml_collections.ConfigDict()
  t.name = 'groups'
  t.group = 'a5'  # or z60, a4_z5
  t.word_length = 20  # n, elements
  return t


def cpu(c: ml_collections.ConfigDict) -> None:
  c.model.positions = 'rotary'  # words have no lattice
  c.model.rotary_fraction = 0.25


def smoke(c: ml_collections.ConfigDict) -> None:
  c.train.batch_size = 16
