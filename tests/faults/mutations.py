"""Hypothesis strategies that damage a valid input in small ways."""

import re
from collections.abc import Sequence

from hypothesis import strategies as st

# Values that parsers tend to trip over.
NASTY = (
  '', '0', '-1', '1', '2', '0.5', '1e999', '-1e9', 'NaN', 'nan', '-Infinity',
  '2147483648', '9' * 400, '9' * 5_000, '1-', '(1,)', '(1, 2, 3)', '((1))',
  'null', 'true', 'False', '{}', '[]', '[[1]]', '[1, "x"]', '"x"', '"\\ud800"',
  '"$\\\\frac$"', '{"a.b": 1}', 'x', 'trian', 'fixed', 'every', 'look_ahead',
  'trm', 'armt', 'groups', 'grpo', '\0', '\n', '\u2028', ' ', '=', ',', ':',
  '[' * 2_000, '{"a":' * 2_000, '[' * 900 + ']' * 900,
  *('{"a":' * n + '1' + '}' * n for n in (300, 900, 960, 985)),
)  # fmt: skip
_WORD = re.compile(rb'"[^"\n]*"|[-+.\w]+')


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
  """One of the seeds after one to three edits."""
  data = draw(st.sampled_from(seeds))
  for edit in draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=3)):
    data = edit(draw, data)
  return data


def _letter(draw: st.DrawFn, data: bytes) -> bytes:
  """Drops or doubles a byte, swaps it with the next, or puts in another."""
  at = draw(st.integers(0, len(data)))
  here, after = data[at : at + 1], data[at + 1 : at + 2]
  kind = draw(st.sampled_from(['drop', 'double', 'swap', 'replace']))
  if kind == 'swap':
    return data[:at] + after + here + data[at + 2 :]
  new = {'drop': b'', 'double': here * 2}.get(kind)
  if new is None:
    new = draw(st.binary(min_size=1, max_size=1))
  return data[:at] + new + data[at + 1 :]


def _word(draw: st.DrawFn, data: bytes) -> bytes:
  """Puts a nasty value in the place of a word, a number or a string."""
  words = [found.span() for found in _WORD.finditer(data)]
  if not words:
    return data
  first, last = draw(st.sampled_from(words))
  return data[:first] + draw(st.sampled_from(NASTY)).encode() + data[last:]


def _line(draw: st.DrawFn, data: bytes) -> bytes:
  """Drops or doubles a line, or moves it to the end."""
  lines = data.splitlines(keepends=True)
  if len(lines) < 2:
    return data
  line = lines.pop(at := draw(st.integers(0, len(lines) - 1)))
  kind = draw(st.sampled_from(['drop', 'double', 'move']))
  if kind == 'double':
    lines[at:at] = [line, line]
  elif kind == 'move':
    lines.append(line)
  return b''.join(lines)


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
  """Cuts off the end, as when a disk is full."""
  return data[: draw(st.integers(0, len(data)))]


def _noise(draw: st.DrawFn, data: bytes) -> bytes:
  """Random bytes instead of all of it."""
  del data
  return draw(st.binary(max_size=200))


# Some stand more than once, to be drawn more often.
EDITS = (_letter, _letter, _word, _word, _word, _line, _cut, _noise)
