"""README and docs/: the examples run, and what they name is there."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from reasoning_depth import models, settings, tasks, training, usage
from reasoning_depth.bench import __main__ as bench
from reasoning_depth.runtime import configuration
from reasoning_depth.training import config as whole

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
# Also a record of old commands, whose fields must have today's names.
COMMANDS = TEXTS | {
  'results/RESULTS.md': (ROOT / 'results/RESULTS.md').read_text()
}
NAMED = re.compile(
  r'\b(?:configs|results|launch|tests|docs|reasoning_depth)/[\w./*+-]*\w'
)
# Not there until somebody follows docs/extending.md.
TO_COME = {f'reasoning_depth/{room}/NAME.py'
           for room in ('tasks', 'models', 'training', 'analysis')}  # fmt: skip
TO_COME |= {'configs/NAME.py'}


def test_the_examples_of_extending_run(tmp_path):
  text = TEXTS['docs/extending.md']
  blocks = re.findall(r'^```python\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
  assert len(blocks) >= 5
  path = tmp_path / 'blocks.py'
  path.write_text('\n'.join(blocks))
  one_device = os.environ['XLA_FLAGS'].replace('count=8', 'count=1')
  environment = {
    **os.environ, 'PYTHONPATH': str(ROOT), 'XLA_FLAGS': one_device
  }  # fmt: skip
  subprocess.run(
    [sys.executable, path], cwd=tmp_path, env=environment, check=True
  )
  assert (tmp_path / 'runs/parity/evaluations/test.json').is_file()


@pytest.mark.parametrize('page', TEXTS)
def test_links_lead_somewhere(page):
  links = re.findall(r'\]\(([^)\s]+)\)', TEXTS[page])
  links = [link.partition('#')[0] for link in links if '://' not in link]
  here = (ROOT / page).parent
  assert not [link for link in links if link and not (here / link).exists()]


@pytest.mark.parametrize('page', TEXTS)
def test_files_that_are_named_are_there(page):
  # Not folders on somebody's machine, such as runs/armt, nor web addresses.
  text = re.sub(r'https?://\S+', '', TEXTS[page])
  named = set(NAMED.findall(text)) - TO_COME
  assert not [name for name in named if not list(ROOT.glob(name))]


@pytest.mark.parametrize('page', TEXTS)
def test_modules_that_are_named_are_there(page):
  named = re.findall(
    r'python -m ((?:reasoning_depth|launch)[\w.]*\w)', TEXTS[page]
  )
  for name in named:
    path = ROOT / name.replace('.', '/')
    assert path.with_suffix('.py').is_file() or (path / '__main__.py').is_file()


@pytest.mark.parametrize('page', TEXTS)
def test_modes_and_benchmarks_that_are_named_are_there(page):
  modes = set(re.findall(r'--mode=([a-z]+)', TEXTS[page]))
  assert modes <= usage.MODES.keys()
  benchmarks = re.findall(r'reasoning_depth\.bench ([a-z_]+)', TEXTS[page])
  assert set(benchmarks) <= bench.BENCHMARKS.keys()


def test_readme_is_short_and_has_the_test_command():
  text = TEXTS['README.md']
  assert len(text.splitlines()) <= 150
  block = text.partition('<!-- test -->')[2].partition('<!-- end -->')[0]
  assert '-m pytest -n 2' in block


@pytest.mark.parametrize('page', COMMANDS)
def test_configs_and_words_can_be_loaded(page):
  named = re.findall(r'--config=(configs/\w+\.py[\w:=,.-]*)', COMMANDS[page])
  for name in sorted(set(named)):
    if 'TASK' not in name and 'NAME' not in name:
      configuration.load(name.rstrip('.,'))


@pytest.mark.parametrize('page', COMMANDS)
def test_fields_that_are_named_are_declared(page):
  known = {'seed'}
  for group, kind in whole.GROUPS.items():
    known |= settings.declared(kind, f'{group}.').keys()
  for method, kind in training.METHODS.items():
    if kind.Settings:
      known |= settings.declared(kind.Settings, f'train.{method}.').keys()
  for group, kinds in (('task', tasks.TASKS), ('model', models.MODELS)):
    for kind in kinds.values():
      known |= settings.declared(kind, f'{group}.').keys()
  named = re.findall(r'--config\.([a-z_0-9.]+)=', COMMANDS[page])
  named += re.findall(
    r'`((?:task|train|eval|analyze|checkpoint|mesh|log)\.[a-z_0-9.]+|model\.[a-z_]+'
    r'(?:\.[a-z_]+)?)[=`]',
    TEXTS.get(page, ''),
  )
  groups = {n.rpartition('.')[0] for n in known} | {'task.name', 'model.name'}
  assert not [n for n in set(named) if n not in known | groups]


def test_code_that_papers_names_is_there():
  text = TEXTS['docs/papers.md']
  files = re.findall(
    r'`((?!configs)[a-z]+/[a-z_0-9]+\.py)`(?:: ((?:`\w+`(?:, )?)+))?', text
  )
  assert len(files) > 40
  for path, names in files:
    source = ROOT / 'reasoning_depth' / path
    words = set(re.findall(r'\w+', source.read_text()))
    assert set(re.findall(r'\w+', names)) <= words, path
