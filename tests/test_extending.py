"""A task and a model of one's own go everywhere, by one line each."""

import dataclasses
import json
import pathlib
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import main
from reasoning_depth import models, settings, tasks
from reasoning_depth.models import base as base_model
from reasoning_depth.report import __main__ as report
from reasoning_depth.runtime import configuration
from reasoning_depth.tasks import base, splits
from reasoning_depth.training import config as whole


@dataclasses.dataclass(frozen=True)
class Parity(base.Task):
  """Random bits; at each the parity of all up to it."""

  bits: int = settings.field(4, 'n, bits in a sequence', least=2, most=64)

  vocab_size = 2
  causal = True

  @property
  def length(self):
    return self.bits

  def sample(self, key, batch_size, split='train'):
    key = jax.random.fold_in(key, splits.SPLITS.index(split))
    bits = jax.random.bernoulli(key, shape=(batch_size, self.bits))
    bits = bits.astype(jnp.int32)
    return base.Batch(
      inputs=bits,
      targets=jnp.cumsum(bits, axis=1) % 2,
      weights=jnp.ones(bits.shape, jnp.float32),
      group=jnp.full((batch_size,), self.bits, jnp.int32),
    )


class Window(base_model.Model):
  """Sees the last few tokens, and nothing else."""

  vocab_size: int
  width: int

  @nn.compact
  def __call__(self, tokens, *, depth=None, deterministic=True):
    x = nn.Embed(self.vocab_size, self.width)(tokens)
    x = x + nn.Dense(self.width)(jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0))))
    return base_model.plain_output(nn.Dense(self.vocab_size)(nn.tanh(x)))


@dataclasses.dataclass(frozen=True)
class WindowSettings(settings.Settings):
  width: int = settings.field(8, 'D', least=1)

  def build(self, task):
    return Window(task.vocab_size, self.width)


@pytest.fixture
def config(monkeypatch):
  """What a line in each registry allows: a config of both."""
  monkeypatch.setitem(tasks.TASKS, 'parity', Parity)
  monkeypatch.setitem(models.MODELS, 'window', WindowSettings)
  c = whole.default('parity', 'window')
  c.train.update(
    num_steps=4, batch_size=8, steps_per_dispatch=2, warmup_steps=1
  )
  c.eval.update(every=2, validation_samples=16, test_samples=32, batch_size=16)
  c.analyze.samples = 8
  c.checkpoint.every = 2
  c.mesh.data = 1
  return c.lock()


@pytest.fixture
def run(config, monkeypatch):
  """The command line with this config; returns the exit code."""
  load = lambda path: config.copy_and_resolve_references()  # noqa: E731
  monkeypatch.setattr(configuration, 'load', load)

  def run(*args):
    main.flags.FLAGS.unparse_flags()
    for name in ('config', 'workdir', 'mode'):
      main.flags.FLAGS[name].value = main.flags.FLAGS[name].default
    return main.main(['main.py', *args])

  return run


def test_a_toy_goes_through_everything(run, tmp_path, capsys):
  folder = tmp_path / 'run'
  train = ['--config=toy.py', f'--workdir={folder}']
  assert run(*train) == 0
  before = (folder / 'evaluations/test.json').read_text()
  losses = [_losses(folder)]
  # As if it had been killed after the first half.
  shutil.rmtree(folder / 'checkpoints/4')
  assert run(*train) == 0
  assert 'going on from step 2' in capsys.readouterr().out
  losses.append(_losses(folder))
  assert losses[0] == losses[1] and len(losses[0]) == 4
  assert (folder / 'evaluations/test.json').read_text() == before
  assert json.loads(before)['groups'][0]['group'] == 4
  assert run('--mode=evaluate', f'--workdir={folder}') == 0
  assert (folder / 'evaluations/test.json').read_text() == before
  capsys.readouterr()
  assert run('--mode=analyze', f'--workdir={folder}') == 0
  told = capsys.readouterr().out
  for name in ('depth', 'lens', 'patching'):
    assert f'{name}: not for this model and task' in told
  assert report.main([str(folder)]) == 0
  assert 'window' in capsys.readouterr().out
  assert (folder / 'plots/curves.png').is_file()


def test_a_toy_is_shown_and_its_fields_are_checked(run, capsys):
  assert run('--config=toy.py', '--mode=show') == 0
  told = capsys.readouterr().out
  assert 'task.bits = 4' in told and 'n, bits in a sequence' in told
  assert 'GFLOP' in told
  assert run('--config=toy.py', '--config.task.bits=1') == 2
  assert 'config.task.bits=1: must be at least 2' in capsys.readouterr().err
  assert run('--config=toy.py', '--config.task.bit=8') == 2
  assert "did you mean 'task.bits'" in capsys.readouterr().err
  assert run('--config=toy.py', '--config.eval.look_ahead=2') == 2
  assert 'have no look-ahead' in capsys.readouterr().err


def test_a_fault_of_the_models_code_keeps_its_traceback(run, monkeypatch):
  def wrong(self, tokens, *, depth=None, deterministic=True):
    return jnp.zeros((2, 3)) @ jnp.zeros((2, 3))

  monkeypatch.setattr(Window, '__call__', wrong)
  with pytest.raises(TypeError, match='contracting'):
    run('--config=toy.py', '--mode=show')


def _losses(folder: pathlib.Path) -> list[tuple]:
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  return [(x['step'], x['split'], x['loss']) for x in map(json.loads, lines)]
