"""Draws README's picture: an orbit with its answer, exact match by look-ahead.

  python docs/images/first_picture.py

The orbit is drawn from the task itself, at the size of 2508.16745; the numbers
are those of results/cpu/recall_cpu.json.
"""

import json
import pathlib

import jax
import matplotlib
import matplotlib.colors
import matplotlib.figure
import numpy as np

from reasoning_depth.report import style
from reasoning_depth.tasks import automata

ROOT = pathlib.Path(__file__).parents[2]
PATH = ROOT / 'docs/images/first_picture.png'
WIDTH, RADIUS, OBSERVED, LOOK_AHEAD = 20, 2, 10, 4
SEED = 15
TRAINED = 4  # the largest look-ahead in training
FILE = ROOT / 'results/cpu/recall_cpu.json'
LINES = (
  ('determined_exact_match', 'where the orbit determines the answer',
   style.COLORS[1]),
  ('exact_match', 'all samples', style.COLORS[0]),
  ('ceiling_exact_match', 'ceiling: the best of any predictor', style.GREY),
)  # fmt: skip
# 0 and 1 of what is observed, what is neither shown nor asked, the answer.
CELLS = matplotlib.colors.ListedColormap(
  ['#f1f1f1', '#8d8d8d', '#ffffff', '#ffffff', '#d9e8f3', '#0b3c5d']
)


def orbit(axes) -> None:
  """States down the page; those between are left blank."""
  _, states = automata.sample_orbits(
    jax.random.key(SEED), 1, width=WIDTH, radius=RADIUS,
    steps=OBSERVED - 1 + LOOK_AHEAD, split='test', closed=False,
  )  # fmt: skip
  kind = np.zeros(OBSERVED + LOOK_AHEAD, int)
  kind[OBSERVED:] = 1
  kind[-1] = 2
  picture = np.asarray(states[0], int) + 2 * kind[:, None]
  axes.imshow(picture, cmap=CELLS, vmin=0, vmax=5, aspect='auto')
  axes.set_xticks(np.arange(-0.5, WIDTH), minor=True)
  axes.set_yticks(np.arange(-0.5, len(kind)), minor=True)
  axes.grid(False)
  axes.grid(which='minor', color='white', linewidth=1)
  axes.tick_params(which='both', length=0)
  axes.set_xticks([])
  axes.set_yticks(
    [0, OBSERVED - 1, len(kind) - 1], ['1', 'T', f'T+{LOOK_AHEAD}']
  )
  axes.spines[:].set_visible(False)
  middle = OBSERVED + (LOOK_AHEAD - 2) / 2
  axes.text(
    WIDTH / 2 - 0.5, middle, 'to be worked out: three states',
    ha='center', va='center', color=style.GREY,
  )  # fmt: skip
  axes.set_title('Ten states of a hidden rule, and the answer (blue)')


def accuracy(axes) -> None:
  """Exact match by look-ahead: each seed, and the mean of them."""
  seeds = [run['look_ahead']['groups'] for run in json.loads(FILE.read_text())]
  for name, label, color in LINES:
    values = [{group['group']: group[name] for group in run} for run in seeds]
    ks = sorted(set.intersection(*(set(run) for run in values)))
    every = np.array([[run[k] for k in ks] for run in values])
    dashed = '--' if name.startswith('ceiling') else '-'
    axes.plot(
      ks, every.mean(0), color=color, marker='o', linestyle=dashed, label=label
    )
    axes.fill_between(ks, every.min(0), every.max(0), color=color, alpha=0.2)
  axes.axvspan(1, TRAINED, color=style.GREY, alpha=0.12, linewidth=0)
  axes.text(2, 0.03, 'trained', ha='center', color=style.GREY)
  axes.set_xscale('log', base=2)
  axes.set_xticks(ks, map(str, ks))
  axes.minorticks_off()
  axes.set_ylim(0, 1.04)
  axes.set_xlabel('look-ahead k')
  axes.set_ylabel('exact match')
  axes.set_title(f'The recall model far beyond training ({len(seeds)} seeds)')


def main() -> None:
  """Draws both panels."""
  with matplotlib.rc_context(style.RC):
    figure = matplotlib.figure.Figure((10, 3.6), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    orbit(left)
    accuracy(right)
    right.legend(loc='center', fontsize=8)
    figure.savefig(PATH, dpi=110)
  print(PATH)


if __name__ == '__main__':
  main()
