"""The train state, and the random keys of a run."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
  """Everything that a checkpoint holds.

  Attributes:
    step: int32, number of updates made.
    params: model parameters.
    opt_state: state of the optimiser.
    ema: moving average of the parameters, or None.
    stage: int32, stage of the curriculum, from 0.
    stage_start: int32, step at which it began.
    skipped: int32, non-finite steps that were skipped.
    carry: of the training method: the samples and latents of deep supervision,
      the initial parameters of GRPO, or None.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  ema: Any
  stage: jax.Array
  stage_start: jax.Array
  skipped: jax.Array
  carry: Any = None

  @property
  def best_params(self) -> Any:
    """The parameters to evaluate: the average where there is one."""
    return self.params if self.ema is None else self.ema


def init(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  config: Mapping[str, Any],
  length: int,
) -> TrainState:
  """Fresh state from `config.seed`; can be jitted and `eval_shape`d."""
  key = jax.random.fold_in(jax.random.key(config['seed']), 0)
  tokens = jnp.zeros((1, length), jnp.int32)
  params = model.init(key, tokens)['params']
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state=optimizer.init(params),
    ema=jax.tree.map(jnp.copy, params) if config['train']['ema'] else None,
    stage=jnp.zeros((), jnp.int32),
    stage_start=jnp.zeros((), jnp.int32),
    skipped=jnp.zeros((), jnp.int32),
  )


def data_key(seed: int) -> jax.Array:
  """Key of the training batches; fold in the step for one batch."""
  return jax.random.fold_in(jax.random.key(seed), 1)


def evaluation_key(seed: int) -> jax.Array:
  """Key of the held-out samples."""
  return jax.random.fold_in(jax.random.key(seed), 2)
