"""Four simulated CPU devices for all tests; single-device tests use one."""

import os

os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=4'
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
