"""What a run writes about its costs, against hand-made sums."""

import json
import shutil

import jax
import pytest

from reasoning_depth.models import decoding
from reasoning_depth.runtime import operations
from reasoning_depth.training import costs, loop, resume, step
from tests import tiny


def train(folder, name, words='smoke', **groups):
  exp = tiny.experiment(name, words, **groups)
  loop.train(exp, folder)
  return exp, json.loads((folder / 'evaluations/cost.json').read_text())


def test_costs_of_a_run_and_of_those_that_start_from_it(tmp_path):
  exp, first = train(tmp_path / 'a', 'transformer')
  current = resume.restore(exp, tmp_path / 'a')
  params = current.params
  assert first['parameters'] == sum(x.size for x in jax.tree.leaves(params))
  counted = costs.train_step(exp)
  assert first['train_step'] == {'operations': counted.most, 'bound': ''}
  lines = (tmp_path / 'a/metrics.jsonl').read_text().splitlines()
  assert first['training'] == {
    'operations': 4 * counted.most, 'bound': '', 'steps': 4, 'samples': 16,
    'minutes': json.loads(lines[-1])['seconds'] / 60,
  }  # fmt: skip
  # Forward and backward are nearly three times the forward pass alone.
  ratio = counted.most / (4 * first['answer']['operations'])
  assert 2.5 < ratio < 3.1
  assert first['answer']['scored_by'] == 'teacher forcing'
  assert first['depth_steps'] == 1

  assert first['start'] is None

  def after(before, name):
    """Costs of as long a run that starts from another one."""
    train = {'init_from': str(tmp_path / before)}
    folder = tmp_path / name
    shutil.copytree(tmp_path / 'a', folder, dirs_exist_ok=True)
    costs.write(tiny.experiment('transformer', train=train), current, folder)
    return json.loads((folder / 'evaluations/cost.json').read_text())

  second = after('a', 'b')
  assert second['start'] == first['training']
  assert second['training']['operations'] == 4 * counted.most
  assert second['training']['bound'] == ''
  third = after('b', 'c')
  assert third['start']['operations'] == 8 * counted.most
  assert third['start']['samples'] == 32
  (tmp_path / 'b/evaluations/cost.json').unlink()
  found = after('b', 'c')
  assert found['start'] is None and found['training']['bound'] == 'at least'


def test_what_training_traced_is_counted(tmp_path, monkeypatch):
  make, traced = step.make_train_step, []

  def counting(*args):
    train_step = make(*args)
    return lambda *given: traced.append(1) or train_step(*given)

  monkeypatch.setattr(step, 'make_train_step', counting)
  train(tmp_path, 'transformer', mesh={'data': 2})
  assert len(traced) == 1


def test_stages_of_a_curriculum_are_added_up(tmp_path):
  """Of two stages of two updates each, the second with longer sequences."""
  stages = {
    'field': 'look_ahead', 'stages': (1, 2), 'batch_multipliers': (2, 1),
    'threshold': 1.0, 'most_steps': 2,
  }  # fmt: skip
  exp, found = train(
    tmp_path / 'run', 'transformer', 'smoke,task=o_o,k=1-2',
    train={'curriculum': stages},
  )  # fmt: skip
  each = []
  for k, batch_size in ((1, 8), (2, 4)):
    stage = tiny.experiment(
      'transformer', f'smoke,task=o_o,k=1-{k}', train={'batch_size': batch_size}
    )
    each.append(costs.train_step(stage).most)
  assert len(set(each)) == 2
  assert found['training']['operations'] == 2 * sum(each)
  assert found['training']['samples'] == 2 * (8 + 4)
  assert found['train_step']['operations'] == each[-1]
  assert exp.task.look_ahead == (1, 2)


def test_loops_that_were_not_drawn_are_not_paid(tmp_path):
  """Of at most 64 loops one is made: a 64th part of the core's operations."""
  drawn = {'recurrence': {'mean_loops': 1, 'min_loops': 1, 'max_loops': 64}}
  exp, found = train(tmp_path / 'run', 'looped', model=drawn)
  count = costs.train_step(exp)
  assert found['train_step'] == {'operations': count.most, 'bound': 'at most'}
  lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
  loops = [
    line['depth_executed']
    for line in map(json.loads, lines)
    if line['split'] == 'train'
  ]
  share = sum(loops) / len(loops) / 64
  assert 0 < share < 0.1
  expected = 4 * (count.least + share * (count.most - count.least))
  assert found['training']['operations'] == pytest.approx(expected)
  assert found['training']['bound'] == ''


def test_a_generated_answer_costs_the_prompt_and_every_token():
  exp = tiny.experiment('transformer', 'smoke,task=cot,k=1-2')
  params = resume.layout(exp)[0].params
  prompt = jax.ShapeDtypeStruct((1, exp.task.prompt_length), int)
  counted = operations.count(
    lambda params, prompt: decoding.generate(
      exp.model, params, prompt, exp.task.length + 1
    ),
    params, prompt,
  )  # fmt: skip
  assert costs.answer(exp) == counted


def test_halting_is_counted_at_its_maximum():
  plain, adaptive = (
    costs.answer(tiny.experiment('transformer', f'smoke{words}'))
    for words in ('', ',act=layer')
  )
  assert plain.bound == '' and adaptive.bound == 'at most'
  # One layer, four times; embedding and read-out once.
  assert 2 * plain.most < adaptive.most < 4 * plain.most
