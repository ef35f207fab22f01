"""Records and replaces activations of a model; see `models.hooks`."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from reasoning_depth import settings
from reasoning_depth.models import base, hooks

_LAYERS = 'layers'  # what models call their scan over layers


@dataclasses.dataclass(frozen=True)
class Hook:
  """Where a hook of a model is, and its shape.

  Attributes:
    path: of modules, and its name.
    lead: axes in front of [B, L, D] or of a memory, one for each scan around
      it: loops (or segments, or recursions and cycles), then layers.
    positions: L of the hook; 0 where it has none.
  """

  path: tuple[str, ...]
  lead: tuple[int, ...]
  positions: int

  @property
  def layers(self) -> int:
    """Layers that have it; 1 where it is not in a layer."""
    return self.lead[-1] if _LAYERS in self.path else 1

  @property
  def loops(self) -> int:
    """Loops, segments, or cycles of all recursions."""
    return math.prod(self.lead) // self.layers

  def mask(
    self,
    layer: int | None = None,
    loop: int | None = None,
    position: int | None = None,
  ) -> np.ndarray:
    """True at an index, bool [*lead, L]; None for all. See `replaced`.

    Raises:
      ValueError: for an index that the hook does not have.
    """
    size = {
      'layer': self.layers, 'loop': self.loops, 'position': self.positions,
    }  # fmt: skip
    index = {'layer': layer, 'loop': loop, 'position': position}
    for axis, i in index.items():
      if i is not None and not 0 <= i < size[axis]:
        allowed = f'0 to {size[axis] - 1}' if size[axis] else 'none'
        raise ValueError(
          f'{axis}={i}: hook {self.path[-1]} has {allowed} there'
        )
    mask = np.zeros((self.loops, self.layers, max(self.positions, 1)), bool)
    every = slice(None)
    mask[tuple(every if i is None else i for i in (loop, layer, position))] = 1
    return self.fold(mask)

  def fold(self, mask: Any) -> Any:
    """A mask [loops, layers, L, or 1 without positions] in the hook's axes."""
    last = (self.positions,) if self.positions else ()
    return mask.reshape(*self.lead, *last)


def find(
  model: base.Model, params: Any, tokens: jax.Array, depth: int | None = None
) -> dict[str, Hook]:
  """The hooks of a model that reads tokens [B, L], by name; {} without any."""
  _, seen = jax.eval_shape(
    lambda p, t: _see(model, p, t, depth), params, tokens
  )
  found = {}
  for path, held in seen.items():
    smallest = min(jax.tree.leaves(held), key=lambda x: len(x.shape)).shape
    # One array has positions; a structure of arrays is a memory.
    is_array = jax.tree_util.all_leaves([held])
    found[path[-1]] = Hook(path, smallest[:-3], smallest[-2] * is_array)
  return found


def choose(found: Mapping[str, Hook], names: str) -> dict[str, Hook]:
  """Hooks by names with commas between; '' for all.

  Raises:
    UsageError: for a hook that the model does not have.
  """
  chosen = list(filter(None, names.split(','))) or list(found)
  for name in chosen:
    if name not in found:
      settings.complain(
        'hooks', names, f'no hook {name!r}; this model has {", ".join(found)}'
      )
  return {name: found[name] for name in chosen}


def see(
  model: base.Model, params: Any, tokens: jax.Array, depth: int | None = None
) -> tuple[base.Output, dict[str, Any]]:
  """The output for tokens [B, L], and what each hook held, by name."""
  output, seen = _see(model, params, tokens, depth)
  return output, {path[-1]: held for path, held in seen.items()}


def _see(model, params, tokens, depth):
  output, state = model.apply(
    {'params': params}, tokens, depth=depth, mutable=[hooks.SEEN]
  )
  return output, traverse_util.flatten_dict(state.get(hooks.SEEN, {}))


def replaced(
  model: base.Model,
  params: Any,
  tokens: jax.Array,
  found: Mapping[str, Hook],
  masks: Mapping[str, jax.Array],
  values: Mapping[str, Any],
  depth: int | None = None,
) -> base.Output:
  """The output for tokens [B, L] with some activations replaced.

  Args:
    model: the model.
    params: its parameters.
    tokens: the sequence.
    found: its hooks, by name.
    masks: where to replace, by name of the hook; from `Hook.mask`.
    values: what takes the place, by name of the hook; from `see`.
    depth: as in the model.
  """
  patches = {
    found[name].path: hooks.Patch(jax.numpy.asarray(mask), values[name])
    for name, mask in masks.items()
  }
  patches = traverse_util.unflatten_dict(patches)
  return model.apply(
    {'params': params, hooks.PATCHES: patches}, tokens, depth=depth
  )
