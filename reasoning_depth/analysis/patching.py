"""Activation patching: what of one run, put into another, brings its answer.

A clean and a corrupt sample are alike in form and have answers a and b. LD is
the logit of a less that of b, averaged over the answer tokens that differ. The
corrupt sample is run with one activation of the clean run in place of its own:

    recovered = (LD_patched - LD_corrupt) / (LD_clean - LD_corrupt)

is 0 where that changes nothing and 1 where it brings the clean answer (causal
tracing of 2202.05262; the measure is that of 2309.16042).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.analysis import activations, lens, milestones, pairs
from reasoning_depth.models import segmented, trm
from reasoning_depth.tasks import base

# Nats. Pairs whose clean and corrupt runs are closer say nothing.
LEAST_GAP = 0.1
_MOST_PLACES = 16
_TOKENS = 2**13  # that are run at once, at least one cell


@dataclasses.dataclass(frozen=True)
class Places:
  """Positions of a hook that are patched together.

  Attributes:
    names: of the P places.
    members: bool [P, L]; [1, 1] for a hook without positions.
  """

  names: tuple[str, ...]
  members: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sweep:
  """Each activation patched alone.

  Attributes:
    clean: LD of the clean runs, [N].
    corrupt: LD of the corrupt runs, [N].
    patched: by hook, LD of the patched runs [places, loops, layers, N].
  """

  clean: np.ndarray
  corrupt: np.ndarray
  patched: dict[str, np.ndarray]

  @property
  def told_apart(self) -> np.ndarray:
    """Bool [N]: pairs whose runs differ by LEAST_GAP at least."""
    return self.clean - self.corrupt >= LEAST_GAP

  def recovered(self) -> dict[str, np.ndarray]:
    """By hook, [places, loops, layers]; NaN where no pair is told apart.

    The ratio of sums over the pairs told apart: a pair counts by how far its
    runs are apart, so that no small denominator blows up its own share.
    """
    kept = self.told_apart
    gap = (self.clean - self.corrupt)[kept].sum()
    return {
      name: np.sum((patched - self.corrupt)[..., kept], -1) / (gap or np.nan)
      for name, patched in self.patched.items()
    }


def sweep(
  model: nn.Module,
  params: Any,
  found: pairs.Pairs,
  hooks: Mapping[str, activations.Hook],
  places: Mapping[str, Places],
  depth: int | None = None,
) -> Sweep:
  """Patches every place of every hook, loop and layer, alone; compiles once.

  Args:
    model: the model.
    params: its parameters.
    found: clean and corrupt samples.
    hooks: which to patch, by name.
    places: of each hook.
    depth: as in the model.
  """
  # The first is the corrupt run as it is.
  index = [(-1, 0, 0, 0)] + [
    (s, place, loop, layer)
    for s, (name, hook) in enumerate(hooks.items())
    for place in range(len(places[name].names))
    for loop in range(hook.loops)
    for layer in range(hook.layers)
  ]
  run = jax.jit(
    lambda params, clean, corrupt, differ: _sweep(
      model, params, (clean, corrupt, differ), hooks, places,
      np.array(index, np.int32), depth,
    )
  )  # fmt: skip
  clean, patched = jax.device_get(
    run(params, found.clean, found.corrupt, found.differ)
  )
  parts, at = {}, 1
  for name, hook in hooks.items():
    shape = len(places[name].names), hook.loops, hook.layers
    parts[name] = patched[at : at + np.prod(shape)].reshape(*shape, -1)
    at += np.prod(shape)
  return Sweep(clean, patched[0], parts)


def _sweep(model, params, samples, hooks, places, index, depth):
  clean, corrupt, differ = samples

  def difference(output):
    a, b = (
      jnp.take_along_axis(output.logits, batch.targets[..., None], -1)[..., 0]
      for batch in (clean, corrupt)
    )
    return jnp.mean(a - b, axis=-1, where=differ)

  output, values = activations.see(model, params, clean.inputs, depth)

  def masks(cell):
    s, place, loop, layer = cell
    made = {}
    for i, (name, hook) in enumerate(hooks.items()):
      here = (jnp.arange(hook.loops) == loop)[:, None, None]
      here &= (jnp.arange(hook.layers) == layer)[None, :, None] & (s == i)
      made[name] = hook.fold(here & jnp.asarray(places[name].members)[place])
    return made

  def patched(cell):
    return difference(
      activations.replaced(
        model, params, corrupt.inputs, hooks, masks(cell), values, depth
      )
    )

  at_once = min(max(1, _TOKENS // corrupt.inputs.size), len(index))
  # Whole chunks, since what is left over would be compiled once more.
  index = np.pad(index, ((0, -len(index) % at_once), (0, 0)), 'edge')
  index = jnp.asarray(index).reshape(-1, at_once, index.shape[1])
  every = jax.lax.map(jax.vmap(patched), index)
  return difference(output), every.reshape(-1, every.shape[-1])


def places_of(
  model: nn.Module, task: base.Task, hook: activations.Hook
) -> Places:
  """What of a hook is patched together: rows of tokens, or single ones."""
  if not hook.positions:
    return Places(('all',), np.ones((1, 1), bool))
  own = activations.own_tokens(model, hook.positions)
  length = own.stop - own.start
  row = task.row_tokens
  if row == 1:
    row = -(-length // _MOST_PLACES)
  of = -np.ones(hook.positions, int)
  of[own] = np.arange(length) // row
  count = -(-length // row)
  members = [of == i for i in range(count)]
  names = [f'row {i}' for i in range(count)]
  if row == 1 and length == task.length:
    names = list(milestones.positions(task))
  at = np.arange(hook.positions)
  for name, memory in (
    ('memory before', at < own.start), ('memory after', at >= own.stop),
  ):  # fmt: skip
    if memory.any():
      names.append(name)
      members.append(memory)
  return Places(tuple(names), np.stack(members))


def analyze(
  model: nn.Module, task: base.Task, params: Any, key: jax.Array, config: Any
) -> dict[str, Any] | None:
  """What `evaluations/patching.json` holds; arguments as of `lens.analyze`.

  Returns:
    None for a model without hooks, or a task without pairs.

  Raises:
    ValueError: for a hook that the model does not have.
  """
  c = config.analyze
  by_kind = {
    kind: found
    for kind, found in pairs.of(task, key, c.samples).items()
    if len(found.clean.group)
  }
  if not by_kind:
    return None
  tokens = next(iter(by_kind.values())).clean.inputs
  hooks = activations.find(model, params, tokens)
  if not hooks:
    return None
  try:
    hooks = activations.choose(hooks, c.hooks)
  except ValueError as error:
    raise ValueError(f'config.analyze.{error}') from None
  places = {name: places_of(model, task, s) for name, s in hooks.items()}
  loop = 'segment' if isinstance(model, segmented.SegmentModel) else 'loop'
  return {
    'loop_name': 'cycle' if isinstance(model, trm.TRM) else loop,
    'least_gap': LEAST_GAP,
    'pairs': [
      _entry(kind, sweep(model, params, found, hooks, places), places)
      for kind, found in by_kind.items()
    ],
  }


def _entry(kind: str, found: Sweep, places: Mapping[str, Places]) -> dict:
  return {
    'other': kind,
    'num_pairs': len(found.clean),
    'told_apart': int(found.told_apart.sum()),
    'clean_difference': float(found.clean.mean(dtype=np.float64)),
    'corrupt_difference': float(found.corrupt.mean(dtype=np.float64)),
    'hooks': [
      {
        'hook': name,
        'places': list(places[name].names),
        'recovered': lens.rounded(recovered),
      }
      for name, recovered in found.recovered().items()
    ],
  }
