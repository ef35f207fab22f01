"""Logit lens: what a model would answer after each layer and loop.

The hidden states there go through the model's own read-out. The tuned lens
(2303.08112) puts an affine map before it, trained to bring what is read out
close to what the model says in the end.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from reasoning_depth import settings
from reasoning_depth.analysis import activations
from reasoning_depth.models import base as models_base
from reasoning_depth.tasks import base

RATE = 1e-3  # learning rate of the tuned lens


def logits(
  model: models_base.Model,
  params: Any,
  tokens: jax.Array,
  maps: Any = None,
  depth: int | None = None,
) -> jax.Array:
  """What is read out for tokens [B, L]: [loops, layers, B, L, V].

  Args:
    model: one with `lens_states`.
    params: its parameters.
    tokens: the sequence.
    maps: of the tuned lens, from `tune`; None for none.
    depth: as in the model.
  """
  _, x = run(model, params, tokens, depth)
  if maps is not None:
    x = _mapped(maps, x)
  return each(lambda state: model.lens_read_out(params, state), x)


def run(
  model: models_base.Model,
  params: Any,
  tokens: jax.Array,
  depth: int | None = None,
) -> tuple[models_base.Output, jax.Array | None]:
  """The output, and states [loops, layers, B, L, D]; None where it has none."""
  output, seen = activations.see(model, params, tokens, depth)
  return output, model.lens_states(seen, tokens.shape[1])


def each(read: Callable[[jax.Array], Any], x: jax.Array) -> Any:
  """Applies `read` to each loop and layer of x in turn, which saves memory."""
  out = jax.lax.map(read, x.reshape(-1, *x.shape[2:]))
  return jax.tree.map(lambda y: y.reshape(*x.shape[:2], *y.shape[1:]), out)


def _mapped(maps, x):
  moved = jnp.einsum('nkbld,nkde->nkble', x, maps['kernel'].astype(x.dtype))
  bias = maps['bias'][:, :, None, None].astype(x.dtype)
  return x + moved + bias


def tune(
  model: models_base.Model,
  params: Any,
  task: base.Task,
  key: jax.Array,
  num_steps: int,
  batch_size: int,
) -> tuple[dict[str, jax.Array], jax.Array]:
  """Trains the maps of a tuned lens on samples of the training split.

  Args:
    model: one with `lens_states`.
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
    output, x = run(model, params, tokens)
    final = jax.nn.log_softmax(output.logits)

    def divergence(state):
      said = jax.nn.log_softmax(model.lens_read_out(params, state))
      return jnp.sum(jnp.exp(final) * (final - said), -1).mean()

    return each(divergence, _mapped(maps, x)).mean()

  optimizer = optax.adam(RATE)

  def step(carry, n):
    maps, state = carry
    batch = task.sample(jax.random.fold_in(key, n), batch_size, 'train')
    value, grads = jax.value_and_grad(loss)(maps, batch.inputs)
    updates, state = optimizer.update(grads, state, maps)
    return (optax.apply_updates(maps, updates), state), value

  tokens = jnp.zeros((batch_size, task.length), jnp.int32)
  shape = jax.eval_shape(lambda: run(model, params, tokens)[1]).shape
  lead, D = shape[:2], shape[-1]
  maps = {'kernel': jnp.zeros((*lead, D, D)), 'bias': jnp.zeros((*lead, D))}
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
  model: models_base.Model,
  task: base.Task,
  params: Any,
  key: jax.Array,
  config: Any,
) -> dict[str, Any] | None:
  """What `evaluations/lens.json` holds.

  Args:
    model: the model.
    task: what is asked.
    params: parameters of the model.
    key: of held-out samples.
    config: the whole config.

  Returns:
    None for a model without hidden states that can be read out.

  Raises:
    UsageError: for a tuned lens on a task whose batches are made on the host.
  """
  c = config.analyze
  found = task.milestones(key, c.samples)
  size = min(c.samples, config.eval.batch_size)
  tokens = found.batch.inputs[:size]
  if jax.eval_shape(lambda: run(model, params, tokens)[1]) is None:
    return None
  if c.tuned_steps and task.on_host:
    settings.complain(
      'config.analyze.tuned_steps', c.tuned_steps,
      'must be 0 for a task whose batches are made on the host',
    )  # fmt: skip
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
    return each(lambda logits: scores(logits, tokens), said)

  for name, maps in lenses.items():
    seen = [
      look(params, maps, found.batch.inputs[at], found.tokens[:, at])
      for at in parts(len(found.batch.inputs), size)
    ]
    both = (np.concatenate(p, axis=-2)[..., : c.samples, :]
            for p in zip(*jax.device_get(seen), strict=True))  # fmt: skip
    result[name] = _means(found, *both)
  shown = found.where.any((0, 1))
  return {
    'num_samples': c.samples,
    'loop_name': model.depth_name,
    'positions': [n for n, s in zip(found.names, shown, strict=True) if s],
    'milestones': list(found.labels),
    **result,
  }


def parts(count: int, size: int) -> Iterator[np.ndarray]:
  """Indices of samples in parts of `size`; the last sample fills the last."""
  for first in range(0, count, size):
    yield np.minimum(np.arange(first, first + size), count - 1)


def _means(found: base.Milestones, chance, rank) -> list[dict[str, Any]]:
  """Of each set of samples, means [K][loops][layers][positions shown]."""
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
  """Nested lists of numbers to four digits; None in place of NaN."""
  if values.ndim:
    return [rounded(v) for v in values]
  return float(f'{values:.4g}') if np.isfinite(values) else None
