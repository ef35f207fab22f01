"""What makes a loop carry on.

Recall on a lattice smaller than the paper's: radius 2, 12 cells, 8 observed
states. Rows are named by

- what goes from step to step: the answer (straight through), soft answers
  (their probabilities), the latent, or answer and latent (both);
- corrupt: in training half of the samples get a tenth of the carried cells
  replaced. A latent that goes on by itself has no answer to corrupt, so there
  is no such row;
- which states have a loss: the asked one alone, always four steps ahead (fixed)
  or one to four, drawn for each sample (drawn); or all four states (every).
  What is drawn is the state that is asked, so with every state it has no
  meaning.

All are asked for single states up to 64 steps ahead. A model of `every` has
four rows of answers in training, but its step k is for the state at k like
that of the others: in the question for one state it goes on past the fourth,
with the same parameters. Its row of the table is that evaluation.
"""

import itertools

from launch.grids import base

ASKED = (1, 2, 3, 4, 8, 16, 32, 64)
LATTICE = {'task.radius': 2, 'task.width': 12, 'task.num_states': 8}
CARRIES = {
  'answer': {'carry': 'answer', 'answer': 'straight_through'},
  'soft': {'carry': 'answer', 'answer': 'soft'},
  'latent': {'carry': 'latent'},
  'both': {'carry': 'both', 'answer': 'straight_through'},
}
CORRUPTIONS = {
  '': {},
  'corrupt': {'corrupt_samples': 0.5, 'corrupt_cells': 0.1},
}
LOSSES = ('fixed', 'drawn', 'every')


def _row(carry: str, corruption: str, loss: str) -> base.Row:
  recurrence = CARRIES[carry] | CORRUPTIONS[corruption]
  fields = LATTICE | {
    f'model.recurrence.{name}': value for name, value in recurrence.items()
  }
  asked = {'eval.look_ahead': ASKED}
  if loss == 'every':
    fields |= {'train.depth_loss': 'last', 'eval.look_ahead': ()}
    one = {'task.variant': 'by_depth', 'train.depth_loss': 'look_ahead'}
    return base.Row(
      'recall', 'task=o_o', 'one', base.flags(fields),
      evaluations={'': base.flags(one | asked)},
    )  # fmt: skip
  if loss == 'fixed':
    fields['task.look_ahead'] = (4,)
  return base.Row('recall', 'task=by_depth', 'one', base.flags(fields | asked))


ROWS = {
  '+'.join(filter(None, names)): _row(*names)
  for names in itertools.product(CARRIES, CORRUPTIONS, LOSSES)
  if names[:2] != ('latent', 'corrupt')
}
GRID = base.Grid(
  'what recall carries from step to step, how it is corrupted and supervised',
  ROWS,
  table=base.look_aheads,
)
