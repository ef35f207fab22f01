"""One training step, and many of them in one dispatch."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from reasoning_depth.scoring import losses
from reasoning_depth.tasks import base
from reasoning_depth.training import state

# Folded into a step's key for the model's random draws. Tasks fold in smaller
# numbers.
DRAWS = 2**31


@flax.struct.dataclass
class StepMetrics:
  """Metrics of a step; stacked [n] over the steps of a dispatch.

  Attributes:
    sums: loss and accuracy of the batch, before the update.
    grad_norm: global L2 norm of the gradient, before clipping.
    finite: whether loss and gradient were finite; if not, no update was made.
    skipped: whether a non-finite step was counted and training went on.
    extra: float32 scalars by name, metrics of one training method.
  """

  sums: losses.Sums
  grad_norm: jax.Array
  finite: jax.Array
  skipped: jax.Array
  extra: dict[str, jax.Array] = flax.struct.field(default_factory=dict)


@flax.struct.dataclass
class Chunk:
  """Batches made on the host for the steps of a dispatch.

  Attributes:
    first: int32, the number of the first step.
    batches: a `base.Batch` of arrays [n, B, ...].
  """

  first: jax.Array
  batches: base.Batch


def gradients(
  model: nn.Module,
  params: Any,
  batch: base.Batch,
  key: jax.Array,
  config: Mapping[str, Any],
) -> tuple[Any, losses.Sums]:
  """Gradient of the mean loss over answer tokens, and the batch's sums.

  Args:
    model: the model.
    params: its parameters.
    batch: [B, ...]; B is a multiple of `gradient_accumulation`.
    key: of the model's random draws.
    config: `config.train`. `gradient_accumulation` microbatches run one after
      another to save memory; the gradient is that of the whole batch.
  """
  num_microbatches = config['gradient_accumulation']

  def loss(params, batch):
    output = model.apply(
      {'params': params}, batch.inputs, deterministic=False, rngs={'depth': key}
    )
    return losses.score(output, batch, config['depth_loss'], config['loss'])

  grad = jax.grad(loss, has_aux=True)
  if num_microbatches == 1:
    total, sums = grad(params, batch)
  else:
    # Each microbatch has an equal share of every device's samples.
    microbatches = jax.tree.map(
      lambda x: jnp.moveaxis(
        x.reshape(-1, num_microbatches, *x.shape[1:]), 1, 0
      ),
      batch,
    )
    first = jax.tree.map(lambda x: x[0], microbatches)
    zeros = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype),
      jax.eval_shape(grad, params, first),
    )
    (total, sums), _ = jax.lax.scan(
      lambda carry, microbatch: (
        jax.tree.map(jnp.add, carry, grad(params, microbatch)),
        None,
      ),
      zeros,
      microbatches,
    )
  return jax.tree.map(lambda g: g / sums.weight, total), sums


def make_train_step(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  config: Mapping[str, Any],
) -> Callable[[state.TrainState, base.Batch, jax.Array], tuple]:
  """A pure function (state, batch, key) → (state, StepMetrics).

  Args:
    model: maps tokens to logits.
    optimizer: turns gradients into updates.
    config: `config.train`.
  """

  def train_step(
    old: state.TrainState, batch: base.Batch, key: jax.Array
  ) -> tuple[state.TrainState, StepMetrics]:
    grads, sums = gradients(model, old.params, batch, key, config)
    return update(old, grads, sums, optimizer, config)

  return train_step


def update(
  old: state.TrainState,
  grads: Any,
  sums: losses.Sums,
  optimizer: optax.GradientTransformation,
  config: Mapping[str, Any],
) -> tuple[state.TrainState, StepMetrics]:
  """Applies gradients, unless they or the loss are not finite.

  A non-finite step leaves parameters and optimiser state as they were. The
  first `max_skips` of a run count as steps, so that training goes on; after
  that the step number stays as well.
  """
  norm = optax.tree.norm(grads)
  finite = jnp.isfinite(norm) & jnp.isfinite(sums.loss)
  updates, opt_state = optimizer.update(grads, old.opt_state, old.params)
  params = optax.apply_updates(old.params, updates)
  ema = old.ema
  if config['ema']:
    ema = optax.incremental_update(params, old.ema, 1 - config['ema'])
  new = old.replace(params=params, opt_state=opt_state, ema=ema)
  new = jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)
  skipped = ~finite & (old.skipped < config['max_skips'])
  new = new.replace(
    step=old.step + (finite | skipped), skipped=old.skipped + skipped
  )
  return new, StepMetrics(sums, norm, finite, skipped)


def make_dispatch(
  train_step: Callable,
  sample: Callable[[jax.Array], base.Batch] | None,
  key: jax.Array,
  num_steps: int,
) -> Callable[..., tuple[state.TrainState, StepMetrics]]:
  """`num_steps` training steps as one scan.

  Args:
    train_step: from `make_train_step`.
    sample: makes a batch from a key, inside the scan; None where batches come
      from the host.
    key: the batch of step n is `sample(fold_in(key, n))`; the model's random
      draws use a key folded from that one.
    num_steps: steps in the scan.

  Returns:
    a function of the state; with `sample` None, of the state and a `Chunk`.
  """

  def body(carry, given):
    here = jax.random.fold_in(key, carry.step)
    draws = jax.random.fold_in(here, DRAWS)
    if sample:
      return train_step(carry, sample(here), draws)
    at, batch = given
    new, metrics = train_step(carry, batch, draws)
    # After a failed step, the batches of later steps must change nothing.
    due = carry.step == at
    metrics = metrics.replace(
      finite=metrics.finite & due, skipped=metrics.skipped & due
    )
    return jax.tree.map(lambda n, o: jnp.where(due, n, o), new, carry), metrics

  def dispatch(old, chunk=None):
    given = None
    if chunk is not None:
      given = chunk.first + jnp.arange(num_steps), chunk.batches
    return jax.lax.scan(body, old, given, length=num_steps)

  return dispatch
