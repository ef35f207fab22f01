"""The mesh, and the shardings of batches and states.

Two axes: batches are sharded over `data`; heads and hidden units of transformer
blocks over `model` (tensor parallel). With `parameters = 'fsdp'`, parameters,
optimiser state and averages are sharded over `data` as well.
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from reasoning_depth import errors, settings
from reasoning_depth.runtime import gpus

# Dense layers whose outputs, or whose inputs, are heads or hidden units.
_SHARDED_OUTPUTS = ('qkv', 'mlp_in', 'query', 'key', 'value')
_SHARDED_INPUTS = ('attention_out', 'mlp_out', 'recall_out')
# Fields of a state's `carry` with a leading batch axis.
_BATCHED = ('batch', 'latents', 'passes', 'halted')


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """The device mesh."""

  data: int = settings.field(
    0, 'devices that the batch is sharded over; 0: all that are left'
  )
  model: int = settings.field(
    1, 'devices that heads and hidden units are sharded over', least=1
  )
  parameters: str = settings.field(
    'replicated',
    "replicated, or fsdp: sharded over the batch's devices",
    choices=('replicated', 'fsdp'),
  )


def make_mesh(config: Mapping[str, Any]) -> Mesh:
  """Builds the mesh of `config.mesh`.

  Tells on stderr, once, where a CUDA device is left unused.

  Raises:
    UsageError: for more devices than there are.
  """
  devices = jax.devices()
  _tell(gpus.unused(jax.default_backend()))
  model = config['model']
  data = config['data'] or max(len(devices) // model, 1)
  if data * model > len(devices):
    raise errors.UsageError(
      f'mesh.data={config["data"]}, mesh.model={model}: there are '
      f'{len(devices)} devices (data=0 takes all that are left)'
    )
  return jax.make_mesh(
    (data, model), ('data', 'model'), axis_types=(AxisType.Auto,) * 2,
    devices=devices[: data * model],
  )  # fmt: skip


@functools.cache
def _tell(text: str) -> None:
  if text:
    print(text, file=sys.stderr)


def check_batch(field: str, batch_size: int, mesh: Mesh) -> None:
  """Raises `UsageError` unless every device gets equally many samples."""
  if batch_size % mesh.shape['data']:
    raise errors.UsageError(
      f'{field}={batch_size}: must be a multiple of the '
      f'{mesh.shape["data"]} devices along the batch'
    )


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, P())


def batched(mesh: Mesh) -> NamedSharding:
  """Leading axis sharded over `data`: a batch."""
  return NamedSharding(mesh, P('data'))


def batches(mesh: Mesh) -> NamedSharding:
  """Second axis sharded over `data`: the batches of several steps."""
  return NamedSharding(mesh, P(None, 'data'))


def constrain_batch(batch: Any, mesh: Mesh) -> Any:
  """Inside `jit`: shards a batch over the devices."""
  return jax.lax.with_sharding_constraint(batch, batched(mesh))


def of_state(shapes: Any, mesh: Mesh, config: Mapping[str, Any]) -> Any:
  """Shardings of a train state.

  Args:
    shapes: the state, or its shapes.
    mesh: with axes `data` and `model`.
    config: `config.mesh`; its field `parameters` is used.
  """
  fsdp = mesh.shape['data'] if config['parameters'] == 'fsdp' else 1

  def place(path, leaf):
    names = [str(getattr(p, 'key', getattr(p, 'name', ''))) for p in path]
    if names[0] == 'carry' and names[1] in _BATCHED:
      return batched(mesh)
    spec = _tensor_parallel(names, leaf.shape, mesh.shape['model'])
    return NamedSharding(mesh, P(*_shard_largest(spec, leaf.shape, fsdp)))

  return jax.tree_util.tree_map_with_path(place, shapes)


def _tensor_parallel(
  names: list[str], shape: tuple[int, ...], devices: int
) -> list[str | None]:
  """Shards the axis of heads or hidden units over `model`."""
  spec = [None] * len(shape)
  layer = names[-2] if len(names) > 1 else ''
  axis = None
  if layer in _SHARDED_OUTPUTS:
    axis = -1
  elif layer in _SHARDED_INPUTS and names[-1] == 'kernel':
    axis = -2
  if axis and devices > 1 and shape[axis] % devices == 0:
    spec[axis] = 'model'
  return spec


def _shard_largest(
  spec: list[str | None], shape: tuple[int, ...], devices: int
) -> list[str | None]:
  """Shards the largest unsharded axis that divides evenly over `data`."""
  free = [
    i for i, n in enumerate(shape)
    if spec[i] is None and n >= devices and n % devices == 0
  ]  # fmt: skip
  if devices > 1 and free:
    spec[max(free, key=lambda i: shape[i])] = 'data'
  return spec
