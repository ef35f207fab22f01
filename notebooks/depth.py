# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](COLAB/notebooks/depth.ipynb)
#
# # How deep can it think?
#
# A hidden rule is inferred once and then applied again and again: one application is
# one step of reasoning. Two models that come with the package, trained on the paper's
# lattice (radius 2, 20 cells, 10 states shown), are asked for many more steps than
# they were trained on. Neither has seen a rule that it is asked about.

# %%
import os
import sys

if 'google.colab' in sys.modules:
  # %pip install -q git+REPOSITORY
  pass

SMOKE = 'SMOKE' in os.environ  # few samples, to test the notebook

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import reasoning_depth as rd
from reasoning_depth.scoring import horizon

recall = rd.load('recall')
transformer = rd.load('transformer')
recall, transformer

# %% [markdown]
# ## Accuracy against look-ahead
#
# `recall` was trained on 1 to 4 steps and takes a loop for each. The transformer was
# trained on one step; it has no loop, so it is fed its own answers: the window of
# shown states slides along. The dashed line is the ceiling, the best that any
# predictor can do where not every entry of the rule was seen.

# %%
ASKED = (1, 2, 4) if SMOKE else (1, 2, 3, 4, 8, 16, 32, 64)
few = {'eval.test_samples': 16, 'eval.batch_size': 16} if SMOKE else {}
ask = {'eval.look_ahead': ASKED, 'eval.test_samples': 1000} | few
found = {
  name: model.evaluate(ask)['look_ahead']['groups']
  for name, model in {'recall': recall, 'transformer': transformer}.items()
}

# %%
figure, axis = plt.subplots(figsize=(6, 3.5), layout='constrained')
for name, groups in found.items():
  low, high = np.transpose([g['exact_match_interval'] for g in groups])
  axis.plot(ASKED, [g['exact_match'] for g in groups], 'o-', label=name)
  axis.fill_between(ASKED, low, high, alpha=0.2)
ceiling = [g['ceiling_exact_match'] for g in found['recall']]
axis.plot(ASKED, ceiling, 'k--', label='ceiling')
axis.axvspan(1, 4, color='0.9', zorder=0, label='look-aheads in training')
axis.set(
  xscale='log', xticks=ASKED, xticklabels=ASKED, ylim=(0, 1),
  xlabel='steps ahead', ylabel='exact match (share of samples)',
)  # fmt: skip
axis.legend()
plt.show()

# %% [markdown]
# The **horizon** is the farthest look-ahead up to which exact match is, with
# confidence, at least 0.95 of the ceiling.

# %%
for name, groups in found.items():
  print(name, horizon.horizon(groups))

# %% [markdown]
# ## One loop is one step
#
# Nothing in training says what a loop should do: only the asked state has a loss. Read
# after n loops, and compared with the true state k steps ahead:

# %%
MOST = 4 if SMOKE else 8
task = recall.task
rules, states, observed = task.draw_further(
  jax.random.key(0), MOST, 32 if SMOKE else 256
)
later = np.asarray(states)[:, task.num_states :]  # [N, steps, cells]
said = recall.predict(observed, list(range(1, MOST + 1))).states
match = np.array(
  [
    [(said[:, n] == later[:, k]).all(-1).mean() for k in range(MOST)]
    for n in range(MOST)
  ]
)
figure, axis = plt.subplots(figsize=(4.5, 4), layout='constrained')
picture = axis.imshow(match, vmin=0, vmax=1, cmap='viridis', origin='lower')
ticks = range(MOST)
axis.set(
  xlabel='true state, steps ahead', ylabel='answer, after loops',
  xticks=ticks, yticks=ticks,
  xticklabels=range(1, MOST + 1), yticklabels=range(1, MOST + 1),
)  # fmt: skip
figure.colorbar(picture, label='exact match')
plt.show()

# %% [markdown]
# ## Another lattice
#
# Places are told by offset, so the same parameters run on a wider ring. What is wrong
# on a sample that the shown states determine is the model's own fault.

# %%
for width in (12,) if SMOKE else (12, 20, 40):
  asked = {'task.width': width, 'eval.test_samples': 256} | few
  groups = recall.evaluate(asked | {'eval.look_ahead': (1, 4, 16)})
  shares = [g['determined_exact_match'] for g in groups['look_ahead']['groups']]
  print(f'{width} cells: {np.round(shares, 3)} at 1, 4, 16 steps, determined')
