import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.longcontext import schedule
from reasoning_depth.models import armt, layers, memory

MODEL = armt.ARMT(
  config=layers.TransformerConfig(
    num_layers=2, width=8, num_heads=2, mlp_width=16
  ),
  memory=memory.MemoryConfig(num_tokens=2, key_width=4),
  vocab_size=7, causal=True, segment_length=4, stride=4,
)  # fmt: skip


@pytest.mark.parametrize('slow', ['scan', 'diagonal'])
def test_the_slower_is_not_taken(slow):
  def wait(x):
    time.sleep(0.05)
    return np.asarray(x)

  def run(model, x):
    diagonal = model.executor is not None
    if diagonal != (slow == 'diagonal'):
      return x
    return jax.pure_callback(wait, jax.ShapeDtypeStruct((), jnp.float32), x)

  name, model = schedule.fastest(MODEL, run, jnp.zeros(()), seconds=0)
  assert slow not in name
  assert (model.executor is None) == (name == 'scan')


def test_every_schedule_is_tried():
  seen = []

  def run(model, x):
    seen.append(getattr(model.executor, 'ramp', None))
    return x

  schedule.fastest(MODEL, run, jnp.zeros(()), seconds=0)
  assert seen == [None, 'whole', 'buckets']
