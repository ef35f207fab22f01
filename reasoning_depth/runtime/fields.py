"""Every field of a config: its type, its range, and which configs have it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

_INT32 = 2**31 - 1
_FLOAT32 = 3.4028234e38
# Cells, states and elements: a sequence is laid out on the host as well.
_LONG = 4096
_PAIRS = 2**20
_TOKENS = 2**30  # of a long text


@dataclasses.dataclass(frozen=True)
class Field:
  """What values a field may have.

  Attributes:
    kind: its type; all numbers of a tuple are whole.
    least: smallest number, of a tuple's too.
    most: largest number.
    above: whether `least` itself is not allowed.
    below: whether `most` itself is not allowed.
    choices: allowed words; none where the model or the task knows them.
  """

  kind: type
  least: float = 0
  most: float = 0
  above: bool = False
  below: bool = False
  choices: tuple[str, ...] = ()

  def has_type(self, value: Any) -> bool:
    """Whether a value is of the field's type."""
    if self.kind is tuple and isinstance(value, tuple):
      return all(type(v) is int for v in value)
    return type(value) is self.kind or (
      self.kind is float and type(value) is int
    )

  def complaint(self, value: Any) -> str:
    """What a value has to be and is not, or nothing."""
    if not self.has_type(value):
      return f'must be {DESCRIPTIONS[self.kind]}'
    if self.choices and value not in self.choices:
      return f'allowed are {", ".join(self.choices)}'
    if self.kind in (bool, str):
      return ''
    # NaN is in no range.
    for number in value if self.kind is tuple else (value,):
      if not (number > self.least if self.above else number >= self.least):
        return f'must be {"above" if self.above else "at least"} {self.least}'
      if not (number < self.most if self.below else number <= self.most):
        return f'must be {"below" if self.below else "at most"} {self.most}'
    return ''


DESCRIPTIONS = {
  bool: 'True or False',
  int: 'a whole number',
  float: 'a number',
  str: 'a word',
  tuple: 'whole numbers in parentheses',
}


def _whole(least: int, most: int = _INT32) -> Field:
  return Field(int, least, most)


def _wholes(least: int, most: int) -> Field:
  return Field(tuple, least, most)


def _number(least: float = 0, most: float = _FLOAT32, **ends: bool) -> Field:
  return Field(float, least, most, **ends)


def _word(*choices: str) -> Field:
  return Field(str, choices=choices)


_TRUTH = Field(bool)


def _group(prefix: str, **fields: Field) -> dict[str, Field]:
  return {f'{prefix}.{name}': field for name, field in fields.items()}


EVERY = {
  'seed': _whole(0),
  'task.name': _word(),
  **_group(
    'model',
    name=_word(),
    num_layers=_whole(1),
    width=_whole(1),
    num_heads=_whole(1),
    mlp_width=_whole(1),
    positions=_word(),
    rotary_fraction=_number(0, 1),
    num_kv_heads=_whole(0),
    bias=_TRUTH,
    parallel_residual=_TRUTH,
    norm=_word(),
    norm_epsilon=_number(0, 1, above=True),
    norm_place=_word(),
    mlp=_word(),
    mixer=_word(),
    zero_out=_TRUTH,
    tied=_TRUTH,
    dtype=_word(),
    remat=_word(),
    attention=_word(),
    unroll=_whole(0),
  ),
  **_group(
    'train',
    num_steps=_whole(1),
    batch_size=_whole(1),
    method=_word('supervised', 'grpo'),
    init_from=_word(),
    loss=_word('softmax', 'stablemax'),
    depth_loss=_word('last', 'every', 'look_ahead'),
    gradient_accumulation=_whole(1),
    steps_per_dispatch=_whole(1),
    learning_rate=_number(0, above=True),
    schedule=_word('constant', 'linear', 'cosine'),
    warmup_steps=_whole(0),
    decay_steps=_whole(0),
    b1=_number(0, 1, below=True),
    b2=_number(0, 1, below=True),
    weight_decay=_number(0),
    clip=_number(0),
    clip_by=_word('norm', 'value'),
    max_skips=_whole(0),
    ema=_number(0, 1, below=True),
  ),
  **_group(
    'train.curriculum',
    field=_word(),
    stages=_wholes(0, _TOKENS),
    batch_multipliers=_wholes(1, _TOKENS),
    threshold=_number(0, 1),
    most_steps=_whole(0),
    reset_optimizer=_TRUTH,
  ),
  **_group(
    'eval',
    every=_whole(1),
    validation_samples=_whole(1),
    test_samples=_whole(1),
    batch_size=_whole(1),
    rows=_whole(0),
    rollout=_whole(0),
    ceiling=_TRUTH,
  ),
  **_group('analyze', samples=_whole(2), hooks=_word(), tuned_steps=_whole(0)),
  **_group(
    'checkpoint',
    every=_whole(1),
    keep=_whole(1),
    keep_best=_whole(0),
    metric=_word('exact_match', 'bit_accuracy', 'loss'),
    keep_every=_whole(0),
    grace=_number(1),
  ),
  **_group(
    'mesh',
    data=_whole(0),
    model=_whole(1),
    parameters=_word('replicated', 'fsdp'),
  ),
}
SEGMENTS = _group(
  'model.memory',
  num_tokens=_whole(1),
  segment_states=_whole(1),
  repeat_states=_whole(0),
  truncate=_whole(0),
  unroll=_whole(0),
)
GRAPH = _group(
  'task',
  num_entities=_whole(1, _LONG),
  num_relations=_whole(1, _LONG),
  held_out=_whole(1),
  seed=_whole(0),
)
# What a config has beside, by the value of a field.
CHOSEN = {
  ('task.name', 'orbits'): _group(
    'task',
    width=_whole(1, _LONG),
    radius=_whole(1, 3),
    num_states=_whole(1, _LONG),
    look_ahead=_wholes(-_INT32, _INT32),  # the task knows its limits
    variant=_word(),
    layout=_word(),
    split_by=_word(),
  ),
  ('task.name', 'groups'): _group(
    'task', group=_word(), word_length=_whole(1, _LONG)
  ),
  ('task.name', 'composition'): GRAPH
  | _group(
    'task',
    out_degree=_whole(1, _LONG),
    ood_degree=_whole(1, _LONG),
    ratio=_number(0, above=True),
  ),
  ('task.name', 'extrapolation'): GRAPH
  | _group('task', hops=_whole(1, _LONG), train_queries=_whole(1)),
  ('task.name', 'association'): _group(
    'task',
    variant=_word(),
    num_pairs=_whole(1, _PAIRS),
    train_queries=_whole(1, _PAIRS),
    key_length=_whole(1, _LONG),
    value_length=_whole(1, _LONG),
    symbols=_whole(2, _LONG),
  ),
  ('task.name', 'babilong'): _group(
    'task',
    question=_word(),
    length=_whole(1, _TOKENS),
    background=_word(),
    tokenizer=_word(),
  ),
  ('model.name', 'mamba'): _group('model', state_size=_whole(1)),
  ('model.name', 'rmt'): SEGMENTS,
  ('model.name', 'armt'): SEGMENTS
  | _group(
    'model.memory',
    key_width=_whole(1),
    nu=_whole(1),
    num_heads=_whole(1),
    features=_word(),
    correction=_TRUTH,
    use_denominator=_TRUTH,
    gating=_TRUTH,
  ),
  ('model.name', 'looped'): _group(
    'model.recurrence',
    prelude=_whole(0),
    coda=_whole(0),
    inject=_word(),
    initial=_word(),
    carry=_word(),
    answer=_word(),
    draw=_word(),
    mean_loops=_whole(1),
    min_loops=_whole(1),
    max_loops=_whole(1),
    spread=_number(0),
    truncate=_whole(0),
    read_every=_TRUTH,
  ),
  ('model.name', 'trm'): _group(
    'model.recursion',
    inner_steps=_whole(1),
    cycles=_whole(1),
    supervision=_whole(1),
    exploration=_number(0, 1),
    halt_weight=_number(0),
  ),
  ('train.method', 'grpo'): _group(
    'train.grpo',
    generations=_whole(2),
    thinking=_whole(0),
    temperature=_number(0, above=True),
    clip_ratio=_number(0, above=True),
    kl=_number(0),
    reward=_word(),
    format_reward=_number(0),
    updates=_whole(1),
  ),
}
# Groups that a config has whole or not at all.
HALTING = _group(
  'model.halting',
  kind=_word(),
  rule=_word(),
  max_steps=_whole(1),
  threshold=_number(0, 1, above=True),
  bias=_number(-20, 20),
  cost=_number(0),
  cost_over=_word(),
  prior=_number(0, 1, above=True),
)
ROTARY = _group(
  'model.rotary',
  base=_number(1, above=True),
  scaling=_word(),
  factor=_number(1),
  low=_number(0, above=True),
  high=_number(0, above=True),
  length=_whole(1),
)
WHOLE = {'config.model.halting': HALTING, 'config.model.rotary': ROTARY}
FIELDS = {
  name: field
  for more in (EVERY, *WHOLE.values(), *CHOSEN.values())
  for name, field in more.items()
}


def needed(values: Mapping[str, Any]) -> dict[str, str]:
  """Fields that a config with these values has to have, and why."""
  found = dict.fromkeys(EVERY, 'every config')
  for (name, value), more in CHOSEN.items():
    if values.get(name) == value:
      found |= dict.fromkeys(more, f'config.{name}={value}')
  for group, more in WHOLE.items():
    if values.keys() & more.keys():
      found |= dict.fromkeys(more, group)
  return found
