import json

import pytest

from reasoning_depth.runtime import writer


def steps(folder):
  text = (folder / 'metrics.jsonl').read_text()
  return [json.loads(line)['step'] for line in text.splitlines()]


def test_a_resumed_run_drops_what_it_will_write_again(tmp_path):
  first = writer.Writer(tmp_path)
  for step in (10, 20, 30):
    first.write(step, 'train', {'loss': 1.0 / step})
  first.close()
  with (tmp_path / 'metrics.jsonl').open('a') as f:
    f.write('{"step": 40, "spl')
  second = writer.Writer(tmp_path, from_step=20)
  assert steps(tmp_path) == [10, 20]
  second.write(30, 'train', {'loss': 0.5})
  second.close()
  assert steps(tmp_path) == [10, 20, 30]
  assert list(tmp_path.glob('events.out.tfevents.*'))


@pytest.mark.parametrize(
  'line',
  [
    b'', b'{}', b'[1]', b'null', b'{"step": "x"}', b'{"step": null}',
    b'{"step": NaN}', b'{"step": ' + b'9' * 400 + b'}', b'[' * 100_000,
    b'\xff\xfe',
  ],
)  # fmt: skip
def test_a_resumed_run_drops_lines_that_are_damaged(tmp_path, line):
  path = tmp_path / 'metrics.jsonl'
  path.write_bytes(b'{"step": 10}\n' + line + b'\n{"step": 20}\n')
  writer.Writer(tmp_path, from_step=20).close()
  assert steps(tmp_path) == [10, 20]


def test_files_are_written_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'a' / 'b.json'
  writer.write_json(path, {'x': 1})
  with pytest.raises(TypeError):
    writer.write_json(path, {'x': object()})
  assert json.loads(path.read_text()) == {'x': 1}
  assert [p.name for p in path.parent.iterdir()] == ['b.json']
  writer.write_rows(path, [{'i': 0}, {'i': 1}])
  assert path.read_text() == '{"i": 0}\n{"i": 1}\n'
