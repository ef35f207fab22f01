"""How it is answered: models map tokens to logits and know no task."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

from reasoning_depth.models import (
  armt,
  attention,
  halting,
  layers,
  looped,
  lstm,
  mamba,
  memory,
  rmt,
  transformer,
  trm,
)


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


def _backbone(
  config: Mapping[str, Any], task: Any, whole: bool = True
) -> layers.TransformerConfig:
  """Shape of a stack that reads whole sequences, or segments of them."""
  names = layers.TransformerConfig.__dataclass_fields__.keys() - {
    'row',
    'max_length',
  }
  fields = {name: config[name] for name in names if name in config}
  _choose('dtype', fields['dtype'], layers.DTYPES)
  if 'rotary' in config:
    fields['rotary'] = _rotary(config['rotary'])
  fields['dtype'] = layers.DTYPES[fields['dtype']]
  for field, allowed in (
    ('positions', layers.POSITIONS),
    ('attention', attention.IMPLEMENTATIONS),
    ('remat', layers.REMAT),
    ('norm', layers.NORMS),
    ('norm_place', layers.NORM_PLACES),
    ('mlp', layers.MLPS),
    ('mixer', layers.MIXERS),
  ):
    if field in fields:
      _choose(field, fields[field], allowed)
  if fields['positions'] in ('lattice', 'relative') and task.row_tokens == 1:
    raise ValueError(
      f'positions={fields["positions"]}: needs rows of cells, which '
      'task.name=orbits has'
    )
  if fields['attention'] == 'cudnn' and (
    config['dtype'] != 'bfloat16' or jax.default_backend() != 'gpu'
  ):
    raise ValueError(
      f'attention=cudnn: needs dtype=bfloat16, not {config["dtype"]}, and a '
      f'GPU, not a {jax.default_backend()}; attention=xla runs everywhere'
    )
  if config['width'] % config['num_heads']:
    raise ValueError(
      f'width={config["width"]}: must be a multiple of '
      f'num_heads={config["num_heads"]}'
    )
  if config['num_kv_heads'] and config['num_heads'] % config['num_kv_heads']:
    raise ValueError(
      f'num_kv_heads={config["num_kv_heads"]}: must divide '
      f'num_heads={config["num_heads"]} (0 for as many)'
    )
  fields['unroll'] = _unroll('unroll', config, config['num_layers'])
  backbone = layers.TransformerConfig(
    row=task.row_tokens, max_length=task.length if whole else 0, **fields
  )
  if backbone.norm_place == 'post' and backbone.parallel_residual:
    raise ValueError(
      'norm_place=post: needs parallel_residual=False, since attention and '
      'MLP come one after the other'
    )
  if backbone.mixer == 'mlp' and task.causal:
    raise ValueError('mixer=mlp: sees all positions; needs task.layout=masked')
  return backbone


def _rotary(config: Mapping[str, Any]) -> attention.Rotary:
  _choose('rotary.scaling', config['scaling'], attention.SCALINGS)
  if config['low'] >= config['high']:
    raise ValueError(
      f'rotary.low={config["low"]}: must be below rotary.high={config["high"]}'
    )
  return attention.Rotary(**config)


def _halting(config: Mapping[str, Any]) -> halting.Halting:
  if 'halting' not in config:
    return halting.Halting()
  return halting.Halting(**config['halting'])


def _block(
  config: Mapping[str, Any], backbone: layers.TransformerConfig, task: Any
) -> Callable[..., nn.Module]:
  """A transformer block, as a layer of a stack."""
  del config
  return functools.partial(layers.Block, backbone, task.causal)


def _lstm(config, backbone, task) -> Callable[..., nn.Module]:
  del config, task
  return functools.partial(lstm.LSTMLayer, backbone)


def _mamba(config, backbone, task) -> Callable[..., nn.Module]:
  del task
  return functools.partial(mamba.MambaLayer, backbone, config['state_size'])


def _stacked(make_layer: Callable, config: Mapping[str, Any], task: Any):
  backbone = _backbone(config, task)
  return transformer.Transformer(
    backbone,
    task.vocab_size,
    make_layer(config, backbone, task),
    _halting(config),
  )


def _segments(config: Mapping[str, Any], task: Any) -> dict[str, int]:
  """Length, stride, truncation and unrolling of segments, in tokens."""
  m = config['memory']
  shown, repeated = m['segment_states'], m['repeat_states']
  if shown < 1 or not 0 <= repeated < shown:
    raise ValueError(
      f'memory.repeat_states={repeated}: must be from 0 to '
      f'memory.segment_states={shown} less one'
    )
  for tokens in (task.length, getattr(task, 'held_out_length', task.length)):
    rest = tokens - shown * task.row_tokens
    if rest < 0 or rest % ((shown - repeated) * task.row_tokens):
      raise ValueError(
        f'memory.segment_states={shown}: with memory.repeat_states={repeated} '
        f'segments do not divide a sequence of {tokens / task.row_tokens:g} '
        'states (the answer is one of them)'
      )
  count = (task.length // task.row_tokens - repeated) // (shown - repeated)
  return {
    'segment_length': shown * task.row_tokens,
    'stride': (shown - repeated) * task.row_tokens,
    'truncate': m['truncate'],
    'unroll_segments': _unroll('memory.unroll', m, count),
  }


def _rmt(config: Mapping[str, Any], task: Any) -> nn.Module:
  backbone = _backbone(config, task, whole=False)
  return rmt.RMT(
    config=backbone,
    vocab_size=task.vocab_size,
    layer=_block(config, backbone, task),
    num_tokens=config['memory']['num_tokens'],
    adaptive=_halting(config),
    **_segments(config, task),
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
  return armt.ARMT(
    config=_backbone(config, task, whole=False),
    memory=memory.MemoryConfig(**fields),
    vocab_size=task.vocab_size,
    causal=task.causal,
    adaptive=_halting(config),
    **_segments(config, task),
  )


def _looped(config: Mapping[str, Any], task: Any) -> nn.Module:
  backbone = _backbone(config, task)
  return looped.Looped(
    backbone,
    task.vocab_size,
    _block(config, backbone, task),
    looped.Recurrence(**config['recurrence']),
  )


def _trm(config: Mapping[str, Any], task: Any) -> nn.Module:
  if task.causal:
    raise ValueError(
      'name=trm: answers all cells at once; needs task.layout=masked'
    )
  backbone = _backbone(config, task)
  return trm.TRM(
    backbone,
    task.vocab_size,
    _block(config, backbone, task),
    trm.TinyRecursion(**config['recursion']),
  )


MODELS = {
  'transformer': functools.partial(_stacked, _block),
  'lstm': functools.partial(_stacked, _lstm),
  'mamba': functools.partial(_stacked, _mamba),
  'rmt': _rmt,
  'armt': _armt,
  'looped': _looped,
  'trm': _trm,
}


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
