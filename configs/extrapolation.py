"""More hops than in training, with a looped model (2604.07822, section 4).

  python main.py --config=configs/extrapolation.py:gpu

200 entities, 10 relations, each a permutation; 15,000 training queries per
number of hops. Training starts with facts and two hops, and adds a hop when
95 % of the held-out queries with the most hops are answered; the optimiser is
then reset. The final evaluation has up to 40 hops, trained or not.

  python main.py --mode=evaluate --workdir=runs/extrapolation-gpu \\
    --config.model.recurrence.mean_loops=8

evaluates it with eight loops. In the paper, training with a random number of
loops learns 22 hops. Sizes, batch size, learning rate and tied embeddings are
the paper's; it does not state the number of updates. Not measured.

  python main.py --config=configs/extrapolation.py:cpu
  python main.py --mode=evaluate --workdir=runs/extrapolation-cpu \\
    --config.task.hops=40

40 entities, 14 relations, 5,000 queries per number of hops, two to four; one
block looped as often as there are tokens, each of which sees itself and the one
before. Seeds 0, 1 and 2, after 11 min 17 s of training on two CPU cores and 15
min 4 s and 14 min 21 s on one, all beside other work: at 12 hops 1.000, 0.995,
1.000 (180 to 217 queries), at 40 1.000, 0.991, 1.000 (193 to 213), of 8,000
with 2 to 40 hops 0.999, 0.997, 0.998 (results/cpu/extrapolation_cpu.json).
"""

import ml_collections

from configs import common, composition


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  refused = ('small', 'task', 'layout', 'k', 'act', 'curriculum')
  common.refuse(arg, 'extrapolation', *refused)
  c = composition.base('none')
  c.model.zero_out = True
  c = common.build(arg, c, cpu, smoke)
  if common.at_full_size(arg):
    composition.full(c)
    c.train.num_steps = 500_000
    c.train.batch_size = 128
    c.eval.every = c.checkpoint.every = 1_000
    c.eval.validation_samples = 10_240
    c.eval.test_samples = 20_480
  c.task = common.task('extrapolation')  # the paper's graph
  for word, sizes in SIZES.items():
    if word in common.parse_arg(arg):
      c.task.update(sizes)
  c.train.curriculum.field = 'hops'
  c.train.curriculum.stages = tuple(range(2, c.task.hops + 1))
  c.train.curriculum.reset_optimizer = 'cpu' not in common.parse_arg(arg)
  return c


SIZES = {
  'cpu': {
    'num_entities': 40, 'num_relations': 14, 'hops': 4,
    'train_queries': 5_000, 'held_out': 200,
  },
  'smoke': {
    'num_entities': 8, 'num_relations': 4, 'hops': 4, 'train_queries': 80,
    'held_out': 20,
  },
}  # fmt: skip


def cpu(c: ml_collections.ConfigDict) -> None:
  """One block that makes a hop, looped as often as there are tokens."""
  common.pair_block(c)
  c.model.zero_out = False
  c.model.recurrence.update(
    inject='concat', initial='zeros', carry='answer',
    answer='straight_through', draw='fixed', loops='length',
  )  # fmt: skip
  c.train.num_steps = 1_600
  c.train.batch_size = 512
  c.train.steps_per_dispatch = 20
  c.train.learning_rate = 2e-3
  c.eval.every = c.checkpoint.every = 200
  c.eval.validation_samples = 1_024


def smoke(c: ml_collections.ConfigDict) -> None:
  c.train.curriculum.most_steps = 20
