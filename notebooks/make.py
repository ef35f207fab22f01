"""Makes the notebooks from their sources, the Python files beside it.

  python notebooks/make.py            # after a change of a source
  python notebooks/make.py --check    # exits with 1 if one is not as its source

In a source, REPOSITORY stands for the address of the repository, which is the
`url` in setup.cfg, and COLAB for that of its main branch in Colab.
"""

import argparse
import configparser
import pathlib
import sys

import jupytext
import nbformat

HERE = pathlib.Path(__file__).parent
NAMES = ('first_look', 'depth', 'memory', 'look_inside')
COLAB = 'https://colab.research.google.com/github/'


def url() -> str:
  """The repository's address."""
  metadata = configparser.ConfigParser()
  metadata.read(HERE.parent / 'setup.cfg')
  return metadata['metadata']['url']


def make(source: str) -> nbformat.NotebookNode:
  """The notebook of a source in percent format, without outputs."""
  address = url()
  colab = address.replace('https://github.com/', COLAB) + '/blob/main'
  text = source.replace('REPOSITORY', address).replace('COLAB', colab)
  notebook = jupytext.reads(text, fmt='py:percent')
  notebook.metadata = {
    'kernelspec': {
      'display_name': 'Python 3', 'language': 'python', 'name': 'python3',
    },
    'language_info': {'name': 'python'},
  }  # fmt: skip
  for n, cell in enumerate(notebook.cells):
    cell.id = f'cell-{n}'  # the same each time
  return notebook


def main(check: bool) -> int:
  """Writes the notebooks, or returns 1 if one is not as its source."""
  stale = []
  for name in NAMES:
    made = nbformat.writes(make((HERE / f'{name}.py').read_text())) + '\n'
    path = HERE / f'{name}.ipynb'
    if check:
      stale += [name] if not path.exists() or path.read_text() != made else []
    else:
      path.write_text(made)
  for name in stale:
    print(f'{name}.ipynb: not as {name}.py; run notebooks/make.py')
  return int(bool(stale))


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--check', action='store_true')
  sys.exit(main(parser.parse_args().check))
