"""Hands the cells of a grid to Slurm, as one job array."""

import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from launch import cells
from reasoning_depth import errors

SCRIPT = 'launch/slurm.sbatch'


def submit(
  grid: Sequence[cells.Cell],
  results: pathlib.Path,
  options: str,
  jobs: int | None,
  flags: Sequence[str],
) -> list[str]:
  """Submits the cells that have no result yet; returns a line for each array.

  Runs that others start from are an array of their own, which the second one
  waits for. A task of an array trains one cell, by its number in the grid.

  Args:
    grid: the cells.
    results: folder of their results; one sweep at a time writes there.
    options: for sbatch, such as '--gpus-per-node=1 --time=4:00:00'.
    jobs: most cells at once; None for as many as Slurm runs.
    flags: of `launch.sweep`, which each task gets too.

  Raises:
    UsageError: without Slurm, or where the sweep is in the queue already.
  """
  if shutil.which('sbatch') is None:
    raise errors.UsageError('--slurm: sbatch is not on the PATH')
  sweep = hashlib.sha256(os.fsencode(results.resolve())).hexdigest()[:8]
  name = f'sweep-{sweep}'
  queued = _output('squeue', '--me', '--noheader', f'--name={name}', '-o%A')
  if queued:
    raise errors.UsageError(
      f'--slurm: cells of {results} are in the queue, as {", ".join(queued)}'
    )
  todo = [i for i, cell in enumerate(grid) if not cell.result.exists()]
  started = {cell.after for cell in grid}
  first = [i for i in todo if grid[i].name in started]
  told, after = [], ''
  for numbers in (first, [i for i in todo if i not in first]):
    if not numbers:
      continue
    at_once = f'%{jobs}' if jobs else ''
    array = ','.join(map(str, numbers)) + at_once
    (job,) = _output(
      'sbatch', '--parsable', f'--job-name={name}', f'--array={array}',
      *([f'--dependency=afterany:{after}'] if after else []),
      *shlex.split(options), SCRIPT, '--', *flags,
    )  # fmt: skip
    after = job.partition(';')[0]
    told.append(f'job {after}: {len(numbers)} cells')
  return told


def _output(*command: str) -> list[str]:
  """Different lines that a command of Slurm prints."""
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError) as error:
    reason = str(getattr(error, 'stderr', None) or error).split()
    raise errors.UsageError(
      f'--slurm: {command[0]}: {" ".join(reason)}'
    ) from None
  return sorted(set(done.stdout.split()))
