"""How it is answered: models map tokens to logits and know no task."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from reasoning_depth.models import armt, attention, layers, memory, transformer


def make(config: Mapping[str, Any], task: Any) -> nn.Module:
  """Builds a model from `config.model` for a task.

  Args:
    config: the name of the model and its fields.
    task: gives `vocab_size`, `length`, `block` and `causal`.

  Raises:
    ValueError: for an unknown name, or fields that do not go together.
  """
  name = config['name']
  if name not in MODELS:
    raise ValueError(f'name={name!r}: allowed are {", ".join(MODELS)}')
  return MODELS[name](config, task)


def _backbone(config: Mapping[str, Any], task: Any) -> layers.Backbone:
  names = layers.Backbone.__dataclass_fields__.keys() - {'row'}
  fields = {name: config[name] for name in names}
  _choose('dtype', fields['dtype'], layers.DTYPES)
  fields['dtype'] = layers.DTYPES[fields['dtype']]
  _choose('positions', fields['positions'], layers.POSITIONS)
  _choose('attention', fields['attention'], attention.IMPLEMENTATIONS)
  _choose('remat', fields['remat'], layers.REMAT)
  if config['width'] % config['num_heads']:
    raise ValueError(
      f'width={config["width"]}: must be a multiple of '
      f'num_heads={config["num_heads"]}'
    )
  fields['unroll'] = _unroll('unroll', config, config['num_layers'])
  return layers.Backbone(row=task.block, **fields)


def _transformer(config: Mapping[str, Any], task: Any) -> nn.Module:
  return transformer.Transformer(
    _backbone(config, task), task.vocab_size, task.causal
  )


def _armt(config: Mapping[str, Any], task: Any) -> nn.Module:
  m = config['memory']
  fields = {k: m[k] for k in memory.MemoryConfig.__dataclass_fields__}
  _choose('memory.features', m['features'], memory.FEATURES)
  for wide, per_head in (
    ('memory.key_width', m['key_width']),
    ('width', config['width']),
  ):
    if per_head % m['num_heads']:
      raise ValueError(
        f'{wide}={per_head}: must be a multiple of '
        f'memory.num_heads={m["num_heads"]}'
      )
  shown, repeated = m['segment_states'], m['repeat_states']
  states = task.length // task.block
  if shown < 1 or not 0 <= repeated < shown:
    raise ValueError(
      f'memory.repeat_states={repeated}: must be from 0 to '
      f'memory.segment_states={shown} less one'
    )
  if shown > states or (states - shown) % (shown - repeated):
    raise ValueError(
      f'memory.segment_states={shown}: with memory.repeat_states={repeated} '
      f'segments do not divide a sequence of {states} states (the answer is '
      'one of them)'
    )
  stride = (shown - repeated) * task.block
  segments = (states - repeated) // (shown - repeated)
  return armt.ARMT(
    _backbone(config, task),
    memory.MemoryConfig(**fields),
    task.vocab_size,
    task.causal,
    segment_length=shown * task.block,
    stride=stride,
    truncate=m['truncate'],
    unroll_segments=_unroll('memory.unroll', m, segments),
  )


MODELS = {'transformer': _transformer, 'armt': _armt}


def _choose(field: str, value: str, allowed: Any) -> None:
  if value not in allowed:
    raise ValueError(f'{field}={value!r}: allowed are {", ".join(allowed)}')


def _unroll(field: str, config: Mapping[str, Any], length: int) -> int:
  """Iterations of a scan that are unrolled; 0 chooses by platform.

  XLA on CPU runs the body of a loop slower than the same code outside of one;
  on accelerators a rolled loop is as fast and compiles in a fraction of the
  time.
  """
  value = config[field.split('.')[-1]]
  if value < 0:
    raise ValueError(f'{field}={value}: must be 0 (by platform) or more')
  if value:
    return min(value, length)
  return length if jax.default_backend() == 'cpu' else 1
