"""Where arrays live: the mesh and every sharding decision."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def make_mesh(config: Mapping[str, Any]) -> Mesh:
  """Builds the mesh of `config.mesh`: devices along the batch.

  Raises:
    ValueError: where more devices are asked for than there are.
  """
  devices = jax.devices()
  count = config['data'] or len(devices)
  if not 1 <= count <= len(devices):
    raise ValueError(
      f'mesh.data={config["data"]}: there are {len(devices)} devices (0 takes '
      'all)'
    )
  return jax.make_mesh(
    (count,), ('data',), axis_types=(AxisType.Auto,), devices=devices[:count]
  )


def check_batch(field: str, batch_size: int, mesh: Mesh) -> None:
  """Raises ValueError unless every device gets as many samples."""
  if batch_size % mesh.shape['data']:
    raise ValueError(
      f'{field}={batch_size}: must be a multiple of the '
      f'{mesh.shape["data"]} devices along the batch'
    )


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device: parameters, optimiser state, keys."""
  return NamedSharding(mesh, P())


def batched(mesh: Mesh) -> NamedSharding:
  """Leading axis split over the devices: batches."""
  return NamedSharding(mesh, P('data'))


def constrain_batch(batch: Any, mesh: Mesh) -> Any:
  """Inside `jit`: splits a batch over the devices."""
  return jax.lax.with_sharding_constraint(batch, batched(mesh))
