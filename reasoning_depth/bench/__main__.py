"""`python -m reasoning_depth.bench NAME [--out=FILE] [...]`."""

import sys

from reasoning_depth.bench import (
  accelerator,
  agreement,
  automata,
  ceiling,
  devices,
  diagonal,
  growth,
  patching,
  saves,
  scan,
  steps,
  streaming,
  train_step,
)

BENCHMARKS = {
  'accelerator': accelerator.main,
  'agreement': agreement.main,
  'automata': automata.main,
  'ceiling': ceiling.main,
  'devices': devices.main,
  'diagonal': diagonal.main,
  'growth': growth.main,
  'patching': patching.main,
  'saves': saves.main,
  'scan': scan.main,
  'steps': steps.main,
  'streaming': streaming.main,
  'train_step': train_step.main,
}


def main() -> int:
  """Runs the benchmark named by the first argument."""
  if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
    names = ', '.join(BENCHMARKS)
    print(f'usage: python -m reasoning_depth.bench NAME: {names}',
          file=sys.stderr)  # fmt: skip
    return 2
  BENCHMARKS[sys.argv[1]](sys.argv[2:])
  return 0


if __name__ == '__main__':
  sys.exit(main())
