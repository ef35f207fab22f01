"""The CPU as several devices of JAX.

At the sizes of `:cpu`, XLA gains little from a second thread; two devices, one
for each half of the batch, use two cores better.
"""

import os

import jax

_FLAG = 'xla_force_host_platform_device_count'


def split(count: int) -> None:
  """Lets JAX take the CPU as several devices, unless XLA_FLAGS say how many.

  Changes nothing where JAX runs already, or for a count of 0.
  """
  if not count or _FLAG in os.environ.get('XLA_FLAGS', ''):
    return
  try:
    jax.config.update('jax_num_cpu_devices', count)
  except RuntimeError:  # it runs
    pass
