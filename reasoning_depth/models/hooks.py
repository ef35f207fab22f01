"""Hooks: named places in a model to record and patch activations.

`model.apply(…, mutable=[SEEN])` returns the activations of all hooks, by path,
with a leading axis for each scan around them: loops, segments or recursions,
then layers. A collection PATCHES with the same paths replaces activations. With
neither, the compiled program is the same as without hooks.

    input        input of the layers
    memory_read  output of a layer's associative memory (ARMT)
    attention    output of attention, or of the MLP over positions
    mlp          output of the MLP
    residual     the hidden states after a layer
    memory       a layer's associative memory after a segment (ARMT)
    reasoning    the latent z after a cycle (TRM)
    answer       the latent y after a cycle (TRM)

The hooks of recall are those of its core, in the last loop of a step. There are
none inside modules that halting repeats, in prelude and coda of a
looped model, and in the network of TRM.
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

NAMES = (
  'input', 'memory_read', 'attention', 'mlp', 'residual', 'memory',
  'reasoning', 'answer',
)  # fmt: skip
SEEN, PATCHES = 'hooks', 'patches'
AXES = {SEEN: 0, PATCHES: 0}  # for `variable_axes` of a scan


@flax.struct.dataclass
class Patch:
  """Replacement of a hook's activations.

  Attributes:
    where: bool [L], positions to replace; [] for a hook without positions.
    value: the new activations, of the hook's shape.
  """

  where: jax.Array
  value: Any


def watched(module: nn.Module) -> bool:
  """Whether hooks are recorded or patched in this run."""
  return not module.is_initializing() and (
    module.is_mutable_collection(SEEN) or PATCHES in module.variables
  )


def hook(
  module: nn.Module, name: str, x: Any, batch_size: int | None = None
) -> Any:
  """Records x, or replaces it by a patch.

  Args:
    module: the module that calls this.
    name: of the hook.
    x: activations [B, L, D], or arrays [B, ...] without positions.
    batch_size: B if x is flattened to [B * L, D]; it is recorded as [B, L, D].

  Returns:
    x, patched if there is a patch.
  """
  if not watched(module):
    return x
  shape = jnp.shape(x) if batch_size else None
  if batch_size:
    x = x.reshape(batch_size, -1, shape[-1])
  if module.has_variable(PATCHES, name):
    patch = module.get_variable(PATCHES, name)
    where = patch.where[:, None] if patch.where.ndim else patch.where
    x = jax.tree.map(lambda v, old: jnp.where(where, v, old), patch.value, x)
  if module.is_mutable_collection(SEEN):
    module.put_variable(SEEN, name, x)
  return x.reshape(shape) if batch_size else x
