"""SHA-256 sums of a folder's files, to detect damage."""

import hashlib
import json
import os
import pathlib
from typing import Any

NAME = 'manifest.json'
FORMAT = 1  # version of the manifest and of the folder's layout


class Damaged(Exception):
  """A folder does not match its manifest."""


def write(folder: pathlib.Path, facts: dict[str, Any]) -> None:
  """Writes the SHA-256 of every file of a folder, then syncs all to disk.

  Args:
    folder: complete and no longer written to.
    facts: JSON values to store beside the sums.
  """
  sums = {str(p.relative_to(folder)): _sum(p) for p in _files(folder)}
  text = _text({'format': FORMAT, **facts, 'files': sums})
  (folder / NAME).write_text(text)
  for place in [*folder.rglob('*'), folder]:
    descriptor = os.open(place, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def read(folder: pathlib.Path) -> dict[str, Any]:
  """The manifest of a folder; checks itself, not the files.

  Raises:
    Damaged: where it is missing, was changed since `write`, or has another
      format.
  """
  try:
    text = (folder / NAME).read_text()
    manifest = json.loads(text)
    whole = isinstance(manifest, dict) and _text(manifest) == text
  except (OSError, ValueError, RecursionError) as error:
    raise Damaged(f'{NAME}: {error}') from None
  if not whole:
    raise Damaged(f'{NAME}: has been changed')
  if manifest['format'] != FORMAT:
    raise Damaged(f'{NAME}: format {manifest["format"]}, not {FORMAT}')
  return manifest


def verify(folder: pathlib.Path) -> dict[str, Any]:
  """Checks every file of a folder, and returns the manifest.

  Raises:
    Damaged: naming the first file that is missing or has changed.
  """
  manifest = read(folder)
  for name, sums in manifest['files'].items():
    try:
      found = _sum(folder / name)
    except OSError as error:
      raise Damaged(f'{name}: {error.strerror}') from None
    if found != sums:
      raise Damaged(f'{name}: has changed since it was written')
  return manifest


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  return sorted(p for p in folder.rglob('*') if p.is_file())


def _sum(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _text(manifest: dict[str, Any]) -> str:
  """Canonical JSON with a SHA-256 of its own content, to detect changes."""
  rest = {k: v for k, v in manifest.items() if k != 'sum'}
  text = json.dumps(rest, indent=1, sort_keys=True)
  rest['sum'] = hashlib.sha256(text.encode()).hexdigest()
  return json.dumps(rest, indent=1, sort_keys=True) + '\n'
