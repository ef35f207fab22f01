"""Keeps compiled programs between runs."""

import os
import pathlib

import jax

FOLDER = pathlib.Path('~/.cache/reasoning_depth/compiled')


def use_cache() -> None:
  """Keeps programs in FOLDER, or where JAX_COMPILATION_CACHE_DIR says.

  JAX_ENABLE_COMPILATION_CACHE=false keeps none.
  """
  if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    jax.config.update('jax_compilation_cache_dir', str(FOLDER.expanduser()))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
