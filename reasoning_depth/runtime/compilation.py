"""JAX's persistent compilation cache."""

import os
import pathlib

import jax

FOLDER = pathlib.Path('~/.cache/reasoning_depth/compiled')


def use_cache() -> None:
  """Turns on the cache, in FOLDER or JAX_COMPILATION_CACHE_DIR.

  JAX_ENABLE_COMPILATION_CACHE=false turns it off.
  """
  if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    jax.config.update('jax_compilation_cache_dir', str(FOLDER.expanduser()))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
