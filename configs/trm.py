"""Tiny Recursive Model on orbits of random rules (2510.04871).

  python main.py --config=configs/trm.py

The default is a small model that a reader of 2508.16745 reported: width 128,
two layers, three cycles of six inner steps, batch 16, 2,500 steps, k = 1.
Not measured.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  model = common.backbone()
  model.name = 'trm'
  model.num_layers = 2
  model.parallel_residual = False
  model.norm = 'rms'
  model.norm_place = 'post'
  model.mlp = 'swiglu'
  model.rotary_fraction = 1.0
  model.recursion = recursion()
  c = common.build(arg, model, cpu, smoke, layout='masked')
  if common.at_full_size(arg):
    c.train.num_steps = 2_500
    c.train.batch_size = 16
    c.train.warmup_steps = 200
    c.train.decay_steps = 0
    c.eval.every = c.checkpoint.every = 500
    if 'k' not in common.parse_arg(arg):
      common.look_ahead(c, '1')
  return c


def recursion() -> ml_collections.ConfigDict:
  """Six inner steps, three cycles, one deep recursion."""
  m = ml_collections.ConfigDict()
  m.inner_steps = 6  # n, updates of the latent in a cycle
  m.cycles = 3  # T; the gradient goes through the last
  m.supervision = 1  # deep recursions
  m.exploration = 0.1  # of samples that go on though they may stop
  m.halt_weight = 0.5  # of the halting head's loss
  return m


def cpu(c: ml_collections.ConfigDict) -> None:
  c.model.positions = 'relative'
  c.train.num_steps = 500


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.recursion.inner_steps = 2
  c.model.recursion.cycles = 2
