import json
import shutil

import chex
import jax
import numpy as np
import pytest

from configs import trm as trm_config
from reasoning_depth.training import curriculum, experiment, loop, resume
from tests import tiny


def small(values=(1, 2, 3), **fields):
  stages = {'field': 'look_ahead', 'stages': values, **fields}
  return tiny.run_config(
    'transformer', 'smoke,task=cot,k=1-3',
    model={'positions': 'learned'},
    train={'num_steps': 8, 'steps_per_dispatch': 1, 'curriculum': stages},
    checkpoint={'keep': 9},
  )  # fmt: skip


def test_stages_are_the_task_with_another_value():
  exp = experiment.build(small())
  asked = [curriculum.at_stage(exp, i).task.look_ahead for i in range(3)]
  assert asked == [(1,), (1, 2), (1, 2, 3)]
  lengths = [curriculum.at_stage(exp, i).task.length for i in range(3)]
  assert np.diff(lengths).tolist() == [6, 6]
  assert curriculum.num_stages(exp.config) == 3


def test_a_stage_has_its_own_batch_where_asked():
  for multipliers, sizes in ((), [4, 4, 4]), ((6, 2, 1), [24, 8, 4]):
    exp = experiment.build(small(batch_multipliers=multipliers))
    stages = [curriculum.at_stage(exp, i) for i in range(3)]
    batches = [
      jax.eval_shape(experiment.sampler(s), jax.random.key(0)) for s in stages
    ]
    assert [b.inputs.shape[0] for b in batches] == sizes


def scored(*values):
  groups = [{'group': k, 'exact_match': v} for k, v in enumerate(values, 1)]
  return {'groups': groups}


def test_a_stage_ends_by_score_or_by_steps():
  exp = experiment.build(small(threshold=0.9, most_steps=6))
  assert curriculum.is_over(exp, 0, 2, scored(0.9))
  assert not curriculum.is_over(exp, 0, 2, scored(0.89))
  assert curriculum.is_over(exp, 1, 6, scored(0.0))
  # It is the newest look-ahead that counts.
  assert curriculum.is_over(exp, 1, 2, scored(0.5, 0.9))
  assert not curriculum.is_over(exp, 1, 2, scored(1.0, 0.89))
  assert not curriculum.is_over(exp, 2, 600, scored(1.0))  # nothing after it
  endless = experiment.build(small(threshold=0.9))
  assert not curriculum.is_over(endless, 0, 600, scored(0.0))


@pytest.mark.parametrize('reset', [False, True])
def test_weights_go_on_and_the_optimiser_as_asked(tmp_path, reset):
  c = small(values=(1, 3), most_steps=4, threshold=1.0, reset_optimizer=reset)
  c.train.curriculum.batch_multipliers = (2, 1)
  exp = experiment.build(c)
  folder = tmp_path / 'run'
  loop.train(exp, folder)
  final = jax.device_get(resume.restore(exp, folder))
  assert (int(final.stage), int(final.stage_start)) == (1, 4)
  lines = map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
  ratios = [
    line['examples_per_second'] / line['steps_per_second']
    for line in lines
    if line['split'] == 'train'
  ]
  np.testing.assert_allclose(ratios, [8] * 4 + [4] * 4)
  counts = [
    int(x)
    for path, x in jax.tree_util.tree_leaves_with_path(final.opt_state)
    if 'count' in jax.tree_util.keystr(path)
  ]
  assert set(counts) == {4 if reset else 8}
  if reset:
    return

  # Stopped right where the stages meet: the same run comes out.
  for step in (6, 8):
    shutil.rmtree(folder / 'checkpoints' / str(step))
  loop.train(exp, folder)
  chex.assert_trees_all_equal(
    jax.device_get(resume.restore(exp, folder)), final
  )


@pytest.mark.parametrize(
  'fields,message',
  [
    ({'field': 'look_ahed'}, "field='look_ahed'.*did you mean 'look_ahead'"),
    ({'field': 'layout'}, "field='layout'"),
    ({'stages': ()}, 'stages=()'),
    ({'stages': (1, 2)}, 'the last stage must be the task.*(1, 2, 3)'),
    ({'stages': (0, 3)}, r'config.task.look_ahead=\(0,.*: must be at least 1'),
    ({'batch_multipliers': (2, 1)}, r'batch_multipliers=\(2, 1\).*of 3 stages'),
  ],
)
def test_bad_fields_are_named(fields, message):
  c = small()
  c.train.curriculum.update(fields)
  with pytest.raises(ValueError, match=message):
    curriculum.check(c)


def test_samples_that_are_carried_keep_their_shape():
  c = trm_config.get_config('smoke,curriculum,k=1-2')
  c.train.curriculum.batch_multipliers = (2, 1)
  curriculum.check(c)
  c.model.recursion.supervision = 2
  with pytest.raises(ValueError, match="field='look_ahead'.*one batch size"):
    curriculum.check(c)
  c.train.curriculum.batch_multipliers = ()
  curriculum.check(c)
