"""Recurrent-depth transformer on random rules (2604.07822, 2502.05171).

  python main.py --config=configs/looped.py

A core of two layers looped about four times, the number drawn for each batch.
Not measured.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  model = common.backbone()
  model.name = 'looped'
  model.num_layers = 2  # of the core
  model.parallel_residual = False
  model.norm_place = 'sandwich'
  model.recurrence = recurrence()
  return common.build(arg, model, cpu)


def recurrence() -> ml_collections.ConfigDict:
  """A looped stack that sees its input again at each loop."""
  m = ml_collections.ConfigDict()
  m.prelude = 0  # layers before the loops
  m.coda = 0  # layers after them
  m.inject = 'add'  # or none, concat, gate: how a loop sees the input again
  m.initial = 'zeros'  # or noise, embedding
  m.carry = 'latent'  # or answer, both: what goes from loop to loop
  m.answer = 'soft'  # or straight_through
  m.draw = 'poisson'  # or fixed, log_normal: loops of a training batch
  m.mean_loops = 4  # of the draw, and loops at inference
  m.min_loops = 2  # loops drawn
  m.max_loops = 8  # loops drawn
  m.spread = 0.5  # of log_normal
  m.truncate = 0  # loops that the gradient covers; 0 for all
  m.read_every = False  # whether every loop is read out
  return m


def cpu(c: ml_collections.ConfigDict) -> None:
  c.model.positions = 'relative'
  c.train.num_steps = 1_500
