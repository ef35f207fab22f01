"""The project from Python: `import reasoning_depth as rd`."""

import doctest
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import reasoning_depth as rd
from reasoning_depth import api
from reasoning_depth.exchange import weights
from reasoning_depth.tasks import automata, possible
from tests import tiny

PACKAGE = pathlib.Path(rd.__file__).parent
# Modules with examples in docstrings; the tests run them all.
EXAMPLES = (api, automata, possible)


@pytest.mark.parametrize('module', EXAMPLES, ids=lambda m: m.__name__)
def test_the_examples_of_docstrings_run(module, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
  assert found.attempted and not found.failed


def test_no_example_is_left_out():
  having = {p for p in PACKAGE.rglob('*.py') if '>>> ' in p.read_text()}
  assert having == {pathlib.Path(module.__file__) for module in EXAMPLES}


def test_importing_the_package_loads_nothing():
  program = (
    'import sys, reasoning_depth as rd; print(sorted('
    '{"jax", "numpy", "flax", "matplotlib"} & sys.modules.keys()), dir(rd))'
  )
  told = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  ).stdout
  assert told.startswith('[]') and "'load'" in told


def test_names_are_those_that_are_told():
  assert {name: getattr(rd, name) for name in rd.__all__}
  with pytest.raises(AttributeError, match='lod'):
    rd.lod  # noqa: B018


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A trained run: its folder and what `train` returned."""
  folder = tmp_path_factory.mktemp('run')
  return folder, rd.train(tiny.run_config('transformer', 'smoke,k=1'), folder)


def test_a_run_is_loaded_as_it_was_trained(run):
  folder, trained = run
  loaded = rd.load(folder)
  assert repr(loaded) == repr(trained) and '4 updates' in repr(loaded)
  jax.tree.map(np.testing.assert_array_equal, loaded.params, trained.params)
  recorded = json.loads((folder / 'evaluations/test.json').read_text())
  assert loaded.scores == {'test': recorded}


def test_an_evaluation_finds_the_recorded_scores_again(run):
  folder, trained = run
  before = {p: p.read_bytes() for p in (folder / 'evaluations').iterdir()}
  found = trained.evaluate()
  assert found['test'].items() <= trained.scores['test'].items()
  fewer = trained.evaluate({'eval.test_samples': 4, 'task.look_ahead': [2]})
  assert fewer['test']['num_samples'] == 4
  assert [g['group'] for g in fewer['test']['groups']] == [2]
  assert before == {
    p: p.read_bytes() for p in (folder / 'evaluations').iterdir()
  }


def test_logits_are_the_models(run):
  _, trained = run
  batch = trained.task.sample(jax.random.key(0), 3, 'test')
  logits = trained.logits(batch.inputs)
  expected = trained.model.apply({'params': trained.params}, batch.inputs)
  np.testing.assert_allclose(logits, expected.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  'overrides,message',
  [
    ({'train.num_step': 1}, "did you mean 'train.num_steps'"),
    ({'train.num_steps': '1'}, 'must be a whole number'),
    ({'train.num_steps': True}, 'must be a whole number'),
    ({'task.look_ahead': [1, 'a']}, 'must be whole numbers in parentheses'),
    ({'model.width': None}, 'must be a whole number'),
  ],
)
def test_overrides_are_checked(overrides, message):
  with pytest.raises(rd.UsageError, match=message):
    rd.config('transformer:smoke', overrides)


def test_overrides_take_lists_and_whole_numbers():
  c = rd.config('armt', {'task.look_ahead': [1, 2], 'train.learning_rate': 1})
  assert c.task.look_ahead == (1, 2)
  assert c.train.learning_rate == 1 and type(c.train.learning_rate) is float


def test_what_is_no_run_is_refused(tmp_path):
  with pytest.raises(rd.UsageError, match='not a run folder'):
    rd.load(tmp_path)
  with pytest.raises(rd.UsageError, match='nowhere: no run folder, and not'):
    rd.load(tmp_path / 'nowhere')
  with pytest.raises(rd.UsageError, match="did you mean 'recall'"):
    rd.load('recal')
  with pytest.raises(rd.UsageError, match='no such file'):
    rd.load(tmp_path / 'x.safetensors')


def test_a_file_gives_back_the_run(run, tmp_path):
  _, trained = run
  path = tmp_path / 'x.safetensors'
  trained.save(path)
  loaded = rd.load(path)
  jax.tree.map(np.testing.assert_array_equal, loaded.params, trained.params)
  assert loaded.config.to_dict() == trained.config.to_dict()
  assert (loaded.scores, loaded.step) == (trained.scores, 4)
  assert loaded.environment == trained.environment
  assert 'jax' in loaded.environment['packages']
  assert 'command' not in loaded.environment


def test_damaged_metadata_is_told_in_one_line(run, tmp_path):
  _, trained = run
  path = tmp_path / 'x.safetensors'
  facts = {
    'config': trained.config.to_dict(), 'scores': {}, 'step': 1,
    'environment': {},
  }  # fmt: skip
  for change, message in (
    ({'config': 'x'}, 'holds no named values'),
    ({'config': {**facts['config'], 'sed': 1}}, "did you mean 'seed'"),
    ({'step': None}, 'step'),
    ({'scores': [1]}, 'scores'),
  ):
    weights.write(path, trained.params, {**facts, **change}, 'float32')
    with pytest.raises(rd.UsageError, match=message) as told:
      rd.load(path)
    assert '\n' not in str(told.value)
  weights.write(path, trained.params, {'config': facts['config']}, 'float32')
  with pytest.raises(rd.UsageError, match="metadata: 'scores' is missing"):
    rd.load(path)
  weights.write(path, {'a': np.ones(2)}, facts, 'float32')
  with pytest.raises(rd.UsageError, match='the parameters do not fit'):
    rd.load(path)


def test_a_config_of_an_earlier_version_gets_the_new_fields(run, tmp_path):
  _, trained = run
  facts = {'scores': {}, 'step': 1, 'environment': {}}
  facts['config'] = trained.config.to_dict()
  del facts['config']['task']['flip'], facts['config']['dataset']
  path = tmp_path / 'x.safetensors'
  weights.write(path, trained.params, facts, 'float32')
  config = rd.load(path).config
  assert config.task.flip == 0.0
  assert config.dataset == trained.config.dataset  # a whole group


def test_own_orbits_of_any_size_are_predicted(run):
  _, trained = run
  orbits = np.random.default_rng(0).integers(0, 2, (2, 4, 7))
  found = trained.predict(orbits, (1, 3))
  assert found.states.shape == found.determined.shape == (2, 2, 7)
  assert found.notes == ('4 states of 7 cells; trained on 3 of 5',)
  assert all('no rule of radius 1' in text for text in found.contradictions)
  alone = trained.predict(orbits[1], (1, 3))
  np.testing.assert_array_equal(alone.states[0], found.states[1])


@pytest.mark.parametrize(
  'orbits,message',
  [
    ([[0, 1, 1, 0, 2]], 'states: orbit 1, row 1, cell 5 is 2'),
    ([[0, 1]], '1 states of 2 cells: width=2: a lattice of radius 1'),
  ],
)
def test_other_orbits_are_refused(run, orbits, message):
  with pytest.raises(rd.UsageError, match=message):
    run[1].predict(orbits)


def test_a_model_with_places_of_its_own_takes_their_size_alone():
  exp = tiny.experiment(
    'transformer', 'smoke,k=1', model={'positions': 'learned'}
  )
  params = tiny.init(exp.model, exp.task.length)
  made = rd.Trained(exp.config, params, {}, 0, {})
  assert made.predict([[0, 1, 1, 0, 1]] * 3).states.shape == (1, 1, 5)
  with pytest.raises(rd.UsageError) as told:
    made.predict([[0, 1, 1, 0, 1, 1]] * 3)
  assert str(told.value).startswith(
    '3 states of 6 cells: the parameters do not fit: '
  )


def test_tasks_without_states_take_no_orbits():
  config = rd.config('association:smoke', {'mesh.data': 1})
  made = rd.Trained(config, {}, {}, 0, {})
  with pytest.raises(rd.UsageError, match='the task shows no states'):
    made.predict([[0, 1, 1]])


def test_parameters_of_another_model_are_refused(run):
  _, trained = run
  with pytest.raises(rd.UsageError, match='the parameters do not fit'):
    trained.evaluate({'model.width': 16})
