"""Reads and writes Hugging Face checkpoints of LLaMA and GPT-NeoX.

`_entries` lists the Hugging Face tensors that each of our arrays is made of.
Their matrices are [out, in], one per layer; ours are [in, out], with the layers
stacked along axis 0. Our query, key and value matrices are concatenated along
the outputs, and so are the two input matrices of a gated MLP.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from reasoning_depth import errors
from reasoning_depth.exchange import archive, huggingface_config

# Constants that older versions of transformers stored with the parameters.
_CONSTANTS = re.compile(
  r'.*\.(rotary_emb\.inv_freq|attention\.(masked_)?bias)', re.DOTALL
)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A checkpoint's config, in our terms.

  Attributes:
    folder: with `config.json` and the safetensors files.
    family: 'llama' or 'gpt_neox'.
    vocab_size: V.
    fields: values that `config.model` must have, by dotted name.
  """

  folder: pathlib.Path
  family: str
  vocab_size: int
  fields: Mapping[str, Any]


def describe(folder: pathlib.Path) -> Checkpoint:
  """Reads the config of a checkpoint; errors as `huggingface_config.read`."""
  return Checkpoint(folder, *huggingface_config.read(folder))


def load(checkpoint: Checkpoint) -> dict[str, Any]:
  """The parameters of a checkpoint as float32 NumPy arrays.

  Returns:
    `embedding`, `read_out`, and `block` with the layers stacked along axis 0,
    named as in `models.transformer.Transformer`.

  Raises:
    UsageError: naming the file that cannot be read; or, before any tensor is
      read, all tensors that are missing, unexpected, or of another shape or
      dtype than the config says.
  """
  found = archive.contents(checkpoint.folder)
  entries = _entries(checkpoint)
  _check(checkpoint, entries, found)
  tree = {}
  for entry in entries:
    layers = [
      entry.join([_read(found, name) for name in names])
      for names in entry.names()
    ]
    _put(tree, entry.ours, np.stack(layers) if entry.layers else layers[0])
  return tree


def save(
  folder: pathlib.Path,
  vocab_size: int,
  fields: Mapping[str, Any],
  tree: Mapping[str, Any],
) -> None:
  """Writes a checkpoint; the inverse of `describe` and `load`.

  Args:
    folder: made if it does not exist.
    vocab_size: V.
    fields: of `config.model` by dotted name.
    tree: as `load` returns it.

  Raises:
    UsageError: where neither family can represent the model.
  """
  folder.mkdir(parents=True, exist_ok=True)
  family = huggingface_config.write(folder, vocab_size, fields)
  tensors = {}
  for entry in _entries(Checkpoint(folder, family, vocab_size, fields)):
    array = _get(tree, entry.ours)
    layers = array if entry.layers else [array]
    for names, layer in zip(entry.names(), layers, strict=True):
      parts = entry.split(np.asarray(layer, np.float32))
      tensors |= zip(names, parts, strict=True)
  archive.write(folder, tensors)


@dataclasses.dataclass(frozen=True)
class _Entry:
  """One of our arrays, and the Hugging Face tensors it is made of.

  Attributes:
    ours: its path, such as 'block/qkv/kernel'.
    theirs: shapes of those tensors by name; `{}` is the layer's index.
    layers: number of layers stacked; 0 for an array outside the layers.
    heads: number of heads if their outputs are ordered [head, q/k/v] and ours
      [q/k/v, head] (GPT-NeoX's qkv); else 0.
  """

  ours: str
  theirs: Mapping[str, tuple[int, ...]]
  layers: int = 0
  heads: int = 0

  def names(self) -> Iterator[list[str]]:
    """Names of the Hugging Face tensors, for each layer."""
    for i in range(max(self.layers, 1)):
      yield [name.format(i) for name in self.theirs]

  def join(self, parts: list[np.ndarray]) -> np.ndarray:
    """Our array from theirs, for one layer."""
    x = np.concatenate(parts)
    if self.heads:
      x = _regroup(x, self.heads, 3)
    return x.T if self.ours.endswith('kernel') else x

  def split(self, x: np.ndarray) -> list[np.ndarray]:
    """Their arrays from ours, for one layer."""
    x = x.T if self.ours.endswith('kernel') else x
    if self.heads:
      x = _regroup(x, 3, self.heads)
    sizes = [shape[0] for shape in self.theirs.values()]
    return np.split(x, np.cumsum(sizes)[:-1])


def _regroup(x: np.ndarray, outer: int, inner: int) -> np.ndarray:
  """Reorders axis 0 from [outer, inner, ...] to [inner, outer, ...]."""
  parts = x.reshape(outer, inner, -1, *x.shape[1:])
  return parts.swapaxes(0, 1).reshape(x.shape)


def _entries(checkpoint: Checkpoint) -> list[_Entry]:
  """All arrays of a model, with the tensors they are made of."""
  f, V = checkpoint.fields, checkpoint.vocab_size
  layers, D = f['num_layers'], f['width']
  llama = checkpoint.family == 'llama'
  if llama:
    embed, norm, out = 'model.embed_tokens', 'model.norm', 'lm_head'
    prefix, blocks = 'model.layers.{}.', _llama_block(f)
  else:
    embed, norm = 'gpt_neox.embed_in', 'gpt_neox.final_layer_norm'
    out = 'embed_out'
    prefix, blocks = 'gpt_neox.layers.{}.', _neox_block(f)
  rest = {
    'embedding/tokens/embedding': {f'{embed}.weight': (V, D)},
    'read_out/norm/scale': {f'{norm}.weight': (D,)},
  }
  if not llama:
    rest['read_out/norm/bias'] = {f'{norm}.bias': (D,)}
  if not f['tied']:
    rest['read_out/logits/kernel'] = {f'{out}.weight': (V, D)}
  entries = [_Entry(ours, theirs) for ours, theirs in rest.items()]
  for ours, theirs in blocks.items():
    theirs = {prefix + name: shape for name, shape in theirs.items()}
    heads = f['num_heads'] if ours.startswith('qkv') and not llama else 0
    entries.append(_Entry(f'block/{ours}', theirs, layers, heads))
  return entries


def _llama_block(f: Mapping[str, Any]) -> dict[str, Any]:
  D, F, heads = f['width'], f['mlp_width'], f['num_heads']
  keys = D // heads * (f['num_kv_heads'] or heads)
  return {
    'attention_norm/scale': {'input_layernorm.weight': (D,)},
    'qkv/kernel': {
      'self_attn.q_proj.weight': (D, D),
      'self_attn.k_proj.weight': (keys, D),
      'self_attn.v_proj.weight': (keys, D),
    },
    'attention_out/kernel': {'self_attn.o_proj.weight': (D, D)},
    'mlp_norm/scale': {'post_attention_layernorm.weight': (D,)},
    'mlp_in/kernel': {
      'mlp.gate_proj.weight': (F, D),
      'mlp.up_proj.weight': (F, D),
    },
    'mlp_out/kernel': {'mlp.down_proj.weight': (D, F)},
  }


def _neox_block(f: Mapping[str, Any]) -> dict[str, Any]:
  D, F = f['width'], f['mlp_width']
  found = {}
  for ours, theirs in (
    ('attention_norm', 'input_layernorm'),
    ('mlp_norm', 'post_attention_layernorm'),
  ):
    found[f'{ours}/scale'] = {f'{theirs}.weight': (D,)}
    found[f'{ours}/bias'] = {f'{theirs}.bias': (D,)}
  for ours, theirs, shape in (
    ('qkv', 'attention.query_key_value', (3 * D, D)),
    ('attention_out', 'attention.dense', (D, D)),
    ('mlp_in', 'mlp.dense_h_to_4h', (F, D)),
    ('mlp_out', 'mlp.dense_4h_to_h', (D, F)),
  ):
    found[f'{ours}/kernel'] = {f'{theirs}.weight': shape}
    found[f'{ours}/bias'] = {f'{theirs}.bias': shape[:1]}
  return found


def _check(
  checkpoint: Checkpoint,
  entries: list[_Entry],
  found: Mapping[str, archive.Stored],
) -> None:
  """Raises `UsageError` listing every tensor that does not fit."""
  wrong, expected = [], set()
  for entry in entries:
    for names in entry.names():
      for name, shape in zip(names, entry.theirs.values(), strict=True):
        expected.add(name)
        if name not in found:
          wrong.append(f'{name} is missing')
        elif found[name].shape != shape:
          wrong.append(f'{name} has the shape {found[name].shape}, not {shape}')
        elif found[name].dtype not in archive.DTYPES:
          wrong.append(
            f'{name} is of {archive.line(found[name].dtype)}, not one of '
            f'{", ".join(archive.DTYPES)}'
          )
  for name in found.keys() - expected:
    if not _CONSTANTS.fullmatch(name):
      wrong.append(f'{archive.line(name)} is not expected')
  if wrong:
    raise errors.UsageError(
      f'{checkpoint.folder}: {len(wrong)} tensors are not as '
      f'{huggingface_config.NAME} says: {"; ".join(sorted(wrong))}'
    )


def _read(found: Mapping[str, archive.Stored], name: str) -> np.ndarray:
  return archive.load(found[name], name).astype(np.float32)


def _put(tree: dict[str, Any], path: str, value: np.ndarray) -> None:
  *groups, name = path.split('/')
  for group in groups:
    tree = tree.setdefault(group, {})
  tree[name] = value


def _get(tree: Mapping[str, Any], path: str) -> Any:
  for name in path.split('/'):
    tree = tree[name]
  return tree
