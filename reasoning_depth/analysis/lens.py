"""Logit lens: what a model would answer after each layer and loop.

The hidden states there go through the model's own read-out; the tuned lens
(2303.08112) puts an affine map in between, trained so that the read-out says
what it says in the end.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from reasoning_depth.analysis import activations, milestones
from reasoning_depth.models import base as models_base
from reasoning_depth.models import (
  looped,
  rmt,
  segmented,
  transformer,
  trm,
  windows,
)
from reasoning_depth.tasks import base

RATE = 1e-3  # learning rate of the tuned lens
_HOOKS = ('residual', 'answer')  # what can be read out


def states(
  model: nn.Module, seen: dict[str, Any], length: int
) -> jax.Array | None:
  """Hidden states that can be read out, [loops, layers, B, L, D].

  Args:
    model: the model.
    seen: from `activations.see`.
    length: L, of the whole sequence; segments are joined.

  Returns:
    None for a model without such states.
  """
  x = next((seen[name] for name in _HOOKS if name in seen), None)
  if x is None:
    return None
  if isinstance(model, segmented.SegmentModel):
    x = x[..., activations.own_tokens(model, x.shape[-2]), :]
    x = jnp.moveaxis(x, 0, 1)
    return jax.vmap(lambda s: windows.join(s, model.stride))(x)[None]
  layers = 1 if isinstance(model, trm.TRM) else x.shape[-4]
  return x.reshape(-1, layers, x.shape[-3], length, x.shape[-1])


def read_out(model: nn.Module, params: Any, x: jax.Array) -> jax.Array:
  """Logits [B, L, V] of hidden states [B, L, D], as if they were the last."""
  if isinstance(model, looped.Looped):
    state = models_base.StepState(inputs=x, latent=x)
    return model.apply({'params': params}, state, method='read')[0]
  config = model.config
  weights = dict(params.get('read_out', {}))
  if isinstance(model, rmt.RMT):
    weights['norm'] = params['segment']['norm']
  norm = 'none' if isinstance(model, trm.TRM) else config.norm
  table = params['embedding']['tokens']['embedding'] if config.tied else None
  module = transformer.ReadOut(model.vocab_size, norm, config.norm_epsilon)
  return module.apply({'params': weights}, x, table)


def logits(
  model: nn.Module,
  params: Any,
  tokens: jax.Array,
  maps: Any = None,
  depth: int | None = None,
) -> jax.Array:
  """What the lens shows of tokens [B, L], [loops, layers, B, L, V].

  Args:
    model: one that has `states`.
    params: its parameters.
    tokens: the sequence.
    maps: of the tuned lens, from `tune`; None for none.
    depth: as in the model.
  """
  _, x = _run(model, params, tokens, depth)
  if maps is not None:
    x = _mapped(maps, x)
  return _each(lambda cell: read_out(model, params, cell), x)


def _run(model, params, tokens, depth=None):
  output, seen = activations.see(model, params, tokens, depth)
  return output, states(model, seen, tokens.shape[1])


def _each(read, x):
  """Layers and loops one after another, which saves memory."""
  out = jax.lax.map(read, x.reshape(-1, *x.shape[2:]))
  return jax.tree.map(lambda y: y.reshape(*x.shape[:2], *y.shape[1:]), out)


def _mapped(maps, x):
  moved = jnp.einsum('nkbld,nkde->nkble', x, maps['kernel'].astype(x.dtype))
  bias = maps['bias'][:, :, None, None].astype(x.dtype)
  return x + moved + bias


def tune(
  model: nn.Module,
  params: Any,
  task: base.Task,
  key: jax.Array,
  num_steps: int,
  batch_size: int,
) -> tuple[dict[str, jax.Array], jax.Array]:
  """Trains the maps of a tuned lens on samples of the training split.

  Args:
    model: one that has `states`.
    params: its parameters, which stay.
    task: what is asked.
    key: for the samples.
    num_steps: of Adam.
    batch_size: samples of a step.

  Returns:
    `kernel` [loops, layers, D, D] and `bias` [loops, layers, D], added to the
    identity and zero at first, and the loss of each step: the divergence in
    nats of the lens from the model's answer, averaged over layers and loops.
  """

  def loss(maps, tokens):
    output, x = _run(model, params, tokens)
    final = jax.nn.log_softmax(output.logits)

    def divergence(cell):
      said = jax.nn.log_softmax(read_out(model, params, cell))
      return jnp.sum(jnp.exp(final) * (final - said), -1).mean()

    return _each(divergence, _mapped(maps, x)).mean()

  optimizer = optax.adam(RATE)

  def step(carry, n):
    maps, state = carry
    batch = task.sample(jax.random.fold_in(key, n), batch_size, 'train')
    value, grads = jax.value_and_grad(loss)(maps, batch.inputs)
    updates, state = optimizer.update(grads, state, maps)
    return (optax.apply_updates(maps, updates), state), value

  tokens = jnp.zeros((batch_size, task.length), jnp.int32)
  shape = jax.eval_shape(lambda: _run(model, params, tokens)[1]).shape
  cells, D = shape[:2], shape[-1]
  maps = {'kernel': jnp.zeros((*cells, D, D)), 'bias': jnp.zeros((*cells, D))}
  start = (maps, optimizer.init(maps))
  (maps, _), losses = jax.lax.scan(step, start, jnp.arange(num_steps))
  return maps, losses


def scores(logits: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Probability and rank of tokens [K, B, L] in logits [B, L, V].

  Returns:
    [K, B, L] each; the most likely token has rank 1.
  """
  chances = jax.nn.softmax(logits)

  def one(token):
    at = token[..., None]
    own = jnp.take_along_axis(logits, at, -1)
    chance = jnp.take_along_axis(chances, at, -1)[..., 0]
    return chance, 1 + jnp.sum(logits > own, -1)

  return jax.lax.map(one, tokens)


def analyze(
  model: nn.Module, task: base.Task, params: Any, key: jax.Array, config: Any
) -> dict[str, Any] | None:
  """What `evaluations/lens.json` holds.

  Args:
    model: the model.
    task: what is asked.
    params: parameters of the model.
    key: of held-out samples.
    config: the whole config.

  Returns:
    None for a model whose states on the way cannot be read out.
  """
  c = config.analyze
  found = milestones.of(task, key, c.samples)
  size = min(c.samples, config.eval.batch_size)
  seen = activations.find(model, params, found.batch.inputs[:size])
  if not seen.keys() & set(_HOOKS):
    return None
  lenses = {'logit': None}
  result: dict[str, Any] = {}
  if c.tuned_steps:
    fit = jax.jit(
      lambda params: tune(model, params, task, key, c.tuned_steps, size)
    )
    lenses['tuned'], losses = fit(params)
    result['tuned_divergence'] = [float(losses[0]), float(losses[-1])]

  @jax.jit
  def look(params, maps, inputs, tokens):
    said = logits(model, params, inputs, maps)
    return _each(lambda cell: scores(cell, tokens), said)

  for name, maps in lenses.items():
    parts = [
      look(params, maps, *part)
      for part in _batches(found.batch.inputs, found.tokens, size)
    ]
    both = (np.concatenate(p, axis=-2)[..., : c.samples, :]
            for p in zip(*jax.device_get(parts), strict=True))  # fmt: skip
    result[name] = _means(found, *both)
  shown = found.where.any((0, 1))
  return {
    'num_samples': c.samples,
    'loop_name': 'cycle' if isinstance(model, trm.TRM) else 'loop',
    'positions': [n for n, s in zip(found.names, shown, strict=True) if s],
    'milestones': list(found.labels),
    **result,
  }


def _batches(inputs, tokens, size):
  """Inputs [N, L] and tokens [K, N, L], as many at a time, filled up."""
  more = -len(inputs) % size
  inputs = np.pad(inputs, ((0, more), (0, 0)), 'edge')
  tokens = np.pad(tokens, ((0, 0), (0, more), (0, 0)), 'edge')
  for at in range(0, len(inputs), size):
    yield inputs[at : at + size], tokens[:, at : at + size]


def _means(found: milestones.Milestones, chance, rank) -> list[dict[str, Any]]:
  """By set of samples, means [K][loops][layers][positions shown]."""
  shown = found.where.any((0, 1))
  entries = []
  for name, members in found.sets.items():
    where = found.where & members[:, None]
    count = where.sum(1)  # [K, L]

    def mean(values, where=where, count=count):
      total = np.where(where, values, 0).sum(-2, dtype=np.float64)
      means = np.divide(
        total, count, out=np.full(total.shape, np.nan), where=count > 0
      )
      return rounded(np.moveaxis(means, 2, 0)[..., shown])

    entries.append(
      {
        'set': name,
        'num_samples': int(members.sum()),
        'probability': mean(chance),
        'rank': mean(rank),
      }
    )
  return entries


def rounded(values: np.ndarray) -> Any:
  """Nested lists of numbers of four digits; None for what is not one."""
  if values.ndim:
    return [rounded(v) for v in values]
  return float(f'{values:.4g}') if np.isfinite(values) else None
