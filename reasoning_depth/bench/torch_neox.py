"""Trains transformers' GPT-NeoX in PyTorch on the batches of a config.

  python -m reasoning_depth.bench.torch_neox \
    --config=configs/transformer.py:cpu --workdir=DIR

Only for `bench ceiling`, to compare with: it writes the validations to
DIR/metrics.jsonl, and takes of the config the task, the sizes, the batch, the
rate and its warm-up.
"""

import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from reasoning_depth import tasks
from reasoning_depth.runtime import configuration
from reasoning_depth.training import state


def make(m: Any, vocab_size: int, length: int, attention: str) -> Any:
  """A model of the sizes of ours.

  Args:
    m: settings or config of a transformer.
    vocab_size: V.
    length: longest sequence, in tokens.
    attention: transformers' name: 'eager' or 'sdpa'.
  """
  import transformers

  return transformers.GPTNeoXForCausalLM(
    transformers.GPTNeoXConfig(
      vocab_size=vocab_size, hidden_size=m.width,
      num_hidden_layers=m.num_layers, num_attention_heads=m.num_heads,
      intermediate_size=m.mlp_width, hidden_act='gelu',
      max_position_embeddings=max(256, length),
      use_parallel_residual=m.parallel_residual, attn_implementation=attention,
      attention_dropout=0.0, hidden_dropout=0.0, use_cache=False,
      rope_parameters={
        'rope_type': 'default', 'rope_theta': 10000.0,
        'partial_rotary_factor': 0.25,
      },
    )
  )  # fmt: skip


def main(args: Sequence[str]) -> None:
  """Trains until it is stopped, or `train.num_steps` updates."""
  import torch

  flags = dict(arg.partition('=')[::2] for arg in args)
  config = configuration.load(flags.pop('--config'))
  folder = pathlib.Path(flags.pop('--workdir'))
  configuration.apply(config, [f'{n}={v}' for n, v in flags.items()])
  config.task.layout = 'causal'  # the model is
  task = tasks.make(config.task)
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model = make(config.model, task.vocab_size, task.length, 'sdpa').to(device)
  t = config.train
  adam = torch.optim.AdamW(
    model.parameters(), t.learning_rate, betas=(t.b1, t.b2),
    weight_decay=t.weight_decay,
  )  # fmt: skip
  warmup = torch.optim.lr_scheduler.LambdaLR(
    adam, lambda step: min(1.0, (step + 1) / max(t.warmup_steps, 1))
  )
  sample = jax.jit(lambda key: task.sample(key, t.batch_size, 'train'))
  held_out = jax.jit(
    lambda key: task.sample(key, config.eval.validation_samples, 'validation')
  )(state.evaluation_key(config.seed))
  data, started = state.data_key(config.seed), time.perf_counter()
  folder.mkdir(parents=True)
  for step in range(1, t.num_steps + 1):
    batch = sample(jax.random.fold_in(data, step))
    loss = _loss(model, batch, device)
    adam.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adam.step()
    warmup.step()
    if step % config.eval.every == 0:
      line = {
        'step': step, 'split': 'validation',
        'exact_match': _exact_match(model, held_out, device),
        'seconds': time.perf_counter() - started,
      }  # fmt: skip
      with (folder / 'metrics.jsonl').open('a') as file:
        file.write(json.dumps(line) + '\n')


def _tensors(batch: Any, device: str) -> tuple[Any, Any, Any]:
  """Inputs, targets and a mask of the answer."""
  import torch

  inputs, targets = (
    torch.from_numpy(np.array(x, np.int64)).to(device)
    for x in (batch.inputs, batch.targets)
  )
  return inputs, targets, torch.from_numpy(np.array(batch.weights) > 0)


def _loss(model: Any, batch: Any, device: str) -> Any:
  import torch

  inputs, targets, asked = _tensors(batch, device)
  logits = model(inputs).logits
  return torch.nn.functional.cross_entropy(
    logits[asked].float(), targets[asked]
  )


def _exact_match(model: Any, batch: Any, device: str) -> float:
  """Share of samples with the whole answer right, by teacher forcing.

  An answer is right as a whole by teacher forcing exactly when greedy
  generation gives it.
  """
  import torch

  inputs, targets, asked = _tensors(batch, device)
  right = []
  with torch.no_grad():
    for part in np.array_split(np.arange(len(inputs)), len(inputs) // 64 or 1):
      said = model(inputs[part]).logits.argmax(-1) == targets[part]
      right.append((said.cpu() | ~asked[part]).all(-1))
  return float(torch.cat(right).float().mean())


if __name__ == '__main__':
  main(sys.argv[1:])
