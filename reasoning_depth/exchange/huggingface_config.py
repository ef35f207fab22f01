"""The `config.json` of a Hugging Face checkpoint, as fields of `config.model`.

For LLaMA and GPT-NeoX. Unknown fields and wrong types raise `UsageError`.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NoReturn

from reasoning_depth import errors
from reasoning_depth.exchange import archive

NAME = 'config.json'
_LARGEST = 2**24  # of any width or count
_DEEPEST = 4096  # layers
_HUGE = 1e30  # of a number
# Fields that do not affect the logits at inference.
_IGNORED = {
  '_name_or_path', 'architectures', 'attention_dropout', 'bos_token_id',
  'classifier_dropout', 'dtype', 'eos_token_id', 'hidden_dropout',
  'initializer_range', 'is_decoder', 'max_position_embeddings',
  'max_sequence_length', 'model_type', 'pad_token_id', 'pretraining_tp',
  'torch_dtype', 'transformers_version', 'unk_token_id', 'use_cache',
}  # fmt: skip
_LLAMA = {
  'positions': 'rotary', 'rotary_fraction': 1.0, 'parallel_residual': False,
  'bias': False, 'norm': 'rms', 'norm_place': 'pre', 'mlp': 'swiglu',
  'mixer': 'attention',
}  # fmt: skip
_NEOX = {
  'positions': 'rotary', 'num_kv_heads': 0, 'bias': True, 'norm': 'layer',
  'norm_place': 'pre', 'mlp': 'gelu', 'mixer': 'attention',
}  # fmt: skip


def read(folder: pathlib.Path) -> tuple[str, int, dict[str, Any]]:
  """Reads the config of a checkpoint.

  Returns:
    the family, 'llama' or 'gpt_neox'; the vocabulary size; and the values of
    `config.model` that the checkpoint fixes, by dotted name.

  Raises:
    UsageError: naming the file, the field, its value and what is allowed.
  """
  path = folder / NAME
  values = _Values(path, archive.read_json(path))
  family = values.word('model_type', FAMILIES)
  fields = {
    'num_layers': values.whole('num_hidden_layers', _DEEPEST),
    'width': values.whole('hidden_size'),
    'num_heads': values.whole('num_attention_heads'),
    'mlp_width': values.whole('intermediate_size'),
    'tied': values.truth('tie_word_embeddings', False),
  }
  values.divides('num_attention_heads', fields['num_heads'], fields['width'])
  fields |= FAMILIES[family](values, fields)
  vocab_size = values.whole('vocab_size')
  values.finish()
  return family, vocab_size, fields


def write(
  folder: pathlib.Path, vocab_size: int, fields: Mapping[str, Any]
) -> str:
  """Writes the config of a checkpoint; the inverse of `read`.

  Args:
    folder: to write to.
    vocab_size: V.
    fields: of `config.model` by dotted name; unused ones are ignored.

  Returns:
    the family.

  Raises:
    UsageError: naming the field that neither family can represent.
  """
  family = 'llama' if fields['norm'] == 'rms' else 'gpt_neox'
  fixed = _LLAMA if family == 'llama' else _NEOX
  for name, value in fixed.items():
    if fields[name] != value:
      raise errors.UsageError(
        f'{name}={fields[name]}: must be {value} to be written as {family}, '
        f'as norm={fields["norm"]} asks'
      )
  config = {
    'model_type': family,
    'vocab_size': vocab_size,
    'num_hidden_layers': fields['num_layers'],
    'hidden_size': fields['width'],
    'num_attention_heads': fields['num_heads'],
    'intermediate_size': fields['mlp_width'],
    'tie_word_embeddings': fields['tied'],
  }
  scaling = _SCALED[fields['rotary.scaling']]
  if scaling:
    config['rope_scaling'] = {'rope_type': fields['rotary.scaling']} | {
      theirs: fields[f'rotary.{ours}'] for theirs, ours in scaling.items()
    }
  if family == 'llama':
    config |= {
      'architectures': ['LlamaForCausalLM'],
      'num_key_value_heads': fields['num_kv_heads'] or fields['num_heads'],
      'hidden_act': 'silu',
      'rms_norm_eps': fields['norm_epsilon'],
      'rope_theta': fields['rotary.base'],
    }
  else:
    config |= {
      'architectures': ['GPTNeoXForCausalLM'],
      'hidden_act': 'gelu',
      'layer_norm_eps': fields['norm_epsilon'],
      'rotary_emb_base': fields['rotary.base'],
      'rotary_pct': fields['rotary_fraction'],
      'use_parallel_residual': fields['parallel_residual'],
    }
  archive.write_json(folder / NAME, config)
  return family


def _llama(values: '_Values', shape: Mapping[str, Any]) -> dict[str, Any]:
  heads = shape['num_heads']
  groups = values.whole('num_key_value_heads', default=heads)
  values.divides('num_key_value_heads', groups, heads)
  values.only('head_dim', shape['width'] // heads)
  values.only('hidden_act', 'silu')
  values.only('attention_bias', False)
  values.only('mlp_bias', False)
  rope = values.rope('rope_theta', 'partial_rotary_factor', 1.0)
  rope.only('partial_rotary_factor', 1.0)
  return _LLAMA | {
    'num_kv_heads': 0 if groups == heads else groups,
    'norm_epsilon': values.number('rms_norm_eps', 0, 1, 1e-6),
    **_rotary(rope),
  }


def _neox(values: '_Values', shape: Mapping[str, Any]) -> dict[str, Any]:
  del shape
  values.only('hidden_act', 'gelu')
  values.only('attention_bias', True)
  rope = values.rope('rotary_emb_base', 'rotary_pct', 0.25)
  return _NEOX | {
    'parallel_residual': values.truth('use_parallel_residual', True),
    'norm_epsilon': values.number('layer_norm_eps', 0, 1, 1e-5),
    'rotary_fraction': rope.number('partial_rotary_factor', 0, 1),
    **_rotary(rope),
  }


FAMILIES = {'llama': _llama, 'gpt_neox': _neox}
# Parameters of each rotary scaling: their name to ours.
_SCALED = {
  'none': {},
  'linear': {'factor': 'factor'},
  'llama3': {
    'factor': 'factor',
    'low_freq_factor': 'low',
    'high_freq_factor': 'high',
    'original_max_position_embeddings': 'length',
  },
}


def _rotary(rope: '_Values') -> dict[str, Any]:
  """Fields of `config.model.rotary`, those that the scaling uses."""
  kinds = ['default', 'linear', 'llama3']
  kind = rope.word('type', kinds, rope.word('rope_type', kinds, 'default'))
  kind = 'none' if kind == 'default' else kind
  found = {'scaling': kind, 'base': rope.number('rope_theta', 1, _HUGE)}
  for theirs, ours in _SCALED[kind].items():
    if ours == 'length':
      found[ours] = rope.whole(theirs)
    else:
      found[ours] = rope.number(theirs, 1 if ours == 'factor' else 0, _HUGE)
  if kind == 'llama3' and found['low'] >= found['high']:
    rope.complain('low_freq_factor', found['low'], 'below high_freq_factor')
  rope.finish()
  return {f'rotary.{name}': value for name, value in found.items()}


class _Values:
  """A JSON object whose fields are removed one by one, each checked."""

  def __init__(self, path: pathlib.Path, values: Mapping[str, Any]):
    self._path = path
    # A null counts as absent.
    self._left = {k: v for k, v in values.items() if v is not None}

  def complain(self, name: str, value: Any, allowed: str) -> NoReturn:
    shown = '' if value is None else f'={archive.line(value)}'
    raise errors.UsageError(f'{self._path}: {name}{shown}: must be {allowed}')

  def whole(
    self, name: str, most: int = _LARGEST, default: int | None = None
  ) -> int:
    value = self._left.pop(name, default)
    if type(value) is not int or not 1 <= value <= most:
      self.complain(name, value, f'a whole number from 1 to {most}')
    return value

  def number(
    self, name: str, least: float, most: float, default: float | None = None
  ) -> float:
    value = self._left.pop(name, default)
    if type(value) not in (int, float) or not least <= value <= most:
      self.complain(name, value, f'a number from {least} to {most:g}')
    return float(value)

  def truth(self, name: str, default: bool) -> bool:
    value = self._left.pop(name, default)
    if type(value) is not bool:
      self.complain(name, value, 'true or false')
    return value

  def word(self, name: str, allowed: Any, default: Any = None) -> str:
    value = self._left.pop(name, default)
    if not isinstance(value, str) or value not in allowed:
      self.complain(name, value, f'one of {", ".join(allowed)}')
    return value

  def only(self, name: str, allowed: Any) -> None:
    """Removes a field that may be absent or have this one value."""
    value = self._left.pop(name, allowed)
    if value != allowed or type(value) is not type(allowed):
      self.complain(name, value, f'{allowed}, others are not supported')

  def divides(self, name: str, value: int, whole: int) -> None:
    if whole % value:
      self.complain(name, value, f'a divisor of {whole}')

  def rope(self, base: str, fraction: str, usual: float) -> '_Values':
    """The fields of rotary positions, which newer files have in one group.

    Args:
      base: name of the rotary base in older files.
      fraction: name there of the rotated fraction of a head's dimensions.
      usual: that fraction by default.
    """
    found = {}
    for name in ('rope_scaling', 'rope_parameters'):
      group = self._left.pop(name, {})
      if not isinstance(group, dict):
        self.complain(name, group, 'named values')
      found |= group
    found.setdefault('rope_theta', self._left.pop(base, 10000.0))
    found.setdefault('partial_rotary_factor', self._left.pop(fraction, usual))
    return _Values(self._path, found)

  def finish(self) -> None:
    """Raises `UsageError` for fields left that are not in `_IGNORED`."""
    for name in self._left:
      if name not in _IGNORED:
        raise errors.UsageError(
          f'{self._path}: {archive.line(name)}: not supported'
        )
