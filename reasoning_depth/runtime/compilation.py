"""JAX's persistent compilation cache."""

import pathlib

import jax

FOLDER = pathlib.Path('~/.cache/reasoning_depth/compiled')


def use_cache() -> None:
  """Turns on the cache, in FOLDER where JAX has no other folder for it.

  JAX_ENABLE_COMPILATION_CACHE=false turns it off.
  """
  if not jax.config.jax_compilation_cache_dir:
    jax.config.update('jax_compilation_cache_dir', str(FOLDER.expanduser()))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
