"""The notebooks: as their sources, and each source runs."""

import os
import pathlib
import subprocess
import sys

import pytest

from notebooks import make

NOTEBOOKS = pathlib.Path(__file__).parents[1] / 'notebooks'


def test_notebooks_are_as_their_sources(capsys):
  assert make.main(check=True) == 0, capsys.readouterr().out
  sources = {path.stem for path in NOTEBOOKS.glob('*.py')} - {'make'}
  assert sources == set(make.NAMES)


@pytest.mark.parametrize('name', make.NAMES)
def test_a_notebook_opens_in_colab_and_installs_the_repository(name):
  notebook = make.make((NOTEBOOKS / f'{name}.py').read_text())
  first, install = notebook.cells[0].source, notebook.cells[1].source
  address = make.url()
  owner = address.removeprefix('https://github.com/')
  assert f'{make.COLAB}{owner}/blob/main/notebooks/{name}.ipynb' in first
  assert f'  %pip install -q git+{address}\n' in install
  assert not any(cell.get('outputs') for cell in notebook.cells)


def test_the_notebooks_run(tmp_path):
  """One after another in one process, whose start takes seconds."""
  environment = {
    **os.environ, 'SMOKE': '1', 'MPLBACKEND': 'agg',
    'XLA_FLAGS': os.environ['XLA_FLAGS'].replace('count=8', 'count=1'),
    'PYTHONPATH': os.pathsep.join(map(str, (NOTEBOOKS.parent, NOTEBOOKS))),
  }  # fmt: skip
  subprocess.run(
    [sys.executable, '-c', f'import {", ".join(make.NAMES)}'],
    cwd=tmp_path, env=environment, check=True, timeout=600,
  )  # fmt: skip
