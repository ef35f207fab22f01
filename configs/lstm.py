"""LSTM on orbits of random rules (2508.16745): 4 layers of 128.

  python main.py --config=configs/lstm.py

Learning rate and steps as in the paper. Not measured at this size.

  python main.py --config=configs/lstm.py:cpu,k=1-4 \\
    --config.train.num_steps=1000

In 5.2 min on one core of an AMD EPYC beside other work, seed 0, it learns
nothing: 0.021, 0.027, 0.021, 0.021 at k = 1 to 4, less than repeating the last
state (results/cpu/figure5/lstm-k1-4-seed0.json).
"""

import ml_collections

from configs import common


def get_config(arg: str = '') -> ml_collections.ConfigDict:
  c = common.build(arg, common.base('lstm'))
  if common.at_full_size(arg):
    c.train.num_steps = 30_000
    c.train.learning_rate = 1e-3
  return c
