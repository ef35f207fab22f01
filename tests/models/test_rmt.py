import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.models import halting, kernels, transformer, windows
from tests import tiny

B, SEGMENT, M = tiny.B, tiny.SEGMENT, tiny.MEMORY.num_tokens
BACKBONE = tiny.CONFIG


def build(truncate=0, stride=SEGMENT, count=3):
  model = tiny.model('rmt', stride=stride, truncate=truncate)
  length = SEGMENT + (count - 1) * stride
  return model, {'params': tiny.init(model, length)}, tiny.tokens(length)


def test_scan_over_segments_is_a_loop():
  for stride in (SEGMENT, 2):
    model, variables, tokens = build(stride=stride)
    params = variables['params']
    memory = jnp.broadcast_to(params['memory_tokens'], (B, M, BACKBONE.width))
    parts = []
    stack = jax.jit(transformer.Stack(BACKBONE, model.layer).apply)
    for tokens_here in windows.split(tokens, SEGMENT, stride):
      x = params['embedding']['tokens']['embedding'][tokens_here]
      x = jnp.concatenate([memory, x, memory], axis=1)
      x, _, _ = stack({'params': params['segment']['stack']}, x)
      norm = params['segment']['norm']
      x = kernels.layer_norm(
        x.reshape(-1, BACKBONE.width), norm['scale'], norm['bias'], 1e-5
      ).reshape(x.shape)
      memory = x[:, -M:]
      parts.append(x[:, M:-M] @ params['read_out']['logits']['kernel'])
    theirs = windows.join(jnp.stack(parts), stride)
    ours = jax.jit(model.apply)(variables, tokens).logits
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_gradient_reaches_as_many_segments_as_asked():
  def reach(truncate):
    model, variables, tokens = build(truncate, count=4)
    table = variables['params']['embedding']['tokens']['embedding']
    own = jnp.arange(tokens.size).reshape(tokens.shape)
    wide = model.clone(vocab_size=tokens.size)
    kernel = jax.random.normal(jax.random.key(0), (BACKBONE.width, tokens.size))

    def loss(table):
      params = variables['params'] | {
        'embedding': {'tokens': {'embedding': table}},
        'read_out': {'logits': {'kernel': kernel}},
      }
      logits = wide.apply({'params': params}, own).logits
      return logits[:, -SEGMENT:].sum()

    grad = jax.jit(jax.grad(loss))(table[tokens].reshape(-1, BACKBONE.width))
    grad = jnp.abs(grad).reshape(B, -1, SEGMENT, BACKBONE.width)
    return (grad.max(axis=(0, 2, 3)) > 0).tolist()

  assert reach(0) == [True] * 4
  assert reach(2) == [False, False, True, True]
  assert reach(1) == [False, False, False, True]


def test_ponder_cost_is_averaged_over_tokens_or_over_all_positions():
  base, _, tokens = build(count=1)
  adaptive = halting.Halting('layer', max_steps=3, cost=1.0)
  model = base.clone(adaptive=adaptive)
  params = jax.jit(model.init)(jax.random.key(1), tokens)['params']
  memory = jnp.broadcast_to(params['memory_tokens'], (B, M, BACKBONE.width))
  x = params['embedding']['tokens']['embedding'][tokens]
  x = jnp.concatenate([memory, x, memory], axis=1)
  stack = transformer.Stack(BACKBONE, model.layer, adaptive)
  _, _, usage = jax.jit(stack.apply)({'params': params['segment']['stack']}, x)
  tokens_alone, all_of_them = usage.cost[:, M:-M].mean(), usage.cost.mean()
  assert abs(tokens_alone - all_of_them) > 0.01
  for cost_over, mean in (('tokens', tokens_alone), ('all', all_of_them)):
    asked = model.clone(
      adaptive=dataclasses.replace(adaptive, cost_over=cost_over)
    )
    output = jax.jit(asked.apply)({'params': params}, tokens)
    np.testing.assert_allclose(output.penalty, mean, rtol=1e-5)
