import json
import pathlib

import ml_collections
import pytest

from configs import armt, common, groups, transformer
from reasoning_depth import settings
from reasoning_depth.runtime import configuration
from reasoning_depth.tasks import babi
from reasoning_depth.training import config as whole
from reasoning_depth.training import curriculum, experiment

CONFIGS = sorted(
  p.stem
  for p in pathlib.Path('configs').glob('*.py')
  if p.stem not in ('__init__', 'common')
)
OF_ORBITS = set(CONFIGS) - {
  'association', 'babilong', 'composition', 'extrapolation', 'groups',
}  # fmt: skip


def fresh(words='smoke'):
  return armt.get_config(words).lock()


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.parametrize('words', ['', 'smoke', 'cpu', 'gpu', 'k=3', 'k=1-8'])
def test_every_config_builds_with_every_word(name, words):
  if name not in OF_ORBITS and 'k=' in words:
    with pytest.raises(ValueError, match='word k=…: not of'):
      configuration.load(f'configs/{name}.py:{words}')
    return
  c = configuration.load(f'configs/{name}.py:{words}')
  c.mesh.data = 1
  if (name, words) == ('grpo', 'k=1-8'):
    with pytest.raises(ValueError, match='grpo.*needs .*variant=o_s'):
      experiment.build(c)
    return
  assert experiment.build(c).task.length
  round_trip = ml_collections.ConfigDict(json.loads(c.to_json()))
  assert settings.flatten(round_trip).keys() == (settings.flatten(c).keys())


@pytest.mark.parametrize(
  'arg,message',
  [
    ('smke', "word 'smke'.*did you mean 'smoke'"),
    ('k=', "word 'k='"),
    ('k=two', 'k=two: allowed are k=2 or k=1-4'),
    ('smoke=1', "word 'smoke=1'"),
    ('layouts=masked', "did you mean 'layout'"),
  ],
)
def test_words_are_parsed_strictly(arg, message):
  with pytest.raises(ValueError, match=message):
    transformer.get_config(arg)


@pytest.mark.parametrize('model', groups.OTHERS)
def test_other_models_multiply_the_same_words_of_elements(model):
  c, theirs = groups.get_config('cpu'), groups.get_config(f'cpu,{model}')
  for one in (c, theirs):
    one.train.learning_rate = one.train.curriculum.most_steps = 1
    one.mesh.data = 1
  assert (c.task, c.train) == (theirs.task, theirs.train)
  assert experiment.build(theirs).config.model.name == model


@pytest.mark.parametrize('words', ['cpu,smoke', 'cpu,smoke,lstm'])
def test_smoke_shrinks_what_cpu_has_made(words):
  c = groups.get_config(words)
  assert (c.model.width, c.train.num_steps, c.train.batch_size) == (32, 40, 16)


def test_words_of_which_one_may_stand():
  with pytest.raises(ValueError, match='words lstm, armt: allowed is one of'):
    groups.get_config('cpu,lstm,armt')


def test_words_set_the_look_ahead():
  one, many = transformer.get_config('k=3'), transformer.get_config('k=2-4')
  assert (one.task.look_ahead, one.task.variant) == ((3,), 'o_s')
  assert many.task.look_ahead == (2, 3, 4)
  assert many.task.variant == 'multi_horizon'
  far = transformer.get_config('task=by_depth,k=2-64')
  assert (far.task.variant, far.task.look_ahead[-1]) == ('by_depth', 64)
  assert far.train.depth_loss == 'look_ahead'
  assert common.parse_arg('smoke,k=2') == {'smoke': '', 'k': '2'}


@pytest.mark.parametrize(
  'name,text,value',
  [
    ('train.num_steps', '100', 100),
    ('train.learning_rate', '1e-4', 1e-4),
    ('train.learning_rate', '1', 1.0),
    ('task.look_ahead', '(1,2)', (1, 2)),
    ('task.look_ahead', '3', (3,)),
    ('model.parallel_residual', 'false', False),
    ('model.dtype', 'bfloat16', 'bfloat16'),
  ],
)
def test_overrides_keep_the_type(name, text, value):
  c = fresh()
  configuration.override(c, name, text)
  changed = settings.flatten(c)[name]
  assert changed == value and type(changed) is type(value)


@pytest.mark.parametrize(
  'name,text,message',
  [
    ('train.num_step', '1', "no such field; did you mean 'train.num_steps'"),
    ('model.memory', '1', 'no such field'),
    ('train.num_steps', '1.5', 'whole number, such as 40'),
    ('train.num_steps', 'many', 'whole number'),
    ('train.num_steps', '', 'whole number'),
    ('train.learning_rate', 'fast', 'must be a number'),
    ('model.parallel_residual', '1', 'True or False'),
    ('task.look_ahead', '(1,"a")', 'parentheses'),
  ],
)
def test_bad_overrides_are_named(name, text, message):
  c = fresh()
  before = settings.flatten(c)
  with pytest.raises(ValueError, match=f'config.{name}.*{message}'):
    configuration.override(c, name, text)
  assert settings.flatten(c) == before


@pytest.mark.parametrize(
  'change,message',
  [
    ({'task.width': 4}, 'config.task.width=4.*at least 5'),
    (
      {'task.look_ahead': (0,)},
      'config.task.look_ahead=.0,.: must be at least 1',
    ),
    ({'task.radius': 5}, 'config.task.radius=5'),
    ({'task.num_states': 0}, 'config.task.num_states=0: must be at least 1'),
    ({'model.num_heads': 3}, 'config.model.width=32.*num_heads=3'),
    ({'model.dtype': 'float8'}, 'config.model.dtype=float8.*bfloat16'),
    ({'model.name': 'armd'}, 'config.model.name=armd.*armt'),
    ({'model.attention': 'flash'}, 'model.attention=flash.*cudnn'),
    ({'model.remat': 'all'}, 'model.remat=all.*full'),
    ({'model.positions': 'alibi'}, 'model.positions=alibi'),
    ({'model.memory.num_heads': 3}, 'memory.key_width=8.*num_heads=3'),
    ({'model.memory.features': 'x'}, 'memory.features=x'),
    (
      {'model.memory.segment_states': 4, 'model.memory.repeat_states': 0},
      'model.memory.segment_states=4.*do not divide a sequence of 7 states',
    ),
    ({'model.memory.repeat_states': 2}, 'repeat_states=2'),
    ({'train.schedule': 'linaer'}, "did you mean 'linear'"),
    ({'train.num_steps': 15}, 'num_steps=15.*multiple of.*dispatch=10'),
    (
      {'train.gradient_accumulation': 3},
      'batch_size=16.*multiple of.*gradient_accumulation=3',
    ),
    ({'train.ema': 1.5}, 'ema=1.5: must be below 1'),
    ({'eval.batch_size': 0}, 'eval.batch_size=0: must be at least 1'),
    ({'mesh.data': 64}, 'config.mesh.data=64.*there are 8 devices'),
    ({'mesh.data': 3}, 'batch_size=16: must be a multiple of the 3 devices'),
    ({'train.learning_rate': float('nan')}, 'learning_rate=nan: must be'),
    ({'train.learning_rate': 0.0}, 'learning_rate=0.0: must be above 0'),
    ({'train.b2': 1.0}, 'b2=1.0: must be below 1'),
    ({'train.warmup_steps': 41}, 'warmup_steps=41: must be at most .*steps=40'),
    (
      {'train.decay_steps': 10},
      'decay_steps=10: must be 0 or above .*steps=10',
    ),
    ({'task.look_ahead': (2, 2)}, r'look_ahead=\(2, 2\): must ascend, each'),
    ({'task.look_ahead': (2, 1)}, r'task.look_ahead=\(2, 1\): must ascend'),
    ({'task.look_ahead': ()}, r'config.task.look_ahead=\(\): at least one'),
    (
      {'task.look_ahead': (2_000_000,), 'task.variant': 'o_s'},
      r'config.task.look_ahead=\(2000000,\): the states of 256 held-out '
      'samples would take more than 2 GiB; look-aheads up to 1,048,570 fit',
    ),
    (
      {'task.variant': 'by_depth'},
      'config.train.depth_loss=last: must be look_ahead for this task',
    ),
    ({'model.attention': 'cudnn'}, 'attention=cudnn: needs dtype=bfloat16'),
    ({'task.group': 'a5'}, 'config.task.group: no such field'),
    ({'train.num_stpes': 3}, "num_stpes: no such .*mean 'train.num_steps'"),
  ],
)
def test_bad_values_are_named_before_anything_compiles(change, message):
  c = fresh('smoke')
  c.mesh.data = 1
  with c.unlocked():
    c.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=message):
    experiment.build(c)


def test_depth_steps_that_answer_must_be_read_out():
  c = configuration.load('configs/looped.py:smoke')
  c.mesh.data = 1
  c.train.depth_loss = 'look_ahead'
  with pytest.raises(
    ValueError, match='depth_loss=look_ahead.*read_every=True'
  ):
    experiment.build(c)
  c.model.recurrence.update(read_every=True, draw='fixed', mean_loops=3)
  with pytest.raises(ValueError, match='read out at 3 .*look_ahead=.*4'):
    experiment.build(c)
  c.model.recurrence.mean_loops = 4
  experiment.build(c)


@pytest.mark.parametrize(
  'name,change,message',
  [
    ('groups', {'model.positions': 'lattice'}, 'positions=lattice: needs rows'),
    (
      'association',
      {'model.positions': 'relative', 'model.relative_start': 'cone'},
      'relative_start=cone: needs a task that names the offsets',
    ),
    (
      'transformer',
      {
        'model.positions': 'relative',
        'model.relative_start': 'cone',
        'model.relative_reach': 2,
      },
      'relative_reach=2: must be at least 3',
    ),
    ('transformer', {'model.relative_window': 9}, 'must be at most'),
    ('recall', {'task.layout': 'causal'}, 'needs a task with a current state'),
    ('recall', {'model.positions': 'lattice'}, 'recall takes relative'),
    ('recall', {'model.norm_place': 'post'}, 'recall takes pre alone'),
    (
      'grpo',
      {'train.gradient_accumulation': 2},
      'gradient_accumulation=2: must be 1 with',
    ),
    (
      'trm',
      {'train.gradient_accumulation': 2, 'model.recursion.supervision': 2},
      'gradient_accumulation=2: must be 1 with',
    ),
  ],
)
def test_what_does_not_go_together_in_other_configs(name, change, message):
  c = configuration.load(f'configs/{name}.py:smoke')
  c.mesh.data = 1
  c.update_from_flattened_dict(change)
  with pytest.raises(ValueError, match=message):
    experiment.build(c)


@pytest.mark.parametrize(
  'words', ['', 'gpu,', 'smoke,', 'cpu,', '1b,', '8b,cpu,']
)
def test_every_question_of_long_text_can_be_asked(words):
  for question in babi.TASKS:
    c = configuration.load(f'configs/babilong.py:{words}task={question}')
    c.mesh.data = 1
    assert experiment.build(c).task.question == question
    curriculum.check(c)
  with pytest.raises(ValueError, match='word task=qa6: allowed are qa1, qa2'):
    configuration.load(f'configs/babilong.py:{words}task=qa6')


def test_a_schedule_that_is_constant_never_decays():
  c = fresh()
  c.mesh.data = 1
  c.train.update(schedule='constant', decay_steps=5)
  experiment.build(c)


@pytest.mark.parametrize(
  'path,message',
  [
    ('configs/amrt.py', "amrt.py: no such file; did you mean 'armt'"),
    ('configs/common.py', 'common.py: has no get_config'),
    ('README.md', 'README.md: not a Python file'),
  ],
)
def test_files_that_are_no_configs(path, message):
  with pytest.raises(ValueError, match=message):
    configuration.load(path)


def test_a_config_that_is_no_python_is_named_with_its_line(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text('def get_config(:\n')
  with pytest.raises(ValueError, match=r'mine.py: not a Python .*line 1'):
    configuration.load(str(path))


def test_whole_numbers_in_json_are_floats_where_the_field_is_one(tmp_path):
  text = fresh().to_json().replace('"clip": 1.0', '"clip": 1')
  (tmp_path / 'config.json').write_text(text)
  back = whole.read(tmp_path)
  assert type(back.train.clip) is float
  configuration.override(back, 'train.clip', '0.5')
  configuration.override(back, 'task.look_ahead', '(1, 2)')
  assert back.task.look_ahead == (1, 2) and back.is_locked


def test_reading_a_run_folder(tmp_path):
  c = fresh()
  (tmp_path / 'config.json').write_text(c.to_json())
  back = whole.read(tmp_path)
  configuration.same(c, back)
  assert back.task.look_ahead == c.task.look_ahead
  with back.unlocked():
    back.train.num_steps = 50
  with pytest.raises(ValueError, match=r'num_steps=40: the run .* with 50'):
    configuration.same(c, back)
  (tmp_path / 'config.json').write_text('{"seed":')
  with pytest.raises(ValueError, match='not a run folder'):
    whole.read(tmp_path)
  with pytest.raises(ValueError, match='not a run folder'):
    whole.read(tmp_path / 'nowhere')


def test_a_run_may_go_on_with_other_logging_or_be_of_before_there_was_any(
  tmp_path,
):
  c = fresh().unlock()
  older = c.copy_and_resolve_references()
  del older.log
  (tmp_path / 'config.json').write_text(older.to_json())
  back = whole.read(tmp_path)
  assert back.log.wandb == ''
  c.log.wandb = 'project'
  configuration.same(c, back, whole.FREE)
  with pytest.raises(ValueError, match=r'log\.wandb=project: the run folder'):
    configuration.same(c, back)
