"""A model that has what `base.Model` demands of it and nothing else."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth.models import base


class Plain(base.Model):
  """Logits from the token at the same position alone."""

  vocab_size: int

  @nn.compact
  def __call__(self, tokens, *, depth=None, deterministic=True):
    del depth, deterministic
    table = nn.Embed(self.vocab_size, self.vocab_size)
    return base.plain_output(table(tokens))


def build(task):
  """The model for a task, and its parameters."""
  model = Plain(task.vocab_size)
  tokens = jnp.zeros((1, task.length), jnp.int32)
  return model, model.init(jax.random.key(0), tokens)['params']
