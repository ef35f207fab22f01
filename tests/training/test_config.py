"""Every field of every config: its name, its type and its range."""

import math
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_depth import settings
from reasoning_depth.runtime import configuration
from reasoning_depth.training import config as whole
from reasoning_depth.training import curriculum, experiment

CONFIGS = sorted(
  p.stem
  for p in pathlib.Path('configs').glob('*.py')
  if p.stem not in ('__init__', 'common')
)


def load(name):
  c = configuration.load(f'configs/{name}.py')
  c.mesh.data = 1
  return c


def own_fields():
  """By config, the fields declared there and in none before it."""
  seen, own = set(), {}
  for name in CONFIGS:
    fields = whole.declared(settings.flatten(load(name))).items()
    if new := sorted(field for field, _ in fields - seen):
      own[name] = new
    seen |= fields
  return own


OWN = own_fields()


def mutations(name):
  """Every letter dropped, doubled, and swapped with the one before it."""
  for i, letter in enumerate(name):
    yield name[:i] + name[i + 1 :]
    yield name[:i] + letter + name[i:]
    if i:
      yield name[: i - 1] + letter + name[i - 1] + name[i + 1 :]


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_has_the_fields_that_are_declared(name):
  flat = settings.flatten(load(name))
  declared = whole.declared(flat)
  assert declared.keys() == flat.keys()
  for name, field in declared.items():
    assert not field.complaint(flat[name]), name
    assert type(flat[name]) is field.kind, name
    assert field.meaning and '\n' not in field.meaning


@pytest.mark.parametrize('name', CONFIGS)
def test_misspelt_fields_are_refused_with_the_right_one(name):
  config = load(name)
  known = settings.flatten(config)
  right = total = 0
  for field in known:
    for misspelt in set(mutations(field)) - known.keys():
      with pytest.raises(ValueError) as error:
        configuration.override(config, misspelt, '1')
      total += 1
      right += str(error.value).endswith(f'did you mean {field!r}?')
  assert total > 2000 and right >= 0.95 * total


def test_a_field_without_its_group_is_found():
  known = settings.flatten(load('armt'))
  for field in ('train.num_steps', 'model.memory.key_width', 'eval.ceiling'):
    assert repr(field) in settings.suggest(field.split('.')[-1], known)


def nonsense(value):
  """Values of a field's own type that no field can have."""
  if isinstance(value, bool):
    return ()
  if isinstance(value, int):
    return -(10**9), 2**31, 10**400
  if isinstance(value, float):
    return -1e9, math.nan, math.inf, -math.inf, 1e39
  if isinstance(value, tuple):
    return (-(10**9),), (10**400,)
  return 'xyzzy', 'train', 'a\nb\x00', 'z' * 10_000


@pytest.mark.parametrize('name', OWN)
def test_every_field_refuses_nonsense_before_anything_compiles(name):
  known = settings.flatten(load(name))
  # A path, looked at when the run starts; a project may have any name.
  for field in set(OWN[name]) - {'train.init_from', 'log.wandb'}:
    for value in nonsense(known[field]):
      config = load(name)
      config.update_from_flattened_dict({field: value})
      with pytest.raises(ValueError) as error:
        curriculum.check(experiment.build(config).config)
      message = str(error.value)
      assert message.startswith(f'config.{field}='), (value, message)
      assert '\n' not in message


@pytest.mark.parametrize('name', OWN)
def test_every_field_refuses_other_types_and_to_be_missing(name):
  known = settings.flatten(load(name))
  declared = whole.declared(known)
  for field in OWN[name]:
    value, config = known[field], load(name).unlock()
    *groups, leaf = field.split('.')
    group = config
    for part in groups:
      group = group[part]
    del group[leaf]
    with pytest.raises(ValueError, match=f'config.{field}: is missing'):
      experiment.build(config)
    for other in (None, 'xyzzy', 2, 0.5, True, (1,), ('a',), (0.5,), (True,)):
      if type(other) is type(value) and other != ('a',):
        continue
      with config.ignore_type():
        group[leaf] = other
      if not declared[field].has_type(other):
        with pytest.raises(ValueError, match=f'config.{field}=.*: must be'):
          experiment.build(config)


@given(name=st.text(), text=st.text())
def test_any_text_is_an_override_or_one_line(name, text):
  config = load('armt')
  try:
    configuration.override(config, name, text)
  except ValueError as error:
    assert len(str(error).splitlines()) == 1


@given(data=st.data(), text=st.text())
def test_any_value_keeps_the_type_or_is_one_line(data, text):
  for config in map(load, ('armt', 'groups')):
    declared = whole.declared(settings.flatten(config))
    field = data.draw(st.sampled_from(sorted(declared)))
    try:
      configuration.override(config, field, text)
    except ValueError as error:
      assert len(str(error).splitlines()) == 1
    value = settings.flatten(config)[field]
    assert declared[field].has_type(value)
