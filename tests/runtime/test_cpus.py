import os
import subprocess
import sys

import jax

from reasoning_depth.runtime import cpus

PROGRAM = """
import jax
from reasoning_depth.runtime import cpus
cpus.split(0)
cpus.split(3)
print(jax.device_count())
cpus.split(2)
print(jax.device_count())
"""


def test_the_cpu_is_split_before_jax_runs_and_not_after():
  unset = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM], env=unset, text=True, check=True,
    capture_output=True, timeout=120,
  )  # fmt: skip
  assert done.stdout.split() == ['3', '3']


def test_flags_of_xla_decide(monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=8')
  before = jax.config.jax_num_cpu_devices
  cpus.split(2)
  assert jax.config.jax_num_cpu_devices == before
