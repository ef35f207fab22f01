"""Makes the notebooks from their sources, and their badges in README.

  python notebooks/make.py            # after a change of a source
  python notebooks/make.py --check    # exits with 1 if one is not as its source

In a source, REPOSITORY stands for the address of the repository, which is the
`url` in setup.cfg, and COLAB for that of its main branch in Colab. In README the
badges stand between two marks.
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
BADGE = 'https://colab.research.google.com/assets/colab-badge.svg'
README = HERE.parent / 'README.md'
MARKS = '<!-- notebooks -->\n', '<!-- end of notebooks -->\n'


def url() -> str:
  """The repository's address."""
  metadata = configparser.ConfigParser()
  metadata.read(HERE.parent / 'setup.cfg')
  return metadata['metadata']['url']


def colab() -> str:
  """The address of the main branch in Colab."""
  return url().replace('https://github.com/', COLAB) + '/blob/main'


def badges(readme: str) -> str:
  """README's text with a link and a badge for each notebook."""
  before, _, rest = readme.partition(MARKS[0])
  after = rest.partition(MARKS[1])[2]
  lines = [
    f'- [{name.replace("_", " ")}](notebooks/{name}.ipynb) '
    f'[![Open in Colab]({BADGE})]({colab()}/notebooks/{name}.ipynb)\n'
    for name in NAMES
  ]
  return ''.join([before, MARKS[0], *lines, MARKS[1], after])


def make(source: str) -> nbformat.NotebookNode:
  """The notebook of a source in percent format, without outputs."""
  text = source.replace('REPOSITORY', url()).replace('COLAB', colab())
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
  """Writes all files, or returns 1 if one is not as it would be written."""
  made = {README: badges(README.read_text())}
  for name in NAMES:
    notebook = make((HERE / f'{name}.py').read_text())
    made[HERE / f'{name}.ipynb'] = nbformat.writes(notebook) + '\n'
  stale = []
  for path, text in made.items():
    if not check:
      path.write_text(text)
    elif not path.exists() or path.read_text() != text:
      stale.append(path)
      print(f'{path.name}: not as its source; run notebooks/make.py')
  return int(bool(stale))


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--check', action='store_true')
  sys.exit(main(parser.parse_args().check))
