"""A model in one file: back bit for bit; damage is one line."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from reasoning_depth import errors
from reasoning_depth.exchange import weights

TREE = {'a': {'b': np.linspace(-2, 2, 7, dtype=np.float32)}, 'c': np.ones(())}
FACTS = {'scores': {'test': [1, 0.5]}, 'step': 3}


@pytest.mark.parametrize(
  'dtype,kind',
  [
    ('float32', np.float32),
    ('float16', np.float16),
    ('bfloat16', ml_dtypes.bfloat16),
  ],
)
def test_a_file_gives_back_what_was_written(tmp_path, dtype, kind):
  path = tmp_path / 'new' / 'x.safetensors'
  weights.write(path, TREE, FACTS, dtype)
  params, texts = weights.read(path)
  assert {name: json.loads(text) for name, text in texts.items()} == FACTS
  assert params['a']['b'].dtype == np.float32
  expected = TREE['a']['b'].astype(kind).astype(np.float32)
  np.testing.assert_array_equal(params['a']['b'], expected)
  assert params['c'].shape == () and params['c'] == 1
  assert [p.name for p in path.parent.iterdir()] == ['x.safetensors']


def test_what_does_not_fit_is_refused(tmp_path):
  path = tmp_path / 'x.safetensors'
  with pytest.raises(errors.UsageError, match='c has values beyond it'):
    weights.write(path, {'c': np.array([1e5])}, {}, 'float16')
  with pytest.raises(errors.UsageError, match='allowed are float32'):
    weights.write(path, TREE, {}, 'int8')
  assert not path.exists()


def test_damage_is_told_in_one_line(tmp_path):
  path = tmp_path / 'x.safetensors'
  weights.write(path, TREE, FACTS, 'float32')
  whole = path.read_bytes()
  for content in (b'', whole[:9], whole[:-5], b'\xff' * 40, b'{' + whole):
    path.write_bytes(content)
    with pytest.raises(errors.UsageError) as told:
      weights.read(path)
    assert '\n' not in str(told.value)
  safetensors_numpy.save_file({'x': np.ones(2)}, path, {'format': 'pt'})
  with pytest.raises(errors.UsageError, match='does not say format='):
    weights.read(path)
  path.unlink()
  with pytest.raises(errors.UsageError, match='no such file'):
    weights.read(path)
