# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](COLAB/notebooks/look_inside.ipynb)
#
# # Looking inside
#
# Where does a model find the neighbourhood of a cell? After which layer is the answer
# there? What carries it? Two models of the package, both trained on the paper's
# lattice: a transformer of four layers, and one that loops over its answer.

# %%
import os
import sys

if 'google.colab' in sys.modules:
  # %pip install -q git+REPOSITORY
  pass

SMOKE = 'SMOKE' in os.environ  # few samples, to test the notebook

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import reasoning_depth as rd
from reasoning_depth.analysis import activations, lens, patching
from reasoning_depth.models import relative

transformer, recall = rd.load('transformer'), rd.load('recall')
SAMPLES = 4 if SMOKE else 128

# %% [markdown]
# ## Where the heads look
#
# Each head has a learned score for each offset from a cell: rows up or down, columns
# to the left or right. At the start head n has a high score at one cell of the
# neighbourhood that the rule reads. This is what became of them in the first layer.

# %%
block = transformer.params['stack']['layers']['block']
tables = relative.GAIN * np.asarray(block['relative'][0])  # of the first layer
heads, rows, columns = tables.shape
figure, axes = plt.subplots(2, 4, figsize=(9, 4.6), layout='constrained')
middle, shown = (rows - 1) // 2, 4
extent = (-shown - 0.5, shown + 0.5, shown + 0.5, -shown - 0.5)
limit = abs(tables).max()
for head, axis in enumerate(axes.flat):
  around = tables[head][
    middle - shown : middle + shown + 1, middle - shown : middle + shown + 1
  ]
  picture = axis.imshow(
    around, extent=extent, vmin=-limit, vmax=limit, cmap='RdBu_r'
  )
  axis.set(title=f'head {head + 1}')
figure.supxlabel('columns to the right')
figure.supylabel('rows below')
figure.colorbar(picture, ax=axes, label='score of the offset')
plt.show()

# %% [markdown]
# ## When the answer is there: the logit lens
#
# The hidden states after each layer go through the model's own read-out, as if it
# were the last one.

# %%
batch = transformer.task.sample(jax.random.key(0), SAMPLES, 'test')
read = jax.jit(
  lambda tokens: lens.logits(transformer.model, transformer.params, tokens)
)
logits = read(batch.inputs)[0]  # [layers, B, L, V]
right = logits.argmax(-1) == batch.targets
asked = batch.weights > 0
cells = jnp.sum(right & asked, (1, 2)) / asked.sum()
whole = jnp.mean(jnp.all(right | ~asked, -1), -1)
for layer, (cell, state) in enumerate(zip(cells, whole, strict=True), 1):
  print(f'layer {layer}: {cell:.3f} of the cells, {state:.3f} of the states')

# %% [markdown]
# The same for `recall`, loop by loop, for a question four steps ahead: after loop n it
# should say the n-th state, though only the fourth one was ever asked for.

# %%
task = recall.task
rules, states, observed = task.draw_further(jax.random.key(1), 6, SAMPLES)
later = np.asarray(states)[:, task.num_states :]
said = recall.predict(observed, [1, 2, 3, 4, 5, 6]).states
print('loop    ' + '  '.join(f'{k:5}' for k in range(1, 7)))
match = (said == later[:, :6]).all(-1).mean(0)
print('matches ' + '  '.join(f'{m:.3f}' for m in match))

# %% [markdown]
# ## What carries it: activation patching
#
# Two samples that differ in one thing have different answers. The model reads the
# second, with one activation taken from the first. Where that alone brings the first
# answer back (1), the activation carries it; where it changes nothing (0), it does
# not. Rows are the states of the orbit, the last one is the answer.

# %%
model, params, task = transformer.model, transformer.params, transformer.task
pairs = task.pairs(jax.random.key(2), SAMPLES)['sample']
hooks = activations.find(model, params, pairs.clean.inputs)
hooks = activations.choose(hooks, 'residual')
places = {n: patching.places_of(model, task, h) for n, h in hooks.items()}
found = patching.sweep(model, params, pairs, hooks, places)
recovered = found.recovered()['residual'][:, 0]  # [places, layers]

# %%
figure, axis = plt.subplots(figsize=(4.5, 4), layout='constrained')
picture = axis.imshow(recovered, vmin=0, vmax=1, cmap='viridis')
names = places['residual'].names
axis.set(
  xlabel='after layer', ylabel='patched place',
  xticks=range(recovered.shape[1]), yticks=range(len(names)),
  xticklabels=range(1, recovered.shape[1] + 1), yticklabels=names,
)  # fmt: skip
figure.colorbar(picture, label='share of the answer that comes back')
plt.show()

# %% [markdown]
# `--mode=analyze` does this for every hook of a model, writes JSON, and draws it.
