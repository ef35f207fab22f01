"""The floors of the house: imports run down only."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'reasoning_depth'
# Rooms by floor; what stands beside them is below all or above all.
FLOORS = {
  'settings': -1,
  'errors': -2,
  'tasks': 0,
  'models': 0,
  'runtime': 0,
  'exchange': -0.5,  # files alone; tasks read theirs through it
  'longcontext': 1,
  'report': 1,
  'scoring': 2,
  'analysis': 3,
  'training': 4,
  'bench': 5,
  'trained': 5,
  'modes': 6,
  'show': 6,
  'usage': 6,
  'api': 7,
  'lm_harness': 8,
  '__init__': 8,
}


def imported(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def rooms_imported():
  """Path, its room, and the room of each import of another room."""
  for path in PACKAGE.rglob('*.py'):
    here = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
    for name in imported(path):
      top, _, rest = name.partition('.')
      there = rest.partition('.')[0]
      assert top not in ('main', 'configs', 'launch', 'tests'), (path, name)
      if top == 'reasoning_depth' and there != here:
        yield path, here, there, name


def test_imports_run_down_only():
  found = list(rooms_imported())
  assert {here for _, here, _, _ in found} > {'tasks', 'models', 'training'}
  wrong = [
    f'{path.relative_to(ROOT)}: {name}'
    for path, here, there, name in found
    if not FLOORS[there] < FLOORS[here] and (here, there) != ('modes', 'show')
  ]
  assert not wrong


def test_no_two_rooms_import_each_other():
  pairs = {(here, there) for _, here, there, _ in rooms_imported()}
  assert not [pair for pair in pairs if pair[::-1] in pairs]


def test_reports_read_run_folders_alone():
  rooms = {there for _, here, there, _ in rooms_imported() if here == 'report'}
  assert rooms <= {'errors', 'settings'}


def test_nobody_above_the_ground_floor_asks_what_an_object_is():
  """isinstance of a class of ours, hasattr, or getattr with a default."""
  asks = []
  for path in PACKAGE.rglob('*.py'):
    here = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
    if FLOORS.get(here, 0) <= 0:
      continue
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        kind, args = node.func.id, node.args
        if (
          kind == 'hasattr'
          or (kind == 'getattr' and len(args) == 3)
          or (kind == 'isinstance' and isinstance(args[1], ast.Attribute))
        ):
          asks.append(f'{path.relative_to(ROOT)}:{node.lineno} {kind}')
  assert not asks


# Modules that run what they read, and calls that do.
PICKLES = {
  'pickle', '_pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'shelve',
  'marshal',
}  # fmt: skip
CALLS = {'torch.load', 'pandas.read_pickle', 'pd.read_pickle'}
RUNS_CODE = {'eval', 'exec', 'compile', '__import__'}
LOADERS = {'importlib', 'runpy', 'imp', 'pkgutil'}
# The one place that runs a Python file: the one named after --config.
LOADS_CONFIGS = 'reasoning_depth/runtime/configuration.py'


def python_files():
  """All of the project's, but for what is built or installed in its folder."""
  for path in ROOT.rglob('*.py'):
    inside = path.relative_to(ROOT)
    if not any(
      p.startswith('.') or p in ('build', 'runs') for p in inside.parts
    ):
      yield inside.as_posix(), ast.parse(path.read_text())


def dangers(tree):
  """What in a syntax tree runs, or may run, what it reads."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import | ast.ImportFrom):
      names = [alias.name for alias in node.names]
      if isinstance(node, ast.ImportFrom):
        names = [f'{node.module}.{name}' for name in names]
      for name in names:
        if name.split('.')[0] in PICKLES | LOADERS and name != (
          'importlib.metadata'
        ):
          yield name
    elif isinstance(node, ast.Attribute) and ast.unparse(node) in CALLS:
      yield ast.unparse(node)
    elif isinstance(node, ast.Name) and node.id in RUNS_CODE:
      yield node.id
    elif isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
      if not (isinstance(node.value, ast.Constant) and not node.value.value):
        yield 'allow_pickle'


def test_nothing_runs_what_it_reads():
  found = {path: set(dangers(tree)) for path, tree in python_files()}
  assert {'main.py', 'configs/armt.py', LOADS_CONFIGS} <= found.keys()
  assert {path: names for path, names in found.items() if names} == {
    LOADS_CONFIGS: {'importlib.util'}
  }


@pytest.mark.parametrize(
  'text',
  [
    'import pickle',
    'import joblib.numpy_pickle as x',
    'from dill import load',
    'np.load(path, allow_pickle=True)',
    'np.load(path, allow_pickle=flag)',
    'torch.load(path)',
    'load = torch.load',
    'eval(text)',
    'run = exec',
    '__import__(name)',
    'import runpy',
    'from importlib import util',
  ],
)
def test_what_runs_what_it_reads_is_found(text):
  assert list(dangers(ast.parse(text)))


def test_harmless_names_are_not_found():
  text = 'np.load(p, allow_pickle=False); jax.jit(f).lower(x).compile()'
  assert not list(dangers(ast.parse(text)))
