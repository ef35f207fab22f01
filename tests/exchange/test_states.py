"""A user's own orbits from files; mistakes are one line."""

import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.exchange import states

TWO = np.array([[[0, 1, 1], [1, 0, 0]], [[0, 0, 1], [1, 1, 1]]])


@pytest.mark.parametrize(
  'text',
  [
    '011\n100\n\n001\n111\n',
    '.##\r\n#..\r\n\r\n..#\r\n###',
    '\n\n0 1 1\n1,0,0\n \n\n. . #\n1\t1\t1\n\n',
  ],
)
def test_texts_are_read(tmp_path, text):
  path = tmp_path / 'orbits.txt'
  path.write_bytes(text.encode())
  np.testing.assert_array_equal(states.read(path), TWO)


@pytest.mark.parametrize('dtype', [np.uint8, bool, np.int64, np.float32])
def test_arrays_are_read(tmp_path, dtype):
  path = tmp_path / 'orbits.npy'
  np.save(path, TWO.astype(dtype))
  np.testing.assert_array_equal(states.read(path), TWO)


@pytest.mark.parametrize(
  'content,message',
  [
    ('011\n10\n', 'line 2 has 2 cells, the first state 3'),
    ('011\n102\n', "line 2: '2' is no cell: allowed are 0 and 1, or . and #"),
    ('011\n100\n\n001\n', 'orbits of 1 and 2 states'),
    ('\n \n', 'has no states'),
    ('', 'has no states'),
    (b'\xff\xfe\x00', 'is neither text nor .npy'),
    ('0\x1b1', "line 1: '\\x1b' is no cell"),
  ],
)
def test_other_texts_are_refused_in_one_line(tmp_path, content, message):
  path = tmp_path / 'orbits.txt'
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  with pytest.raises(errors.UsageError) as told:
    states.read(path)
  assert str(told.value).startswith(f'{path}: {message}')
  assert '\n' not in str(told.value)


def test_arrays_that_are_none_are_refused_in_one_line(tmp_path):
  path = tmp_path / 'orbits.npy'
  np.save(path, np.array([[1], 'a'], dtype=object))
  pickled = path.read_bytes()
  np.save(path, TWO)
  whole = path.read_bytes()
  for content, message in (
    (pickled, 'holds Python objects (a pickle), not numbers'),
    (whole[:-3], 'not a .npy file of numbers'),
    (whole[:20], 'not a .npy file of numbers'),
    (b'', 'not a .npy file of numbers'),
    (b'011\n100\n', 'not a .npy file of numbers'),
    (whole.replace(b'(2, 2, 3)', b'(9, 9, 9999999999)'[:9]), 'not a .npy'),
  ):
    path.write_bytes(content)
    with pytest.raises(errors.UsageError) as told:
      states.read(path)
    assert message in str(told.value) and '\n' not in str(told.value)


def test_missing_and_large_files_are_refused(tmp_path, monkeypatch):
  with pytest.raises(errors.UsageError, match='No such file'):
    states.read(tmp_path / 'nowhere.txt')
  with pytest.raises(errors.UsageError, match='directory'):
    states.read(tmp_path)
  monkeypatch.setattr(states, 'MOST_BYTES', 3)
  (tmp_path / 'large').write_text('0101')
  with pytest.raises(errors.UsageError, match='more than'):
    states.read(tmp_path / 'large')
