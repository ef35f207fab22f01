"""Checkpoints of a run folder, through orbax."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp


class Checkpoints:
  """Saves and restores train states in `checkpoints/<step>/`."""

  def __init__(self, folder: pathlib.Path, keep: int = 1):
    """Opens the checkpoints of a run folder.

    Args:
      folder: the run folder.
      keep: number of newest checkpoints that are kept.
    """
    self._manager = ocp.CheckpointManager(
      (folder / 'checkpoints').absolute(),
      options=ocp.CheckpointManagerOptions(
        max_to_keep=keep, cleanup_tmp_directories=True
      ),
    )

  @property
  def latest(self) -> int | None:
    """Step of the newest checkpoint, or None."""
    return self._manager.latest_step()

  def save(self, step: int, state: Any) -> None:
    """Saves in the background; a step that is already there is left alone."""
    if step != self.latest:
      self._manager.save(step, args=ocp.args.StandardSave(state))

  def restore(self, abstract: Any) -> Any:
    """Restores the newest checkpoint.

    Args:
      abstract: tree of `jax.ShapeDtypeStruct` with the shardings to restore
        to.

    Raises:
      FileNotFoundError: where there is none.
    """
    if self.latest is None:
      raise FileNotFoundError('no checkpoint to restore')
    return self._manager.restore(
      self.latest, args=ocp.args.StandardRestore(abstract)
    )

  def close(self) -> None:
    """Waits for saves under way."""
    self._manager.wait_until_finished()
    self._manager.close()


def abstract(tree: Any, sharding: jax.sharding.Sharding) -> Any:
  """Shapes, dtypes and sharding of a tree, for `Checkpoints.restore`."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )
