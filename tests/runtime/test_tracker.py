"""Weights & Biases, by a stand-in for its library; no network."""

import json
import sys
import types

import pytest

from reasoning_depth import errors
from reasoning_depth.runtime import tracker, writer
from reasoning_depth.training import loop
from tests import tiny


class Library(types.ModuleType):
  """Keeps what it is called with; fails where asked."""

  class Error(Exception):
    """As the library's own."""

  def __init__(self, fails=''):
    super().__init__('wandb')
    self.calls, self.fails = [], fails

  def __getattr__(self, name):
    if name.startswith('__'):
      raise AttributeError(name)

    def call(*args, **fields):
      self.calls.append((name, args, fields))
      if name == self.fails:
        raise self.Error('no\nroute')
      return self

    return call


@pytest.fixture
def wandb(monkeypatch):
  library = Library()
  monkeypatch.setitem(sys.modules, 'wandb', library)
  return library


def written(folder, project='p', from_step=0):
  (folder / 'config.json').write_text('{"seed": 3}')
  files = writer.Writer(folder, from_step, project)
  files.write(10, 'train', {'loss': 0.5})
  files.close()
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line)['step'] for line in lines]


def test_a_run_and_the_one_that_goes_on_are_one(tmp_path, wandb):
  assert written(tmp_path) == [10]
  names = [name for name, *_ in wandb.calls]
  assert names == ['init', 'define_metric', 'log', 'finish']
  first, (logged,) = wandb.calls[0][2], wandb.calls[2][1]
  assert (first['project'], first['config']) == ('p', {'seed': 3})
  assert first['name'] == tmp_path.name and first['resume'] == 'allow'
  assert logged['step'] == 10 and logged['train/loss'] == 0.5
  wandb.calls.clear()
  written(tmp_path, from_step=10)
  assert wandb.calls[0][2]['id'] == first['id']


def test_off_by_default(tmp_path, wandb):
  assert written(tmp_path, '') == [10] and wandb.calls == []
  assert tiny.run_config('transformer').log.wandb == ''
  assert not (tmp_path / tracker.ID).exists()


@pytest.mark.parametrize('fails', ['init', 'log', 'finish'])
def test_what_goes_wrong_there_is_told_once(tmp_path, wandb, fails, capsys):
  wandb.fails = fails
  assert written(tmp_path) == [10]
  error = capsys.readouterr().err
  assert error == 'wandb: no route; going on without\n'


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  exp = tiny.experiment('transformer', log={'wandb': 'p'})
  folder = tmp_path / 'run'
  with pytest.raises(errors.UsageError, match=r'log\.wandb=p: .*\[wandb\]'):
    loop.train(exp, folder)
  assert not folder.exists()
