"""Named places in a model at which activations can be seen and replaced.

`model.apply(…, mutable=[SEEN])` returns what every hook held, by path, with an
axis in front for each scan around it: loops, segments or recursions, then
layers. A collection PATCHES of the same paths replaces it. A run given neither
is compiled to the same program as if there were no hooks.

    input        what the layers get
    memory_read  what a layer's associative memory adds (ARMT)
    attention    what attention, or the MLP over positions, adds
    mlp          what the MLP adds
    residual     the hidden states after a layer
    memory       a layer's associative memory after a segment (ARMT)
    reasoning    the latent z after a cycle (TRM)
    answer       the latent y after a cycle (TRM)

There are none inside of what halting repeats, in prelude and coda of a looped
model, and in the network of TRM.
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
  """What a hook is to hold instead.

  Attributes:
    where: bool [L], at which positions; [] for a hook without positions.
    value: of the hook's shape.
  """

  where: jax.Array
  value: Any


def watched(module: nn.Module) -> bool:
  """Whether hooks are seen or replaced in this run."""
  return not module.is_initializing() and (
    module.is_mutable_collection(SEEN) or PATCHES in module.variables
  )


def hook(
  module: nn.Module, name: str, x: Any, batch_size: int | None = None
) -> Any:
  """A hook of a module.

  Args:
    module: where it is.
    name: of the hook.
    x: what is there: [B, L, D], or arrays [B, ...] without positions.
    batch_size: B where x is in rows [B * L, D]; they are seen as [B, L, D].

  Returns:
    x, or what takes its place.
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
