# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](COLAB/notebooks/memory.ipynb)
#
# # A memory that passes from segment to segment
#
# ARMT (arXiv 2407.04841) reads a sequence in segments. Each layer has a memory, a
# matrix that is read and corrected in every segment, and nothing else passes from one
# to the next. So cost is linear in the length, and a stream of any length is read in
# constant memory. The model here comes with the package; it was trained on up to 50
# pairs.

# %%
import os
import sys

if 'google.colab' in sys.modules:
  # %pip install -q git+REPOSITORY
  pass

SMOKE = 'SMOKE' in os.environ  # short sequences, to test the notebook

# %%
import dataclasses
import time

import jax
import matplotlib.pyplot as plt
import numpy as np

import reasoning_depth as rd
from reasoning_depth.longcontext import diagonal, streaming

armt = rd.load('armt_rewrite')
armt

# %% [markdown]
# ## Rewrite
#
# A sequence of pairs, a key and its value, each from an alphabet of 16. A later value
# of a key replaces the earlier one. At the end a key is asked again. With more pairs
# each key is rewritten more often: what is old must be forgotten.

# %%
few = dataclasses.replace(armt.task, num_pairs=6)
batch = few.sample(jax.random.key(0), 1, 'test')
pairs = np.asarray(batch.inputs).reshape(-1, few.row_tokens)
for key, _, value, _ in pairs[:-1]:
  print(f'{key:2} → {value}')
print(f'{pairs[-1][0]:2} → ? ({pairs[-1][2]})')

# %% [markdown]
# ## Far beyond training

# %%
COUNTS = (10, 20) if SMOKE else (10, 50, 200, 500, 1000)
scores = []
few = {'eval.test_samples': 16, 'eval.batch_size': 16} if SMOKE else {}
for count in COUNTS:
  ask = {'task.num_pairs': count, 'eval.test_samples': 256} | few
  scores.append(armt.evaluate(ask)['test']['overall'])
  print(f'{count:5} pairs: {scores[-1]["exact_match"]:.3f}')

# %%
figure, axis = plt.subplots(figsize=(6, 3), layout='constrained')
low, high = np.transpose([s['exact_match_interval'] for s in scores])
axis.plot(COUNTS, [s['exact_match'] for s in scores], 'o-')
axis.fill_between(COUNTS, low, high, alpha=0.2)
axis.axvspan(COUNTS[0], 50, color='0.9', zorder=0)
axis.annotate('trained here', (COUNTS[0] * 1.1, 0.05))
axis.set(
  xscale='log', ylim=(0, 1.02), xlabel='pairs',
  ylabel='exact match (share of samples)',
)  # fmt: skip
plt.show()

# %% [markdown]
# ## A stream in constant memory
#
# The same model reads a long sequence piece by piece. Between the pieces there is the
# layers' memory and the tokens of a segment that is not complete, and nothing else.

# %%
long = dataclasses.replace(armt.task, num_pairs=100 if SMOKE else 10_000)
stream = long.sample(jax.random.key(1), 1, 'test')
tokens = np.asarray(stream.inputs)
state = streaming.start(armt.model, armt.params, batch_size=1)
pieces = np.array_split(tokens, 8, axis=1)
for piece in pieces:
  state, logits = streaming.feed(
    armt.model, armt.params, state, piece, together=10, logits='none'
  )
  size = sum(np.asarray(x).nbytes for x in jax.tree.leaves(state))
  print(f'{int(state.position):6} tokens read, {size:,} bytes kept')

# %% [markdown]
# ## Diagonals
#
# Cell (layer, segment) needs the layer below and the segment before. So all cells of
# a diagonal can run at once (arXiv 2506.05229). The answers are the same but for the
# order of floating-point sums; whether it is faster depends on the device: it fills
# an accelerator that one small segment leaves idle.

# %%
middle = dataclasses.replace(armt.task, num_pairs=10 if SMOKE else 200)
tokens = middle.sample(jax.random.key(2), 1, 'test').inputs
logits = {}
for name, model in {
  'one segment after another': armt.model,
  'diagonals': diagonal.scheduled(armt.model),
}.items():
  run = jax.jit(lambda t, model=model: model.apply({'params': armt.params}, t))
  logits[name] = run(tokens).logits  # compiles
  start = time.perf_counter()
  for _ in range(3):
    run(tokens).logits.block_until_ready()
  print(f'{name}: {(time.perf_counter() - start) / 3:.3f} s')
one, other = logits.values()
print('largest difference of the logits:', float(abs(one - other).max()))
