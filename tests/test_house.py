"""The floors of the house: imports run down only."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'reasoning_depth'
FLOORS = {
  'tasks': 0,
  'models': 0,
  'runtime': 0,
  'exchange': 0,
  'training': 1,
  'evaluation': 1,
  'longcontext': 1,
  'report': 2,
  'bench': 2,
}


def imported(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def test_imports_run_down_only():
  wrong = []
  for path in PACKAGE.rglob('*.py'):
    rooms = path.relative_to(PACKAGE).parts
    if len(rooms) < 2:
      continue
    here = rooms[0]
    for name in imported(path):
      top, _, rest = name.partition('.')
      there = rest.partition('.')[0]
      if top in ('main', 'configs', 'launch', 'tests'):
        wrong.append(f'{path}: {name}')
      if top != 'reasoning_depth' or there == here:
        continue
      exempt = here == 'exchange' and name.startswith(
        'reasoning_depth.tasks.base'
      )
      beside = FLOORS[here] == FLOORS[there] == 0 and not exempt
      if FLOORS[there] > FLOORS[here] or beside:
        wrong.append(f'{path}: {name}')
  assert not wrong


def test_there_is_no_pickle():
  for path in [ROOT / 'main.py', *PACKAGE.rglob('*.py')]:
    names = set(imported(path))
    assert not any(n.split('.')[0] == 'pickle' for n in names), path
    assert 'allow_pickle=True' not in path.read_text(), path
