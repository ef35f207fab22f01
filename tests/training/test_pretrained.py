"""Public checkpoints, against the library that they are made for."""

import functools
import json
import types

import chex
import jax
import numpy as np
import pytest

from configs import llama as llama_config
from configs import transformer as transformer_config
from reasoning_depth import models
from reasoning_depth.exchange import archive, huggingface
from reasoning_depth.training import config as whole
from reasoning_depth.training import experiment, pretrained, resume

V, L = 40, 12
TASK = types.SimpleNamespace(
  vocab_size=V, length=L, held_out_length=L, row_tokens=1, causal=True,
  lattice=False, cone=(), generates=False,
)  # fmt: skip
TOKENS = np.random.default_rng(0).integers(V, size=(2, L)).astype(np.int32)
LLAMA3 = {
  'rope_type': 'llama3', 'rope_theta': 50.0, 'factor': 4.0,
  'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
  'original_max_position_embeddings': 32,
}  # fmt: skip
LINEAR = {'rope_type': 'linear', 'rope_theta': 10000.0, 'factor': 3.0}
PARTIAL = {
  'rope_type': 'default', 'rope_theta': 50.0, 'partial_rotary_factor': 0.5
}  # fmt: skip
THEIRS = {
  'llama': ('Llama', {}),
  'llama, grouped, llama3, tied': (
    'Llama',
    {
      'num_key_value_heads': 2, 'rope_parameters': LLAMA3,
      'tie_word_embeddings': True, 'rms_norm_eps': 1e-2,
    },
  ),
  'llama, one head of keys, linear': (
    'Llama', {'num_key_value_heads': 1, 'rope_parameters': LINEAR}
  ),
  'gpt_neox': ('GPTNeoX', {'layer_norm_eps': 1e-2}),
  'gpt_neox, one after the other, tied': (
    'GPTNeoX',
    {
      'use_parallel_residual': False, 'tie_word_embeddings': True,
      'rope_parameters': PARTIAL,
    },
  ),
}  # fmt: skip


# A checkpoint made without their library.
FIELDS = {
  'num_layers': 2, 'width': 16, 'num_heads': 4, 'num_kv_heads': 2,
  'mlp_width': 24, 'tied': False, 'rotary_fraction': 1.0, 'bias': False,
  'parallel_residual': False, 'norm': 'rms', 'norm_epsilon': 1e-6,
  'mlp': 'swiglu', 'rotary.base': 50.0,
}  # fmt: skip


def written(folder, **fields):
  """A checkpoint of a model of ours, and the model."""
  model = our_model(FIELDS | fields)
  params = jax.tree.map(lambda x: x + 0.5, fresh(model))
  pretrained.save(model, params, folder)
  return model, params


def libraries():
  reason = 'torch and transformers are the oracle'
  torch = pytest.importorskip('torch', reason=reason)
  return torch, pytest.importorskip('transformers', reason=reason)


def their_logits(model):
  torch, _ = libraries()
  with torch.no_grad():
    return model(torch.from_numpy(TOKENS).long()).logits.numpy()


def their_model(name):
  """A model of theirs with weights far from zero."""
  torch, transformers = libraries()
  family, fields = THEIRS[name]
  config = getattr(transformers, f'{family}Config')(
    vocab_size=V, hidden_size=32, intermediate_size=24, num_hidden_layers=2,
    num_attention_heads=4, **fields,
  )  # fmt: skip
  torch.manual_seed(0)
  model = getattr(transformers, f'{family}ForCausalLM')(config)
  with torch.no_grad():
    for p in model.parameters():
      p.add_(torch.randn_like(p) * 0.3)
  return model.eval()


def our_model(fields, name='transformer', task=TASK):
  c = whole.default('orbits', name).model
  c.update_from_flattened_dict(dict(fields) | {'unroll': 1})
  if name == 'armt':
    c.memory.update(num_tokens=2, key_width=4, segment_states=L)
    c.memory.repeat_states = 0
  return models.make(c, task)


@functools.cache
def fresh(model):
  return jax.jit(model.init)(jax.random.key(0), TOKENS)['params']


def our_logits(model, params):
  return jax.jit(model.apply)({'params': params}, TOKENS).logits


def begin_from(folder, name='transformer', task=TASK):
  fields = huggingface.describe(folder).fields
  model = our_model(fields, name, task)
  return model, pretrained.params(model, fresh(model), folder)


@pytest.mark.parametrize('name', THEIRS)
def test_logits_are_theirs(name, tmp_path):
  theirs = their_model(name)
  theirs.save_pretrained(tmp_path)
  model, params = begin_from(tmp_path)
  chex.assert_trees_all_equal_shapes(params, fresh(model))
  expected = their_logits(theirs)
  assert expected.std() > 0.5
  np.testing.assert_allclose(our_logits(model, params), expected, atol=1e-4)


def test_older_files_say_the_same_in_other_words(tmp_path):
  theirs = their_model('gpt_neox, one after the other, tied')
  theirs.save_pretrained(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  del config['rope_parameters']
  config |= {'rotary_emb_base': 50, 'rotary_pct': 0.5, 'rope_scaling': None}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  ours = our_logits(*begin_from(tmp_path))
  np.testing.assert_allclose(ours, their_logits(theirs), atol=1e-4)


def test_shards_in_bfloat16(tmp_path):
  torch, transformers = libraries()
  theirs = their_model('llama, grouped, llama3, tied').to(torch.bfloat16)
  theirs.save_pretrained(tmp_path, max_shard_size='8KB')
  assert len(list(tmp_path.glob('*.safetensors'))) > 2
  wide = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path, dtype=torch.float32
  )
  ours = our_logits(*begin_from(tmp_path))
  np.testing.assert_allclose(ours, their_logits(wide), atol=1e-4)


def test_armt_begins_as_the_checkpoint(tmp_path):
  theirs = their_model('llama, grouped, llama3, tied')
  theirs.save_pretrained(tmp_path)
  model, params = begin_from(tmp_path, 'armt')
  ours = our_logits(model, params)  # of one segment: its memory is empty
  np.testing.assert_allclose(ours, their_logits(theirs), atol=1e-4)
  layers = params['segment']['stack']['layers']
  first = fresh(model)['segment']['stack']['layers']
  chex.assert_trees_all_equal(layers['query'], first['query'])
  ours, own = (t['step']['block']['qkv']['kernel'] for t in (layers, first))
  assert not np.any(ours == own)


@pytest.mark.parametrize('name', ['llama, grouped, llama3, tied', 'gpt_neox'])
def test_they_read_what_is_written(name, tmp_path):
  _, transformers = libraries()
  theirs = their_model(name)
  theirs.save_pretrained(tmp_path / 'theirs')
  model, params = begin_from(tmp_path / 'theirs')
  pretrained.save(model, params, tmp_path / 'ours')
  again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'ours')
  np.testing.assert_array_equal(their_logits(again), their_logits(theirs))


@pytest.mark.parametrize(
  'fields',
  [
    {'rotary.scaling': 'llama3', 'rotary.factor': 8.0, 'rotary.length': 16},
    {'rotary.scaling': 'linear', 'rotary.factor': 8.0, 'tied': True},
    {
      'norm': 'layer', 'mlp': 'gelu', 'bias': True, 'num_kv_heads': 0,
      'parallel_residual': True, 'rotary_fraction': 0.5,
    },
  ],
)  # fmt: skip
def test_what_is_written_is_read_again(fields, tmp_path):
  model, params = written(tmp_path, **fields)
  described = huggingface.describe(tmp_path)
  assert described.vocab_size == V
  for name, value in (FIELDS | fields).items():
    assert described.fields[name] == value
  chex.assert_trees_all_equal(
    pretrained.params(model, fresh(model), tmp_path), params
  )


def test_models_that_no_family_has_are_not_written(tmp_path):
  with pytest.raises(ValueError, match='^mlp=gelu: must be swiglu'):
    written(tmp_path, mlp='gelu')


@pytest.mark.parametrize('vocab_size', [V - 3, V + 3])
def test_tokens_that_only_one_side_has(vocab_size, tmp_path):
  _, theirs = written(tmp_path)
  task = types.SimpleNamespace(**vars(TASK) | {'vocab_size': vocab_size})
  model, params = begin_from(tmp_path, task=task)
  both = min(V, vocab_size)
  first = fresh(model)
  for ours, table, own in zip(
    *(
      (
        p['embedding']['tokens']['embedding'],
        p['read_out']['logits']['kernel'].T,
      )
      for p in (params, theirs, first)
    ),
    strict=True,
  ):
    np.testing.assert_array_equal(ours[:both], table[:both])
    np.testing.assert_array_equal(ours[both:], own[both:])


def test_another_model_or_vocabulary_is_refused(tmp_path, monkeypatch):
  written(tmp_path)
  monkeypatch.setattr(huggingface, 'load', None)  # nothing is read
  other = {'norm_epsilon': 1e-5, 'rotary.base': 10000.0}
  task = types.SimpleNamespace(**vars(TASK) | {'vocab_size': 9_999})
  model = our_model(FIELDS | other, task=task)
  with pytest.raises(ValueError) as error:
    pretrained.params(model, fresh(model), tmp_path)
  message = str(error.value)
  for part in (
    'config.model.norm_epsilon=1e-05: the checkpoint has 1e-06',
    'config.model.rotary.base=10000.0: the checkpoint has 50.0',
    'the task has 9999 tokens, the checkpoint 40',
  ):
    assert part in message
  assert message.count(';') == 2
  rmt = types.SimpleNamespace(config=our_model(FIELDS).config, vocab_size=V)
  with pytest.raises(ValueError, match='is no plain stack of blocks'):
    pretrained.params(rmt, {'segment': {'norm': {}}}, tmp_path)


def test_a_run_begins_from_a_checkpoint(tmp_path):
  written(tmp_path)
  c = transformer_config.get_config('smoke,k=1')
  c.model.update_from_flattened_dict(FIELDS)
  c.mesh.data = 1
  c.train.ema = 0.9
  c.train.init_from = str(tmp_path)
  exp = experiment.build(c)
  begun = resume.restore_or_init(
    exp, types.SimpleNamespace(restore=lambda _: None)
  )
  kernel = archive.load(
    archive.contents(tmp_path)['model.layers.1.self_attn.o_proj.weight'],
    'model.layers.1.self_attn.o_proj.weight',
  )
  for params in (begun.params, begun.ema):
    ours = params['stack']['layers']['block']['attention_out']['kernel'][1]
    np.testing.assert_array_equal(ours, kernel.T)
  (tmp_path / 'config.json').write_text('{}')
  with pytest.raises(ValueError, match='config.train.init_from=.*model_type'):
    resume.restore_or_init(exp, types.SimpleNamespace(restore=lambda _: None))


@pytest.mark.parametrize(
  'words, vocab_size, count',
  [  # of the checkpoints that the sizes are named after
    ('160m', 32_000, 162_417_408),
    ('1b', 128_256, 1_235_814_400),
    ('3b', 128_256, 3_212_749_824),
    ('8b', 128_256, 8_030_261_248),
  ],
)
def test_sizes_are_those_of_the_checkpoints(words, vocab_size, count):
  task = types.SimpleNamespace(**vars(TASK) | {'vocab_size': vocab_size})
  model = models.make(llama_config.get_config(words).model, task)
  shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)
  assert sum(x.size for x in jax.tree.leaves(shapes)) == count
  c = llama_config.get_config(f'{words},armt,smoke,k=1')
  c.mesh.data = 1
  assert type(experiment.build(c).model).__name__ == 'ARMT'


def test_words_of_llama():
  with pytest.raises(ValueError, match='words 1b, 3b: allowed is one of them'):
    llama_config.get_config('1b,3b')
  with pytest.raises(ValueError, match="did you mean '160m'"):
    llama_config.get_config('160')
