"""Group multiplication: prefix products of words over A5 (2508.16745).

  python main.py --config=configs/groups.py --config.task.group=z60

How many layers does a transformer need? Width 512, 8 heads, words of 5 to 40
elements; vary `model.num_layers` and `task.word_length`. Not measured.

`:cpu` is a looped block that sees a token and the one 2^n before it at loop n.
Trained on words of two to four elements in 2 min 35 s on two CPU cores beside
other work, or 4 min on one; at 128, 512 and 4,096 elements 1.000 of the words
are right at every prefix; seeds 0, 1, 2 (results/cpu/groups_cpu.json), and the
same on S5, A4×Z5 and Z60 (results/cpu/groups_*_cpu.json).

`:cpu,transformer`, `:cpu,lstm` and `:cpu,mamba`, four layers trained likewise:
0.001, 0.004, 0.001 of the words of four, 0.000 of those of 128; seed 0, 2.9,
2.1 and 8.1 min on one core (results/cpu/groups_others_cpu.json). `:cpu,armt` is
not measured.
"""

import ml_collections

from configs import common

# Words for other models; with `cpu` they are trained like the looped block.
OTHERS = ('transformer', 'lstm', 'mamba', 'armt')


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  model, arg = common.split(arg, OTHERS)
  common.refuse(arg, 'groups', 'task', 'layout', 'k', 'small')
  on_cpu = 'cpu' in common.parse_arg(arg)
  c = common.base(model or ('looped' if on_cpu else 'transformer'))
  c.model.width = 512
  common.put(c.model, num_heads=8, mlp_width=2048)
  if model == 'armt':  # an element a segment
    c.model.memory.update(segment_states=1, repeat_states=0, num_tokens=4)
  c = common.build(arg, c, four_layers if model else one_block, smoke)
  c.task = common.task('groups')  # words of twenty elements of A5
  if on_cpu:
    c.task.word_length = 4
  if 'smoke' in common.parse_arg(arg):
    c.task.word_length = 5
  return c


def one_block(c: ml_collections.ConfigDict) -> None:
  """`:cpu`: a block that multiplies two elements, as in a parallel scan."""
  training(c)
  common.pair_block(c)
  c.model.recurrence.update(
    carry='answer', answer='straight_through', inject='none',
    initial='embedding', loops='log_length', window='doubling',
  )  # fmt: skip
  c.train.learning_rate = 3e-3


def four_layers(c: ml_collections.ConfigDict) -> None:
  """`:cpu` of the other models."""
  training(c)
  c.model.width = 128
  common.put(c.model, mlp_width=512)
  c.train.curriculum.most_steps = 400


def training(c: ml_collections.ConfigDict) -> None:
  """What all models have with `cpu`: words of two, three and four elements."""
  c.train.num_steps = 1_200
  c.eval.every = c.checkpoint.every = 100
  c.train.curriculum.update(field='word_length', stages=(2, 3, 4))
  c.train.batch_size = 384
  c.train.steps_per_dispatch = 20


def smoke(c: ml_collections.ConfigDict) -> None:
  c.train.batch_size = 16
