"""Deep supervision: one optimiser step after each pass over a carried state.

A sample stays for up to N deep recursions (2510.04871, figure 3). Each one ends
with a loss, an update and a halting decision; halted samples are replaced by
fresh ones, so a batch mixes samples after different numbers of passes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from reasoning_depth.models import base as models_base
from reasoning_depth.models import trm
from reasoning_depth.scoring import losses
from reasoning_depth.tasks import base
from reasoning_depth.training import methods, state, step


@flax.struct.dataclass
class Carry:
  """Samples and latents carried from step to step.

  Attributes:
    batch: the current samples, [B, ...].
    latents: of each sample, without gradient.
    passes: int32 [B], deep recursions done on each sample.
    halted: bool [B]; a halted sample is replaced at the next step.
  """

  batch: base.Batch
  latents: trm.Latents
  passes: jax.Array
  halted: jax.Array


class DeepSupervision(methods.Method):
  """An update after each deep recursion of TRM on carried samples."""

  by_model = True
  carries_samples = True

  def make_train_step(self, model, task, optimizer, config):
    """See `methods.Method`."""
    return make_train_step(model, optimizer, config)

  def first_carry(self, model, params, sample):
    """See `methods.Method`."""
    return first_carry(model, sample)


def first_carry(
  model: trm.TRM, sample: Callable[[jax.Array], base.Batch]
) -> Carry:
  """A carry in which every sample has halted; can be jitted.

  Args:
    model: the model.
    sample: makes a batch from a key; only its shape is used.
  """
  batch = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype),
    jax.eval_shape(sample, jax.random.key(0)),
  )
  B = len(batch.group)
  return Carry(
    batch=batch,
    latents=model.first_latents(batch.inputs.shape),
    passes=jnp.zeros(B, jnp.int32),
    halted=jnp.ones(B, bool),
  )


def make_train_step(
  model: trm.TRM,
  optimizer: optax.GradientTransformation,
  config: Mapping[str, Any],
) -> Callable[[state.TrainState, base.Batch, jax.Array], tuple]:
  """A pure function (state, fresh batch, key) → (state, StepMetrics).

  Args:
    model: the model.
    optimizer: turns gradients into updates.
    config: `config.train`.
  """
  recursion = model.recursion

  def train_step(
    old: state.TrainState, fresh: base.Batch, key: jax.Array
  ) -> tuple[state.TrainState, step.StepMetrics]:
    carry = _refill(model, old.carry, fresh)

    def loss(params):
      latents, logits, halt = model.apply(
        {'params': params}, carry.batch.inputs, carry.latents, method='recurse'
      )
      passes = (carry.passes + 1).astype(jnp.float32)
      output = models_base.Output(
        logits=logits,
        depth_logits=None,
        halting=None,
        ponder=jnp.broadcast_to(passes[:, None], logits.shape[:2]),
        executed=passes.mean(),
        penalty=jnp.float32(0),
      )
      total, sums = losses.score(output, carry.batch, kind=config['loss'])
      mask = carry.batch.weights > 0
      right = (logits.argmax(-1) == carry.batch.targets) | ~mask
      halt_loss = optax.sigmoid_binary_cross_entropy(
        halt, right.all(-1).astype(jnp.float32)
      )
      total = total / sums.weight + recursion.halt_weight * halt_loss.mean()
      return total, (sums, latents, halt)

    grads, (sums, latents, halt) = jax.grad(loss, has_aux=True)(old.params)
    new, metrics = step.update(old, grads, sums, optimizer, config)
    carry = _halt(recursion, carry, latents, halt, key)
    # A non-finite step leaves the carry as it was; if it is skipped, its
    # samples are replaced.
    carry = jax.tree.map(
      lambda n, o: jnp.where(metrics.finite, n, o), carry, old.carry
    )
    carry = carry.replace(halted=carry.halted | metrics.skipped)
    return new.replace(carry=carry), metrics

  return train_step


def _refill(model: trm.TRM, carry: Carry, fresh: base.Batch) -> Carry:
  """Replaces halted samples by fresh ones."""

  def take(new, old):
    halted = carry.halted.reshape(-1, *[1] * (old.ndim - 1))
    return jnp.where(halted, new, old)

  latents = model.first_latents(fresh.inputs.shape)
  return Carry(
    batch=jax.tree.map(take, fresh, carry.batch),
    latents=jax.tree.map(take, latents, carry.latents),
    passes=take(0, carry.passes),
    halted=jnp.zeros_like(carry.halted),
  )


def _halt(
  recursion: trm.TinyRecursion,
  carry: Carry,
  latents: trm.Latents,
  halt: jax.Array,
  key: jax.Array,
) -> Carry:
  """Advances the carry by one pass and decides which samples halt."""
  passes = carry.passes + 1
  shape = passes.shape
  explore_key, count_key = jax.random.split(key)
  explores = jax.random.bernoulli(explore_key, recursion.exploration, shape)
  least = jax.random.randint(count_key, shape, 2, recursion.supervision + 1)
  may_halt = (halt > 0) & (passes >= jnp.where(explores, least, 1))
  halted = may_halt | (passes >= recursion.supervision)
  return carry.replace(latents=latents, passes=passes, halted=halted)
