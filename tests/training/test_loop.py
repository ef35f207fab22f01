import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import modes
from reasoning_depth.training import (
  divergence,
  loop,
  reporting,
  resume,
  state,
  step,
)
from tests import tiny


def small(**fields):
  fields = {'num_steps': 6, 'decay_steps': 6, 'ema': 0.9} | fields
  return tiny.experiment(
    'transformer', 'smoke,k=1-2', train=fields, eval={'test_samples': 12}
  )


def newest(exp, folder):
  return jax.device_get(resume.restore(exp, folder))


def lines(folder):
  text = (folder / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def without_rates(rows):
  return [
    {
      k: v
      for k, v in row.items()
      if not k.endswith('second') and k != 'seconds'
    }
    for row in rows
  ]


def test_a_run_and_the_same_run_resumed(tmp_path, booby_trap):
  exp = small()
  folder = tmp_path / 'run'
  summary = loop.train(exp, folder)
  final, written = newest(exp, folder), without_rates(lines(folder))
  kept = sorted(int(p.name) for p in (folder / 'checkpoints').iterdir())
  assert kept == [4, 6]

  # As if killed after step 4 was saved, with a line half written.
  shutil.rmtree(folder / 'checkpoints' / '6')
  with (folder / 'metrics.jsonl').open('a') as f:
    f.write('{"step": 6, "sp')
  booby_trap(folder)
  assert loop.train(exp, folder) == summary
  chex.assert_trees_all_equal(newest(exp, folder), final)
  assert without_rates(lines(folder)) == written
  # Nothing is left to do: the same command again only evaluates again.
  assert loop.train(exp, folder) == summary

  assert summary['step'] == 6 and summary['split'] == 'test'
  assert sum(g['num_samples'] for g in summary['groups']) == 12
  stored = json.loads((folder / 'evaluations/test.json').read_text())
  assert stored == summary
  rows = (folder / 'evaluations/test.jsonl').read_text().splitlines()
  assert len(rows) == 12
  environment = json.loads((folder / 'environment.json').read_text())
  assert environment['packages']['jax'] == jax.__version__
  assert list(folder.glob('events.out.tfevents.*'))


def broken_at(exp, monkeypatch, *steps):
  """Makes the loss of some steps not a number."""
  original = step.gradients

  def gradients(model, params, batch, key, config):
    grads, sums = original(model, params, batch, key, config)
    mine = [jax.random.fold_in(state.data_key(exp.config.seed), s)
            for s in steps]  # fmt: skip
    draws = [jax.random.fold_in(k, step.DRAWS) for k in mine]
    bad = jnp.stack(
      [
        (jax.random.key_data(key) == jax.random.key_data(d)).all()
        for d in draws
      ]
    ).any()
    return grads, sums.replace(loss=jnp.where(bad, jnp.nan, sums.loss))

  monkeypatch.setattr(step, 'gradients', gradients)


def test_a_step_that_is_not_finite_ends_the_run(tmp_path, monkeypatch, capsys):
  exp, folder = small(), tmp_path / 'run'
  broken_at(exp, monkeypatch, 3)
  with pytest.raises(
    reporting.Diverged,
    match=r'^step 3: loss or gradient is not finite \(loss n',
  ):
    loop.train(exp, folder)
  assert int(newest(exp, folder).step) == 2
  facts = json.loads((folder / 'diverged/3.json').read_text())
  assert facts['step'] == 3 and facts['loss'] == 'nan'
  before = resume.restore(exp, folder, divergence.FOLDER)
  assert int(before.step) == 3
  for leaf in jax.tree.leaves(jax.device_get(before)):
    assert np.all(np.isfinite(leaf))
  # The same command comes to the same step, and finds its state kept.
  with pytest.raises(reporting.Diverged, match='^step 3: '):
    loop.train(exp, folder)
  assert 'could not be saved' not in capsys.readouterr().err
  # The step can be made again, alone.
  modes.replay(exp.config, folder, [])
  assert 'step 3: not finite, loss nan' in capsys.readouterr().out


def test_some_steps_may_be_skipped(tmp_path, monkeypatch, capsys):
  exp, folder = small(max_skips=2), tmp_path / 'run'
  broken_at(exp, monkeypatch, 1, 3)
  loop.train(exp, folder)
  printed = capsys.readouterr().out
  assert 'skipped step 1: ' in printed and 'skipped step 3: ' in printed
  final = newest(exp, folder)
  assert (int(final.step), int(final.skipped)) == (6, 2)
  assert all(np.isfinite(r['loss']) for r in lines(folder))

  exp, folder = small(max_skips=1), tmp_path / 'other'
  with pytest.raises(reporting.Diverged, match='^step 3: '):
    loop.train(exp, folder)


def test_foreign_folders_are_refused_and_left_alone(tmp_path):
  exp = small()
  foreign = tmp_path / 'foreign'
  foreign.mkdir()
  (foreign / 'thesis.tex').write_text('precious')
  with pytest.raises(ValueError, match='foreign: is there and is not a run'):
    resume.claim(exp, foreign)
  assert [p.name for p in foreign.iterdir()] == ['thesis.tex']

  resume.claim(exp, tmp_path / 'run')
  before = (tmp_path / 'run/config.json').read_text()
  other = small(learning_rate=0.5)
  with pytest.raises(ValueError, match=r'config.train.learning_rate=0.5: the'):
    resume.claim(other, tmp_path / 'run')
  assert (tmp_path / 'run/config.json').read_text() == before

  with pytest.raises(ValueError, match='has no checkpoint yet'):
    resume.restore(exp, tmp_path / 'run')
  with pytest.raises(ValueError, match='workdir'):
    resume.claim(exp, foreign / 'thesis.tex')
