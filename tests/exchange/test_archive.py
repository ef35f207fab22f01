"""Safetensors files that are damaged or do not belong together."""

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasoning_depth import errors
from reasoning_depth.exchange import archive

TENSORS = {
  'a': np.arange(6, dtype=np.float32).reshape(2, 3),
  'b': np.ones(3, ml_dtypes.bfloat16),
}


def file_of(header, data=b''):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return len(text).to_bytes(8, 'little') + text + data


def one(**changes):
  entry = {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]} | changes
  return {'a': {k: v for k, v in entry.items() if v is not None}}


def refused(read, *args):
  """The error, which is one line."""
  with pytest.raises(ValueError) as error:
    read(*args)
  assert type(error.value) is errors.UsageError
  assert len(str(error.value).splitlines()) == 1
  return str(error.value)


def test_tensors_come_back(tmp_path):
  archive.write(tmp_path, TENSORS)
  found = archive.contents(tmp_path)
  assert found['b'] == archive.Stored(tmp_path / archive.WHOLE, (3,), 'BF16')
  for name, value in TENSORS.items():
    ours = archive.load(found[name], name)
    assert ours.dtype == value.dtype
    np.testing.assert_array_equal(ours, value)


@pytest.mark.parametrize(
  'data',
  [
    b'', b'\0' * 8, b'\xff' * 20, file_of(b'{'), file_of([]),
    file_of({'a': 1}), file_of(one(), b''), file_of(one(), b'0' * 23),
    file_of(one(), b'0' * 25), file_of(one(dtype='F99'), b'0' * 24),
    file_of(one(dtype=None), b'0' * 24), file_of(one(shape=[2, 4]), b'0' * 24),
    file_of(one(shape=[-2, -3]), b'0' * 24),
    file_of(one(shape=[2**63, 2]), b'0' * 24),
    file_of(one(data_offsets=[24, 0]), b'0' * 24),
    file_of(one(data_offsets=[4, 28]), b'0' * 28),
    file_of(one(), b'0' * 24)[:20], file_of(b'\xff\xfe{}'),
    file_of(b'[' * 10_000), file_of({'a\nb\u2028': 1}),
  ],
)  # fmt: skip
def test_damaged_headers_are_one_error(data, tmp_path):
  (tmp_path / archive.WHOLE).write_bytes(data)
  message = refused(archive.contents, tmp_path)
  assert message.startswith(f'{tmp_path / archive.WHOLE}: ')


BROKEN = st.one_of(
  st.binary(max_size=100),
  st.builds(file_of, st.binary(max_size=100), st.binary(max_size=30)),
  st.builds(
    lambda data, at, byte: data[:at] + bytes([byte]) + data[at + 1 :],
    st.just(file_of(one(), b'0' * 24)), st.integers(0, 80), st.integers(0, 255),
  ),
  st.builds(
    lambda dtype, shape, ends: file_of(
      one(dtype=dtype, shape=shape, data_offsets=ends), b'0' * 24
    ),
    st.sampled_from(['F32', 'BF16', 'F8_E4M3', 'BOOL', '', None, 3]),
    st.lists(st.integers(-1, 2**70) | st.integers(0, 6), max_size=3),
    st.lists(st.integers(-1, 40), max_size=3),
  ),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=BROKEN)
def test_any_file_is_read_or_one_error(data, tmp_path):
  (tmp_path / archive.WHOLE).write_bytes(data)
  try:
    found = archive.contents(tmp_path)
  except ValueError as error:
    assert (
      type(error) is errors.UsageError and len(str(error).splitlines()) == 1
    )
  else:
    for name, stored in found.items():
      if stored.dtype in archive.DTYPES:
        assert archive.load(stored, name).shape == stored.shape


def shards(folder, index, **files):
  for name, data in files.items():
    path = folder / f'{name}.safetensors'
    path.write_bytes(file_of(one(), data) if data else b'')
  (folder / archive.INDEX).write_text(json.dumps(index))


def test_an_index_of_other_files_lists_every_difference(tmp_path):
  shards(
    tmp_path,
    {'weight_map': {'b': 'x.safetensors', 'c': 'x.safetensors'}},
    x=b'0' * 24,
  )
  message = refused(archive.contents, tmp_path)
  for part in (
    'b is not in x.safetensors', 'c is not in x.safetensors',
    'a of x.safetensors is not listed',
  ):  # fmt: skip
    assert part in message


@pytest.mark.parametrize(
  'index, message',
  [
    ({'weight_map': {'a': '../x.safetensors'}}, 'is not the name of a file'),
    ({'weight_map': {'a': '/etc/passwd'}}, 'is not the name of a file'),
    ({'weight_map': {'a': 3}}, 'is not the name of a file'),
    ({'weight_map': {'a': 'y.safetensors'}}, 'no such file'),
    ({'weight_map': {'a': '..'}}, 'no such file'),
    ({'weight_map': {'a': '\0'}}, 'no such file'),
    ({'weight_map': {}}, 'has no weight_map'),
    ({'weight_map': 'x'}, 'has no weight_map'),
    ([], 'holds no named values'),
  ],
)
def test_indices_that_are_none(index, message, tmp_path):
  shards(tmp_path, index)
  assert message in refused(archive.contents, tmp_path)


def test_a_tensor_in_two_files(tmp_path):
  index = {'weight_map': {'a': 'x.safetensors', 'b': 'y.safetensors'}}
  shards(tmp_path, index, x=b'0' * 24, y=b'0' * 24)
  message = refused(archive.contents, tmp_path)
  assert 'a is in x.safetensors and in y.safetensors' in message


def test_a_folder_without_tensors(tmp_path):
  assert not archive.is_one(tmp_path)
  message = refused(archive.contents, tmp_path)
  assert 'has neither model.safetensors nor' in message


@pytest.mark.parametrize(
  'text',
  [
    b'', b'{', b'[]', b'{"a": NaN}', b'{"a": 1, "a": 2}', b'\xff',
    b'{"a": ' + b'9' * 5_000 + b'}', b'[' * 100_000,
  ],
)  # fmt: skip
def test_json_that_is_none(text, tmp_path):
  (tmp_path / 'x.json').write_bytes(text)
  message = refused(archive.read_json, tmp_path / 'x.json')
  assert message.startswith(f'{tmp_path / "x.json"}: ')
