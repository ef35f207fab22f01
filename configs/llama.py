r"""LLaMA-shaped transformers, plain or as ARMT (2302.13971, 2407.21783).

  python main.py --config=configs/llama.py:160m
  python main.py --config=configs/llama.py:1b,armt,gpu \
    --config.train.init_from=CHECKPOINT

Sizes: `160m` (JackFram/llama-160m), `1b` and `3b` (Llama 3.2), `8b` (Llama
3.1). CHECKPOINT is a Hugging Face folder of one of them, with `config.json` and
safetensors; it initialises embedding, blocks and read-out, while ARMT's memory
is random. The task is the paper's orbits, unrelated to text. Not measured.
"""

import ml_collections

from configs import common

SIZES = {
  '160m': {
    'num_layers': 12, 'width': 768, 'num_heads': 12, 'mlp_width': 3_072,
    'norm_epsilon': 1e-6,
  },
  '1b': {
    'num_layers': 16, 'width': 2_048, 'num_heads': 32, 'num_kv_heads': 8,
    'mlp_width': 8_192, 'tied': True,
  },
  '3b': {
    'num_layers': 28, 'width': 3_072, 'num_heads': 24, 'num_kv_heads': 8,
    'mlp_width': 8_192, 'tied': True,
  },
  '8b': {
    'num_layers': 32, 'width': 4_096, 'num_heads': 32, 'num_kv_heads': 8,
    'mlp_width': 14_336,
  },
}  # fmt: skip
# Llama 3's divisor of low rotary frequencies, for more than 8,192 tokens.
FACTORS = {'1b': 32.0, '3b': 32.0, '8b': 8.0}


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  memory, arg = common.split(arg, ('armt',), *SIZES)
  size, arg = common.split(arg, SIZES)
  return common.build(arg, base(size or '160m', bool(memory)), cpu, smoke)


def base(size: str, with_memory: bool) -> ml_collections.ConfigDict:
  """The config of a size, plain or as ARMT."""
  c = common.base('armt' if with_memory else 'transformer')
  m = c.model
  m.rotary_fraction = 1.0
  m.bias = False
  m.parallel_residual = False
  m.norm = 'rms'
  m.mlp = 'swiglu'
  m.update(SIZES[size])
  if size in FACTORS:
    m.rotary.update(base=500_000.0, scaling='llama3', factor=FACTORS[size])
  return c


def cpu(c: ml_collections.ConfigDict) -> None:
  c.model.num_layers = c.model.num_heads = 4
  c.model.num_kv_heads = 2


def smoke(c: ml_collections.ConfigDict) -> None:
  c.model.num_kv_heads = 1
