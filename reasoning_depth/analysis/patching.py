"""Activation patching: which activations carry a sample's answer.

A clean and a corrupt sample are alike in form and have different answers a and
b. The logit difference LD is the logit of a less that of b, averaged over the
answer tokens that differ. The corrupt sample is run with one activation of the
clean run in place of its own:

    recovered = (LD_patched - LD_corrupt) / (LD_clean - LD_corrupt)

is 0 where that changes nothing and 1 where it restores the clean answer (causal
tracing of 2202.05262; the measure is that of 2309.16042).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.analysis import activations, lens
from reasoning_depth.models import base as models_base
from reasoning_depth.tasks import base

# Nats. Pairs whose clean and corrupt runs differ by less are left out.
LEAST_GAP = 0.1
_MOST_PLACES = 16  # of a sequence without rows
_TOKENS = 2**13  # run at once: as many patches as fit in, at least one


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
  """Logit differences of N pairs, with each activation patched alone.

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
    """Bool [N]: pairs whose runs differ by at least LEAST_GAP."""
    return self.clean - self.corrupt >= LEAST_GAP

  def recovered(self) -> dict[str, np.ndarray]:
    """By hook, [places, loops, layers]; NaN where no pair is told apart.

    The ratio of sums over the pairs told apart, so that a pair with a small
    denominator does not dominate.
    """
    kept = self.told_apart
    gap = (self.clean - self.corrupt)[kept].sum()
    return {
      name: np.sum((patched - self.corrupt)[..., kept], -1) / (gap or np.nan)
      for name, patched in self.patched.items()
    }


def sweep(
  model: models_base.Model,
  params: Any,
  found: base.Pairs,
  hooks: Mapping[str, activations.Hook],
  places: Mapping[str, Places],
  depth: int | None = None,
) -> Sweep:
  """Patches each place of each hook, loop and layer alone; compiles once.

  Args:
    model: the model.
    params: its parameters.
    found: clean and corrupt samples.
    hooks: which to patch, by name.
    places: of each hook.
    depth: as in the model.
  """
  # No hook has the number -1: the first is the corrupt run itself.
  index = [(-1, 0, 0, 0)] + [
    (number, place, loop, layer)
    for number, (name, hook) in enumerate(hooks.items())
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

  def masks(at):
    number, place, loop, layer = at
    made = {}
    for i, (name, hook) in enumerate(hooks.items()):
      here = (jnp.arange(hook.loops) == loop)[:, None, None]
      here &= (jnp.arange(hook.layers) == layer)[None, :, None]
      here &= number == i
      made[name] = hook.fold(here & jnp.asarray(places[name].members)[place])
    return made

  def patched(at):
    return difference(
      activations.replaced(
        model, params, corrupt.inputs, hooks, masks(at), values, depth
      )
    )

  at_once = min(max(1, _TOKENS // corrupt.inputs.size), len(index))
  # Padded to whole chunks, since a shorter last one would be compiled again.
  index = np.pad(index, ((0, -len(index) % at_once), (0, 0)), 'edge')
  index = jnp.asarray(index).reshape(-1, at_once, index.shape[1])
  every = jax.lax.map(jax.vmap(patched), index)
  return difference(output), every.reshape(-1, every.shape[-1])


def places_of(
  model: models_base.Model, task: base.Task, hook: activations.Hook
) -> Places:
  """Positions of a hook that are patched together.

  A row of the task each; without rows single tokens, or equal parts of a long
  sequence. Memory tokens before and after a segment are places of their own.
  """
  if not hook.positions:
    return Places(('all',), np.ones((1, 1), bool))
  own = model.own_tokens(hook.positions)
  length = own.stop - own.start
  row = task.row_tokens
  if row == 1:
    row = -(-length // _MOST_PLACES)
  of = -np.ones(hook.positions, int)
  of[own] = np.arange(length) // row
  count = -(-length // row)
  members = [of == i for i in range(count)]
  names = [f'row {i}' for i in range(count)]
  if row == 1 and length == len(task.positions()):
    names = list(task.positions())
  at = np.arange(hook.positions)
  for name, memory in (
    ('memory before', at < own.start), ('memory after', at >= own.stop),
  ):  # fmt: skip
    if memory.any():
      names.append(name)
      members.append(memory)
  return Places(tuple(names), np.stack(members))


def analyze(
  model: models_base.Model,
  task: base.Task,
  params: Any,
  key: jax.Array,
  config: Any,
) -> dict[str, Any] | None:
  """What `evaluations/patching.json` holds; arguments as of `lens.analyze`.

  Returns:
    None for a model without hooks, or a task without pairs.

  Raises:
    UsageError: for a hook that the model does not have.
  """
  c = config.analyze
  by_kind = {
    kind: found
    for kind, found in task.pairs(key, c.samples).items()
    if len(found.clean.group)
  }
  if not by_kind:
    return None
  tokens = next(iter(by_kind.values())).clean.inputs
  hooks = activations.find(model, params, tokens)
  if not hooks:
    return None
  with settings.within('config.analyze.'):
    hooks = activations.choose(hooks, c.hooks)
  places = {name: places_of(model, task, hook) for name, hook in hooks.items()}
  return {
    'loop_name': model.depth_name,
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
