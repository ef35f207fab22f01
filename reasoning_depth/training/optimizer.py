"""AdamW with warm-up, decay and clipping."""

from collections.abc import Mapping
from typing import Any

import optax

SCHEDULES = ('constant', 'linear', 'cosine')
CLIP_BY = ('norm', 'value')


def schedule(config: Mapping[str, Any]) -> optax.Schedule:
  """Learning rate by step.

  Linear warm-up from 0 over `warmup_steps`, then `schedule` down to 0 at
  `decay_steps` (0: at `num_steps`).
  """
  peak, warmup = config['learning_rate'], config['warmup_steps']
  end = config['decay_steps'] or config['num_steps']
  span = max(end - warmup, 1)
  after = {
    'constant': optax.constant_schedule(peak),
    'linear': optax.linear_schedule(peak, 0.0, span),
    'cosine': optax.cosine_decay_schedule(peak, span),
  }[config['schedule']]
  rise = optax.linear_schedule(0.0, peak, max(warmup, 1))
  return optax.join_schedules([rise, after], [warmup])


def make(config: Mapping[str, Any]) -> optax.GradientTransformation:
  """Builds the optimiser from `config.train`."""
  steps = [
    optax.adamw(
      schedule(config),
      b1=config['b1'],
      b2=config['b2'],
      weight_decay=config['weight_decay'],
    )
  ]
  if config['clip']:
    clip = {
      'norm': optax.clip_by_global_norm,
      'value': optax.clip,
    }[config['clip_by']]
    steps.insert(0, clip(config['clip']))
  return optax.chain(*steps)
