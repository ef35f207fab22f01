"""A model under lm-eval answers as it does in evaluation."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reasoning_depth as rd
from reasoning_depth import errors, modes
from reasoning_depth.training import state
from tests import tiny

lm_eval = pytest.importorskip('lm_eval')
lm_model = pytest.importorskip('lm_eval.api.model')
lm_tasks = pytest.importorskip('lm_eval.tasks')
ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  """A tiny model of BABILong with random weights, as a file."""
  exp = tiny.experiment('babilong', 'smoke')
  tokens = jnp.zeros((1, exp.task.length), jnp.int32)
  params = jax.jit(exp.model.init)(jax.random.key(0), tokens)['params']
  path = tmp_path_factory.mktemp('weights') / 'a.safetensors'
  made = rd.Trained(exp.config, jax.device_get(params), {}, 0, {})
  made.save(path)
  return path


def request(*arguments):
  from lm_eval.api import instance

  return instance.Instance('generate_until', {}, arguments, 0)


def test_answers_are_those_of_the_evaluation(weights, tmp_path, monkeypatch):
  from reasoning_depth import lm_harness

  model = rd.load(weights)
  rows = next(iter(model.task.records(state.evaluation_key(0), 'test', 8)))
  rows = [
    dict(zip(rows, row, strict=True))
    for row in zip(*rows.values(), strict=True)
  ]
  (tmp_path / 'test.json').write_text(json.dumps(rows))
  data = str(tmp_path / 'test.json')
  scores = model.evaluate({'task.data': data, 'eval.test_samples': 8})
  harness = lm_harness.Model(weights, batch_size=3)
  said = harness.generate_until(
    [request(f'{r["input"]} {r["question"]}', {}) for r in rows]
  )
  right = np.mean([a == r['target'] for a, r in zip(said, rows, strict=True)])
  assert right == scores['test']['overall']['exact_match']
  # The same through the harness, by the YAML file that comes along.
  yaml = (ROOT / 'questions/babilong/babilong_plain.yaml').read_text()
  (tmp_path / 'babilong_plain.yaml').write_text(yaml)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HF_DATASETS_CACHE', str(tmp_path / 'cache'))
  found = lm_eval.simple_evaluate(
    harness, tasks=['babilong_plain'], bootstrap_iters=0,
    task_manager=lm_tasks.TaskManager(
      include_path=str(tmp_path), include_defaults=False
    ),
  )  # fmt: skip
  assert found['results']['babilong_plain']['exact_match,none'] == right


def test_likelihoods_are_those_of_the_answers(weights):
  from reasoning_depth import lm_harness

  harness = lm_harness.Model(weights)
  text = 'mary went to the office. where is mary?'
  places = ('office', 'garden', 'hallway')
  found = harness.loglikelihood([request(text, f' {p}') for p in places])
  assert sum(np.exp(value) for value, _ in found) < 1
  (said,) = harness.generate_until([request(text, {})])
  assert [greedy for _, greedy in found] == [p == said for p in places]
  ((best, greedy),) = harness.loglikelihood([request(text, said)])
  assert greedy and best >= max(value for value, _ in found)


class Repeats(lm_model.LM):
  """Says the last state that it was shown, after some words."""

  def generate_until(self, requests):
    return [
      'It stays ' + r.args[0].split('\n\n')[1].split('\n')[-1] for r in requests
    ]

  loglikelihood = loglikelihood_rolling = None


def test_orbits_asked_by_lm_eval_are_scored_here(tmp_path, monkeypatch):
  config = tiny.run_config(
    'transformer', 'smoke,k=1',
    dataset={'format': 'text', 'train': 0, 'validation': 0, 'test': 64},
    eval={'test_samples': 64},
  )  # fmt: skip
  modes.dataset(config, tmp_path / 'data', ())
  monkeypatch.chdir(tmp_path / 'data')
  found = lm_eval.simple_evaluate(
    Repeats(), tasks=['orbits'], bootstrap_iters=0,
    task_manager=lm_tasks.TaskManager(
      include_path=str(tmp_path / 'data'), include_defaults=False
    ),
  )  # fmt: skip
  path = tmp_path / 'samples_orbits.jsonl'
  rows = found['samples']['orbits']
  path.write_text(''.join(json.dumps(row, default=str) + '\n' for row in rows))
  modes.score(config, tmp_path, (), str(path))
  ours = json.loads(path.with_suffix('.score.json').read_text())['overall']
  assert ours['exact_match'] == ours['repeat_last_exact_match'] > 0
  theirs = found['results']['orbits']['exact_match,last']
  assert ours['exact_match'] == theirs


def test_what_it_cannot_be_asked(weights, tmp_path):
  from reasoning_depth import lm_harness

  with pytest.raises(errors.UsageError, match='its task is orbits'):
    lm_harness.Model('recall')
  harness = lm_harness.Model(weights)
  with pytest.raises(errors.UsageError, match=r'a prompt takes 9,\d+ tokens'):
    harness.generate_until([request('mary ' * 9_000, {})])
  with pytest.raises(errors.UsageError, match='trained on answers alone'):
    harness.loglikelihood_rolling([])
