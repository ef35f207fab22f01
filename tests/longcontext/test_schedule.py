import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.longcontext import diagonal, schedule
from reasoning_depth.training import loop
from tests import tiny

MODEL = tiny.model('armt')


@pytest.mark.parametrize('slow', ['scan', 'diagonal'])
def test_the_slower_is_not_taken(slow):
  def wait(x):
    time.sleep(0.05)
    return np.asarray(x)

  def run(model, x):
    diagonal = model.executor is not None
    if diagonal != (slow == 'diagonal'):
      return x
    return jax.pure_callback(wait, jax.ShapeDtypeStruct((), jnp.float32), x)

  name, model = schedule.fastest(MODEL, run, jnp.zeros(()), seconds=0)
  assert slow not in name
  assert (model.executor is None) == (name == 'scan')


def test_every_schedule_is_tried():
  seen = []

  def run(model, x):
    seen.append(getattr(model.executor, 'ramp', None))
    return x

  schedule.fastest(MODEL, run, jnp.zeros(()), seconds=0)
  assert seen == [None, 'whole', 'buckets']


def run_of(tmp_path, capsys, order, **fields):
  """Training losses, test scores, and what was printed."""
  exp = tiny.experiment(
    'armt', 'smoke,k=1',
    model={'memory': {'schedule': order}, 'halting': fields},
    eval={'every': 4},
    checkpoint={'every': 4},
  )  # fmt: skip
  folder = tmp_path / order
  summary = loop.train(exp, folder)
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  losses = [json.loads(line)['loss'] for line in lines]
  return losses, summary['overall']['loss'], capsys.readouterr().out


def test_a_config_chooses_the_schedule(tmp_path, capsys, monkeypatch):
  losses, score, told = run_of(tmp_path, capsys, 'scan')
  assert 'schedule' not in told
  monkeypatch.setattr(schedule, 'RAMPS', ('buckets',))
  taken = {'scan': {'median': 2.0}, 'diagonal_buckets': {'median': 1.0}}

  def alternate(runners, *_):
    for run in runners.values():
      run()
    return taken

  monkeypatch.setattr(schedule.stopwatch, 'alternate', alternate)
  ours, our_score, told = run_of(tmp_path, capsys, 'auto')
  assert 'schedule diagonal_buckets' in told
  np.testing.assert_allclose(ours, losses, rtol=1e-4)
  np.testing.assert_allclose(our_score, score, rtol=1e-4)


def test_a_run_by_diagonals_goes_by_diagonals(monkeypatch, tmp_path, capsys):
  def never(*args):
    raise RuntimeError('by diagonals')

  monkeypatch.setattr(diagonal.Diagonal, '__call__', never)
  with pytest.raises(RuntimeError, match='by diagonals'):
    run_of(tmp_path, capsys, 'diagonal')


def test_a_schedule_that_cannot_be_is_refused(tmp_path, capsys):
  message = 'config.model.memory.schedule=auto: not with halting.kind=model'
  with pytest.raises(errors.UsageError, match=message):
    run_of(tmp_path, capsys, 'auto', kind='model')
