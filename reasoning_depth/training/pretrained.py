"""Hugging Face checkpoints as the parameters of a model, and back.

Blocks, embedding and read-out come from the checkpoint. Other parameters, such
as ARMT's memory, keep their initial values.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.exchange import archive, huggingface
from reasoning_depth.models import layers

# Tokens by which a checkpoint's vocabulary may be larger or smaller than the
# task's: padding for the hardware, and tokens that a task adds.
SPARE_TOKENS = 512


def is_one(folder: pathlib.Path) -> bool:
  """Whether a folder holds a Hugging Face checkpoint, rather than a run."""
  return archive.is_one(folder)


def params(model: nn.Module, fresh: Any, folder: pathlib.Path) -> Any:
  """Model parameters initialised from a checkpoint.

  Tokens that the checkpoint lacks keep their fresh embeddings.

  Args:
    model: with `config` and `vocab_size`.
    fresh: its freshly initialised parameters.
    folder: with `config.json` and safetensors files.

  Returns:
    the tree of `fresh`; leaves from the checkpoint are NumPy arrays.

  Raises:
    UsageError: listing every field in which model and checkpoint differ, or as
      `huggingface.load`.
  """
  checkpoint = huggingface.describe(folder)
  _check(model, checkpoint)
  path = _blocks(model, fresh)
  tree = huggingface.load(checkpoint)
  placed = {('read_out',): tree['read_out'], path: tree['block']}
  placed[('embedding',)] = tree['embedding']
  return _replace(fresh, placed)


def save(model: nn.Module, params: Any, folder: pathlib.Path) -> None:
  """Writes embedding, blocks and read-out as a Hugging Face checkpoint.

  Raises:
    UsageError: where the model is neither a LLaMA nor a GPT-NeoX.
  """
  path = _blocks(model, params)
  tree = {name: params[name] for name in ('embedding', 'read_out')}
  tree['block'] = params
  for name in path:
    tree['block'] = tree['block'][name]
  huggingface.save(
    folder, model.vocab_size, _fields(model.config), jax.device_get(tree)
  )


def _fields(config: layers.StackConfig) -> dict[str, Any]:
  """Settings of a stack by dotted name."""
  found = settings.flatten(settings.values(config))
  if found.get('num_kv_heads') == found.get('num_heads'):
    found['num_kv_heads'] = 0
  return found


def _check(model: nn.Module, checkpoint: huggingface.Checkpoint) -> None:
  ours = _fields(model.config)
  wrong = [
    f'config.model.{name}={ours.get(name)}: the checkpoint has {value}'
    for name, value in checkpoint.fields.items()
    if ours.get(name) != value
  ]
  if abs(model.vocab_size - checkpoint.vocab_size) > SPARE_TOKENS:
    wrong.append(
      f'the task has {model.vocab_size} tokens, the checkpoint '
      f'{checkpoint.vocab_size}: take its tokenizer'
    )
  if wrong:
    raise errors.UsageError('; '.join(wrong))


def _blocks(model: nn.Module, params: Any) -> tuple[str, ...]:
  """Path of the blocks in a model's parameters."""
  found = list(_with_attention(params, ()))
  if len(found) != 1 or 'norm' not in params.get('read_out', {}):
    raise errors.UsageError(
      f'{type(model).__name__}: is no plain stack of blocks; checkpoints are '
      'for config.model.name=transformer or armt'
    )
  return found[0]


def _with_attention(
  tree: Any, path: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
  if not isinstance(tree, dict):
    return
  if 'qkv' in tree:
    yield path
    return
  for name, value in tree.items():
    yield from _with_attention(value, (*path, name))


def _replace(tree: Any, new: dict[tuple[str, ...], Any], path=()) -> Any:
  """A tree with new values at some paths."""
  if path in new:
    return jax.tree.map(_overwrite, tree, new[path])
  if not isinstance(tree, dict):
    return tree
  return {k: _replace(v, new, (*path, k)) for k, v in tree.items()}


def _overwrite(old: jax.Array, new: np.ndarray) -> np.ndarray:
  """The old array with new values where the two shapes overlap."""
  if old.shape == new.shape:
    return new
  out = np.array(old)
  both = tuple(map(slice, map(min, zip(old.shape, new.shape, strict=True))))
  out[both] = new[both]
  return out
