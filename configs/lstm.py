"""LSTM on orbits of random rules (2508.16745): 4 layers of 128.

  python main.py --config=configs/lstm.py

Learning rate and steps as in the paper. Not measured.
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  c = common.build(arg, common.base('lstm'))
  if common.at_full_size(arg):
    c.train.num_steps = 30_000
    c.train.learning_rate = 1e-3
  return c
