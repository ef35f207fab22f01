# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](COLAB/notebooks/first_look.ipynb)
#
# # A first look
#
# A one-dimensional automaton: a ring of 20 cells, each 0 or 1. What a cell is next
# depends on itself and two cells on either side, by a rule of 32 bits. There are
# 2^32 rules. A model sees ten states of an orbit and is asked for a later one: it
# must find out the rule, then apply it several times. No rule of a test was ever
# in training.
#
# This notebook makes such an orbit, trains a small model in a minute or two, and
# looks at what it answers.

# %%
import os
import sys

if 'google.colab' in sys.modules:
  # %pip install -q git+REPOSITORY
  pass

SMOKE = 'SMOKE' in os.environ  # tiny sizes, to test the notebook

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import reasoning_depth as rd
from reasoning_depth.tasks import automata

print('running on', jax.devices()[0].device_kind)

# %% [markdown]
# ## An orbit
#
# Rules of the three splits are told apart by a bijection of their number, so a rule
# drawn from `test` cannot have been trained on. Everything is a pure function of a
# key, and runs on the device.


# %%
def draw(key, steps, width=20, radius=2):
  """An orbit of a rule of the test split: [steps + 1, width]."""
  rule_key, state_key = jax.random.split(key)
  rule = automata.sample_rules(rule_key, 1, radius, 'test')
  first = jax.random.bernoulli(state_key, shape=(1, width)).astype('uint8')
  return np.asarray(automata.rollout(rule, first, steps, radius))[0]


fig, axes = plt.subplots(1, 4, figsize=(9, 4), layout='constrained')
for i, axis in enumerate(axes):
  axis.imshow(draw(jax.random.key(i), 40), cmap='Greys', interpolation='none')
  axis.set(title=f'rule {i + 1}', xlabel='cell')
axes[0].set_ylabel('time step')
plt.show()

# %% [markdown]
# ## A model, trained here
#
# `recall` encodes the ten states once, then loops over its answer: each loop goes one
# step ahead. It is trained on one to four steps, and is shown the asked state alone,
# never one on the way. Every update has 32 rules that it has not seen before.
#
# The same from a shell: `python main.py --config=configs/recall.py:cpu`.

# %%
fewer = {
  'train.num_steps': 500,
  'eval.every': 250,
  'checkpoint.every': 250,
  'eval.test_samples': 1000,
}
if SMOKE:
  tiny = {
    'train.num_steps': 10, 'eval.every': 10, 'checkpoint.every': 10,
    'eval.test_samples': 64,
  }  # fmt: skip
  config = rd.config('recall:smoke,task=by_depth', tiny)
else:
  config = rd.config('recall:cpu', fewer)
trained = rd.train(config, 'runs/first_look')
trained

# %% [markdown]
# ## How good is it?
#
# Ten states do not always show every entry of the rule. The ceiling is the best score
# that any predictor could have on these very samples; where the states leave one
# answer alone, the sample is determined, and the best predictor is always right.

# %%
print('steps ahead  exact match  ceiling  on determined samples')
for score in trained.scores['test']['groups']:
  print(
    f'{score["group"]:11}  {score["exact_match"]:11.3f}  '
    f'{score["ceiling_exact_match"]:7.3f}  {score["determined_exact_match"]:.3f}'
  )

# %% [markdown]
# ## An orbit and its answers
#
# Anything of 0 and 1 can be asked: here an orbit of our own, which was neither in
# training nor in a test. `predict` also says which cells the shown states leave open.

# %%
width, seen = config.task.width, config.task.num_states
ahead = [1, 2, 4, 8, 16]
orbit = draw(jax.random.key(7), seen - 1 + ahead[-1], width)
answer = trained.predict(orbit[:seen], ahead)
print(answer)

# %%
right = orbit[seen - 1 + np.array(ahead)]
fig, axes = plt.subplots(1, 3, figsize=(9, 3), layout='constrained')
for axis, states, title, rows in (
  (axes[0], orbit[:seen], 'shown', range(1, seen + 1)),
  (axes[1], right, 'what comes', ahead),
  (axes[2], answer.states[0], 'what the model says', ahead),
):
  axis.imshow(states, cmap='Greys', interpolation='none', vmin=0, vmax=1)
  axis.set(title=title, xlabel='cell', yticks=range(len(rows)))
  axis.set_yticklabels(rows)
axes[0].set_ylabel('state')
axes[1].set_ylabel('steps ahead')
plt.show()
print('cells right:', (answer.states[0] == right).mean(1).round(2))
print('determined: ', answer.determined[0].mean(1).round(2))

# %% [markdown]
# On to `depth.ipynb`: how far does it go on, and what does a model without loops do?
