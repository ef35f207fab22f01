"""A trained model in one safetensors file: parameters, config, scores.

Tensors are named by their path in the tree, such as
`read_out/logits/kernel`. The metadata, texts by name, has `format`
(`reasoning_depth`) and, as JSON, what else was given: config, scores.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from flax import traverse_util
from safetensors import numpy as safetensors_numpy

from reasoning_depth import errors, settings
from reasoning_depth.exchange import archive

FORMAT = 'reasoning_depth'
DTYPES = {
  'float32': np.float32,
  'float16': np.float16,
  'bfloat16': ml_dtypes.bfloat16,
}


def write(
  path: pathlib.Path, params: Any, facts: Mapping[str, Any], dtype: str
) -> None:
  """Writes a file, under a temporary name first.

  Args:
    path: of the file.
    params: a tree of arrays.
    facts: values that JSON can hold, by name.
    dtype: that the parameters are rounded to, a name in `DTYPES`.

  Raises:
    UsageError: for an unknown dtype, or values that are too large for it.
  """
  kind = settings.choose('dtype', dtype, DTYPES)
  tensors = {}
  for name, x in traverse_util.flatten_dict(params, sep='/').items():
    with np.errstate(over='ignore'):
      tensors[name] = np.asarray(x).astype(kind, order='C')
    if not np.isfinite(tensors[name].astype(np.float32)).all():
      raise errors.UsageError(f'dtype={dtype}: {name} has values beyond it')
  texts = {name: json.dumps(value) for name, value in facts.items()}
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(path.name + '.partial')
  partial.write_bytes(
    safetensors_numpy.save(tensors, {'format': FORMAT} | texts)
  )
  partial.replace(path)


def read(path: pathlib.Path) -> tuple[Any, dict[str, str]]:
  """Parameters, as float32, and the facts of a file, each as JSON.

  Raises:
    UsageError: in one line, where the file is missing, damaged, or not of
      `write`.
  """
  with archive.opened(path) as file:
    texts = file.metadata() or {}
    if texts.pop('format', '') != FORMAT:
      raise errors.UsageError(
        f'{archive.line(path)}: its metadata does not say format={FORMAT}'
      )
    try:
      flat = {
        name: file.get_tensor(name).astype(np.float32) for name in file.keys()
      }
    except (ValueError, TypeError, safetensors.SafetensorError) as error:
      raise errors.UsageError(
        f'{archive.line(path)}: {archive.line(error)}'
      ) from None
  return traverse_util.unflatten_dict(flat, sep='/'), texts
