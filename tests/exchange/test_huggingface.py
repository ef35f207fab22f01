"""Checkpoints whose config or tensors do not fit."""

import json

import numpy as np
import pytest

from reasoning_depth.exchange import archive, huggingface, huggingface_config

LLAMA = {
  'model_type': 'llama', 'vocab_size': 10, 'hidden_size': 8,
  'intermediate_size': 12, 'num_hidden_layers': 2, 'num_attention_heads': 4,
  'num_key_value_heads': 2, 'hidden_act': 'silu', 'rms_norm_eps': 1e-5,
  'rope_theta': 500000.0, 'tie_word_embeddings': True, 'torch_dtype': 'float16',
  'pad_token_id': None, 'head_dim': 2,
}  # fmt: skip
NEOX = {
  'model_type': 'gpt_neox', 'vocab_size': 10, 'hidden_size': 8,
  'intermediate_size': 12, 'num_hidden_layers': 2, 'num_attention_heads': 4,
}  # fmt: skip
LLAMA3 = {
  'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 1.0,
  'high_freq_factor': 4.0, 'original_max_position_embeddings': 8192,
}  # fmt: skip


def described(folder, config):
  (folder / 'config.json').write_text(json.dumps(config))
  return huggingface.describe(folder)


def checkpoint(folder, **changes):
  """A checkpoint with some tensors changed, or left out where None."""
  found = described(folder, LLAMA)
  shapes = {}
  for entry in huggingface._entries(found):
    for names in entry.names():
      shapes |= zip(names, entry.theirs.values(), strict=True)
  tensors = {n: np.zeros(s, np.float32) for n, s in shapes.items()} | changes
  archive.write(folder, {n: x for n, x in tensors.items() if x is not None})
  return found


def test_fields_of_a_config(tmp_path):
  found = described(tmp_path, LLAMA | {'rope_scaling': LLAMA3})
  assert found.vocab_size == 10 and found.family == 'llama'
  assert found.fields == {
    'num_layers': 2, 'width': 8, 'num_heads': 4, 'num_kv_heads': 2,
    'mlp_width': 12, 'tied': True, 'positions': 'rotary', 'bias': False,
    'rotary_fraction': 1.0, 'parallel_residual': False, 'norm': 'rms',
    'norm_epsilon': 1e-5, 'norm_place': 'pre', 'mlp': 'swiglu',
    'mixer': 'attention', 'rotary.base': 500000.0, 'rotary.scaling': 'llama3',
    'rotary.factor': 8.0, 'rotary.low': 1.0, 'rotary.high': 4.0,
    'rotary.length': 8192,
  }  # fmt: skip
  found = described(tmp_path, NEOX)
  assert found.fields['rotary_fraction'] == 0.25
  assert found.fields['rotary.base'] == 10000.0
  assert found.fields['parallel_residual'] and found.fields['bias']


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'model_type': 'gpt2'}, 'model_type=gpt2: must be one of llama, gpt_neox'),
    ({'model_type': None}, 'model_type: must be one of'),
    ({'model_type': ['llama']}, 'model_type=.*: must be one of'),
    ({'hidden_act': 'gelu'}, 'hidden_act=gelu: must be silu'),
    ({'attention_bias': True}, 'attention_bias=True: must be False'),
    ({'mlp_bias': 1}, 'mlp_bias=1: must be False'),
    ({'head_dim': 4}, 'head_dim=4: must be 2'),
    ({'num_attention_heads': 3}, 'num_attention_heads=3: must be a divisor'),
    ({'num_key_value_heads': 3}, 'num_key_value_heads=3: must be a divisor'),
    ({'hidden_size': None}, 'hidden_size: must be a whole number from 1'),
    ({'hidden_size': 8.0}, 'hidden_size=8.0: must be a whole number'),
    ({'hidden_size': True}, 'hidden_size=True: must be a whole number'),
    ({'num_hidden_layers': 10**9}, 'num_hidden_layers=.*: must be a whole'),
    ({'rms_norm_eps': '1e-5'}, 'rms_norm_eps=1e-5: must be a number'),
    ({'rope_theta': -1.0}, 'rope_theta=-1.0: must be a number'),
    ({'rope_theta': 10**400}, 'rope_theta=10.*: must be a number'),
    ({'tie_word_embeddings': 'yes'}, 'tie_word_embeddings=yes: must be true'),
    ({'rope_scaling': 'llama3'}, 'rope_scaling=llama3: must be named values'),
    ({'rope_scaling': {'rope_type': 'yarn'}}, 'rope_type=yarn: must be one of'),
    ({'rope_scaling': {'type': 'dynamic'}}, 'type=dynamic: must be one of'),
    ({'rope_scaling': {'type': 'linear'}}, 'factor: must be a number'),
    ({'rope_scaling': LLAMA3 | {'low_freq_factor': 4.0}}, 'low_freq_factor=4'),
    ({'rope_scaling': LLAMA3 | {'mscale': 2}}, 'mscale: not supported'),
    ({'quantization_config': {}}, 'quantization_config: not supported'),
    ({'logit\nscale': 2}, "'logit.*nscale': not supported"),
    ({'partial_rotary_factor': 0.5}, 'partial_rotary_factor=0.5: must be 1.0'),
  ],
)
def test_configs_that_are_not_supported(changes, message, tmp_path):
  with pytest.raises(ValueError, match=message) as error:
    described(tmp_path, LLAMA | changes)
  assert str(error.value).startswith(f'{tmp_path / "config.json"}: ')
  assert len(str(error.value).splitlines()) == 1


def test_a_gelu_by_tanh_is_another_one(tmp_path):
  with pytest.raises(ValueError, match='hidden_act=gelu_new: must be gelu'):
    described(tmp_path, NEOX | {'hidden_act': 'gelu_new'})


def test_every_tensor_that_does_not_fit_is_listed(tmp_path, monkeypatch):
  found = checkpoint(
    tmp_path,
    **{
      'model.norm.weight': None,
      'model.layers.1.mlp.up_proj.weight': np.zeros((12, 9), np.float32),
      'model.layers.0.mlp.up_proj.weight': np.zeros((12, 8), np.int8),
      'lm_head.weight': np.zeros((10, 8), np.float32),
      'model.layers.2.mlp.up_proj.weight': np.zeros((12, 8), np.float32),
      'model.layers.0.self_attn.rotary_emb.inv_freq': np.zeros(1, np.float32),
    },
  )
  monkeypatch.setattr(archive, 'load', None)  # nothing is read
  with pytest.raises(ValueError) as error:
    huggingface.load(found)
  message = str(error.value)
  assert '5 tensors are not as config.json says' in message
  for part in (
    'model.norm.weight is missing',
    'model.layers.1.mlp.up_proj.weight has the shape (12, 9), not (12, 8)',
    'model.layers.0.mlp.up_proj.weight is of I8, not one of F64, F32, F16',
    'lm_head.weight is not expected',
    'model.layers.2.mlp.up_proj.weight is not expected',
  ):
    assert part in message


def test_a_whole_checkpoint_is_read(tmp_path):
  tree = huggingface.load(checkpoint(tmp_path))
  assert tree['block']['qkv']['kernel'].shape == (2, 8, 16)
  assert 'logits' not in tree['read_out']


def test_only_families_we_know_are_written(tmp_path):
  found = described(tmp_path, LLAMA).fields
  with pytest.raises(ValueError, match='^bias=True: must be False'):
    huggingface_config.write(tmp_path, 10, found | {'bias': True})
