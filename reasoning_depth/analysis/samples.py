"""Single samples, one by one: what a model says after each loop and layer.

`report/pages/look_inside.py` makes a page of it, to step through.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.analysis import lens
from reasoning_depth.models import base as models_base
from reasoning_depth.scoring import losses
from reasoning_depth.tasks import base

SHOWN = 64  # samples written out one by one, at most
_MOST_ASKED = 128  # answer tokens of a sample; of more, the last ones
_MOST_READ = 512  # input tokens that are written out; of more, the last ones


def analyze(
  model: models_base.Model,
  task: base.Task,
  params: Any,
  key: jax.Array,
  config: Any,
) -> dict[str, Any]:
  """What `evaluations/samples.json` holds; arguments as of `lens.analyze`.

  A model that runs a step at a time is read out after each, to twice those of
  training; others by the logit lens after each loop and layer, or at the end
  alone where they have no hidden states to read. Tokens before an answer token
  are the true ones.
  """
  c = config.analyze
  found = task.milestones(key, c.samples)
  look = _looker(model, config)
  size = min(c.samples, config.eval.batch_size)
  parts = [
    jax.device_get(look(params, base.take(found.batch, at)))
    for at in lens.parts(len(found.batch.group), size)
  ]
  seen = {
    name: np.concatenate([part[name] for part in parts], axis=axis)[
      (slice(None),) * axis + (slice(c.samples),)
    ]
    for name, axis in (('said', 2), ('chance', 2), ('answer', 0), ('steps', 0))
  }
  varies = bool(np.ptp(seen['steps']) > 0)
  scored = np.full(c.samples, seen['said'].shape[0])
  if config.train.depth_loss == 'look_ahead':
    scored = found.batch.group[: c.samples]
  elif model.stepwise:
    scored[:] = model.trained_depth()
  return {
    'group_name': task.group_name,
    'labels': list(task.group_labels),
    'loop_name': model.depth_name,
    'layers': int(seen['said'].shape[1]),
    'loops': int(seen['said'].shape[0]),
    'trained_loops': model.trained_depth() if model.stepwise else None,
    'row_tokens': task.row_tokens,
    'positions': list(found.names),
    'milestones': list(found.labels),
    # By position, over all samples; None where all take the same number.
    'mean_steps': _rounded(seen['steps'].mean(0)) if varies else None,
    'num_samples': c.samples,
    'samples': [
      # After which loop the answer is scored, from 1.
      {'scored_after': int(scored[i]), **_sample(found, seen, i, varies)}
      for i in range(min(SHOWN, c.samples))
    ],
  }


def _looker(model: models_base.Model, config: Any) -> Callable:
  """A function (params, Batch) → a dict of arrays, compiled once.

  `said` and `chance` (of the right token) are [loops, layers, B, L]; `answer`,
  which is scored, and `steps` are [B, L].
  """
  loss, depth_loss = config.train.loss, config.train.depth_loss

  def pick(logits, targets):
    chances = jax.nn.softmax(losses.for_softmax(logits, loss))
    chance = jnp.take_along_axis(chances, targets[..., None], -1)[..., 0]
    return logits.argmax(-1).astype(jnp.int32), chance

  @jax.jit
  def look(params, batch):
    output, x = lens.run(model, params, batch.inputs)

    def read(logits):
      return pick(logits, batch.targets)

    if model.stepwise:
      said, chance = jax.tree.map(
        lambda y: y[:, None], _by_step(model, params, batch.inputs, read)
      )
    elif x is None:
      said, chance = jax.tree.map(lambda y: y[None, None], read(output.logits))
    else:
      said, chance = lens.each(
        lambda state: read(model.lens_read_out(params, state)), x
      )
    answer = losses.answer(output, batch, depth_loss).argmax(-1)
    steps = output.ponder
    return {'said': said, 'chance': chance, 'answer': answer, 'steps': steps}

  return look


def _by_step(model, params, inputs, read):
  """`read` of the logits after each depth step, stacked."""
  variables = {'params': params}

  def body(state, n):
    state = model.apply(variables, state, n, method='again')
    logits, _ = model.apply(variables, state, method='read')
    return state, read(logits)

  start = model.apply(variables, inputs, method='begin')
  steps = jnp.arange(2 * model.trained_depth())
  return jax.lax.scan(body, start, steps)[1]


def _sample(
  found: base.Milestones, seen: dict[str, np.ndarray], i: int, varies: bool
) -> dict[str, Any]:
  """Sample i: what it read, what was right, and what was said on the way."""
  batch = found.batch
  at = np.flatnonzero(batch.weights[i] > 0)[-_MOST_ASKED:]
  where = found.where[:, i, at]
  percent = np.rint(100 * seen['chance'][:, :, i, at]).astype(int)
  sample = {
    'group': int(batch.group[i]),
    'at': at.tolist(),
    'target': batch.targets[i, at].tolist(),
    'answer': seen['answer'][i, at].tolist(),
    'milestones': [
      [int(t) if w else None for t, w in zip(*row, strict=True)]
      for row in zip(found.tokens[:, i, at], where, strict=True)
    ],
    'said': seen['said'][:, :, i, at].tolist(),
    'percent': percent.tolist(),  # chance of the right token
  }
  if found.observed is not None:
    sample['observed'] = [''.join(map(str, s)) for s in found.observed[i]]
  else:
    sample['inputs'] = batch.inputs[i, -_MOST_READ:].tolist()
  if varies:
    sample['steps'] = _rounded(seen['steps'][i])
  return sample


def _rounded(values: np.ndarray) -> list[float]:
  return [round(float(value), 2) for value in values]
