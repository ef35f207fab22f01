"""Eight simulated CPU devices for all tests; single-device tests use one.

Compiling is what tests spend their time on, so XLA optimises little, and what
is compiled twice is kept. Tracing makes objects by the million and few cycles:
looking for them less often saves a tenth of the time.
"""

import gc
import importlib.metadata
import os
import pathlib

import hypothesis
import pytest

os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
)
if importlib.metadata.version('jaxlib').startswith(('0.7.', '0.10.')):
  # The older way to compile fusions takes two thirds of the time, and a program
  # in one part less than in up to 32 to compile in parallel. Other versions may
  # not have these flags, and stop at one that they do not know.
  os.environ['XLA_FLAGS'] += (
    ' --xla_cpu_use_fusion_emitters=false'
    ' --xla_cpu_parallel_codegen_split_count=1'
  )
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  str(pathlib.Path(__file__).parents[1] / '.pytest_cache/compiled'),
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '0')
# Call stacks of every operation and the modules that they are of, of which
# profiles alone make use.
os.environ.setdefault('JAX_TRACEBACK_IN_LOCATIONS_LIMIT', '0')
os.environ.setdefault('FLAX_PROFILE', 'false')

gc.set_threshold(100_000)

# How long an example takes is the machine's.
hypothesis.settings.register_profile('untimed', deadline=None)
hypothesis.settings.load_profile('untimed')


@pytest.fixture
def booby_trap(tmp_path):
  """Puts Python files into a run folder; at the end none of them has run."""
  marker = tmp_path / 'a-file-of-the-run-folder-was-run'

  def plant(folder: pathlib.Path):
    for name in (
      'config.py', 'configs/__init__.py', 'configs/common.py',
      'configs/transformer.py', 'configs/armt.py', 'main.py', '__init__.py',
      '__main__.py', 'sitecustomize.py', 'usercustomize.py', 'conftest.py',
      'reasoning_depth/__init__.py', 'jax.py', 'checkpoints/config.py',
    ):  # fmt: skip
      path = folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(f'open({str(marker)!r}, "w")\nraise SystemExit(99)\n')

  yield plant
  assert not marker.exists()
