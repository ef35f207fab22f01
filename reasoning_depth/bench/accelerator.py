"""All that needs an accelerator, the most important first, in so many minutes.

  python -m reasoning_depth.bench accelerator --minutes 25 --out DIR

Each part runs in a process of its own, with a limit of its own, one after
another. What a part measures is in DIR/NAME.json as it ends, what it printed in
DIR/NAME.log, and how all ended in DIR/accelerator.json, which is written anew
after each; so nothing is lost where the time is cut off. A training part that
meets its limit is stopped by a signal and saves. `--smoke` runs every part in a
tiny size, on any machine.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
GRACE = 60  # seconds to save in after the limit
_LEAST = 10  # seconds left with which a part is still begun
OUT = 'OUT'  # in a command: the folder of the results


@dataclasses.dataclass(frozen=True)
class Part:
  """Something to measure.

  Attributes:
    name: of its files.
    command: arguments of Python.
    seconds: its limit.
    smoke: arguments of Python in the smoke size.
  """

  name: str
  command: tuple[str, ...]
  seconds: int
  smoke: tuple[str, ...]

  def arguments(self, smoke: bool, out: pathlib.Path) -> list[str]:
    """The command to run."""
    chosen = self.smoke if smoke else self.command
    return [sys.executable, *(a.replace(OUT, str(out)) for a in chosen)]


def _bench(name: str, text: str, seconds: int, smoke: str, file='') -> Part:
  """A benchmark, as `name` or under another name of its files."""
  file = file or name
  head = ('-m', 'reasoning_depth.bench', name, f'--out={OUT}/{file}.json')
  return Part(file, (*head, *text.split()), seconds, (*head, *smoke.split()))


def _diagonal(shape: str, seconds: int) -> Part:
  return _bench(
    'diagonal',
    f'--shape {shape} --segments 512 1024 4096 --lengths 4096 16384 65536 '
    '131072 --dtype bfloat16 --attention cudnn --full --rounds 3 --auto '
    '--ramps buckets',
    seconds,
    '--lengths 16 --rounds 1 --full --ramps buckets',
    f'diagonal_{shape}',
  )


def _paper(name: str, words: str, seconds: int) -> tuple[Part, Part]:
  """The paper's transformer, as far as its seconds go; then its scores."""
  folder = f'--workdir={OUT}/{name}'
  config = f'{ROOT}/configs/transformer.py'
  few = (
    '--config.train.num_steps=20', '--config.eval.test_samples=64',
    '--config.checkpoint.every=20',
  )  # fmt: skip
  train = (
    'main.py', f'--config={config}:gpu,{words}', folder,
    '--config.eval.every=1000', '--config.checkpoint.every=5000',
    '--config.checkpoint.keep=1',
  )  # fmt: skip
  smoke = ('main.py', f'--config={config}:smoke,{words}', folder, *few)
  score = ('main.py', '--mode=evaluate', folder)
  return (
    Part(name, train, seconds, smoke),
    Part(f'{name}_scores', score, 60, score),
  )


PARTS = (
  _bench('agreement', '', 120, '--batch 2 --width 32 --states 3'),
  _bench(
    'steps', '', 240,
    '--configs armt:smoke recall:smoke --dtypes float32 '
    '--batch 4 --dispatch 2 --rounds 1',
  ),
  _diagonal('160m', 240),
  _diagonal('1b', 240),
  Part(
    'ceiling',
    (
      '-m', 'reasoning_depth.bench', 'ceiling', '--models', 'recall',
      'transformer k=1', 'transformer k=4', '--limit', '90',
      f'--out={OUT}/ceiling.json', f'--plot={OUT}/ceiling.png',
    ),
    300,
    (
      '-m', 'reasoning_depth.bench', 'ceiling', '--models', 'recall',
      '--words', 'smoke', '--every', '20', '--limit', '60',
      f'--out={OUT}/ceiling.json',
    ),
  ),
  *_paper('paper_k1', 'k=1', 240),
  *_paper('paper_multi_horizon', 'k=1-4', 240),
  _bench(
    'steps',
    '--configs transformer armt --dtypes bfloat16 --dispatch 2 --rounds 2 '
    f'--profile={OUT}/profile',
    120,
    '--configs transformer:smoke --dtypes float32 --batch 4 --dispatch 2 '
    f'--rounds 1 --profile={OUT}/profile',
    'profile',
  ),
)  # fmt: skip
NAMES = tuple(part.name for part in PARTS)


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench accelerator`."""
  parser = argparse.ArgumentParser('accelerator')
  parser.add_argument('--minutes', type=float, default=25.0, help='in all')
  parser.add_argument('--only', nargs='+', choices=NAMES, metavar='PART',
                      default=NAMES, help=', '.join(NAMES))  # fmt: skip
  parser.add_argument('--smoke', action='store_true', help='every part tiny')
  parser.add_argument('--dry-run', action='store_true', help='list the parts')
  parser.add_argument('--out', default='runs/accelerator',
                      help='folder for the JSON files')  # fmt: skip
  a = parser.parse_args(args)
  chosen = [part for part in PARTS if part.name in a.only]
  out = pathlib.Path(a.out).resolve()
  if a.dry_run:
    for part in chosen:
      command = ' '.join(part.arguments(a.smoke, out)[1:])
      print(f'{part.name}, at most {part.seconds} s: {command}')
    return
  ended = run(chosen, a.smoke, out, 60 * a.minutes)
  print(table(ended))
  if any(end['how'] == 'failed' for end in ended.values()):
    sys.exit(1)


def run(
  parts: list[Part], smoke: bool, out: pathlib.Path, seconds: float
) -> dict[str, dict[str, Any]]:
  """Runs parts one after another; returns how each ended, by name."""
  out.mkdir(parents=True, exist_ok=True)
  until = time.monotonic() + seconds
  ended: dict[str, dict[str, Any]] = {}
  for part in parts:
    print(f'{part.name} …', file=sys.stderr, flush=True)
    left = until - time.monotonic()
    if left < _LEAST:
      ended[part.name] = {'how': 'no time left', 'seconds': 0.0}
    else:
      limit = min(part.seconds, left)
      ended[part.name] = _one(part.arguments(smoke, out), part, out, limit)
    # Not through runtime.writer: JAX here would take the device's memory.
    text = json.dumps({'smoke': smoke, 'parts': ended}, indent=2)
    partial = out / 'accelerator.json.partial'
    partial.write_text(text + '\n')
    partial.replace(out / 'accelerator.json')
  return ended


def _one(
  command: list[str], part: Part, out: pathlib.Path, limit: float
) -> dict[str, Any]:
  """Runs one part: how it ended, its seconds and exit code."""
  started = time.monotonic()
  how = 'done'
  with (out / f'{part.name}.log').open('w') as log:
    process = subprocess.Popen(
      command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
      start_new_session=True,
    )  # fmt: skip
    try:
      process.wait(limit)
    except subprocess.TimeoutExpired:
      how = 'cut off at its limit'
      _end(process)
    except BaseException:
      _end(process)
      raise
  if how == 'done' and process.returncode:
    how = 'failed'
  seconds = round(time.monotonic() - started, 1)
  return {
    'how': how, 'seconds': seconds, 'exit_code': process.returncode,
    'command': ' '.join(['python', *command[1:]]),
  }  # fmt: skip


def _end(process: subprocess.Popen) -> None:
  """Asks a process to end, then ends it and all that it started."""
  process.terminate()
  try:
    process.wait(GRACE)
  except subprocess.TimeoutExpired:
    pass
  try:
    os.killpg(process.pid, signal.SIGKILL)
  except ProcessLookupError:
    pass
  process.wait()


def table(ended: dict[str, dict[str, Any]]) -> str:
  """As Markdown."""
  lines = ['| part | ended | seconds |', '| --- | --- | ---: |']
  return '\n'.join(
    lines + [f'| {n} | {e["how"]} | {e["seconds"]:.0f} |' for n, e in
             ended.items()]
  )  # fmt: skip
