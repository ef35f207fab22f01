"""Draws README's picture: an orbit with its answer, exact match by loops.

  python docs/images/first_picture.py

The orbit is drawn from the task itself, at the size of 2508.16745; the numbers
are those of results/cpu/extrapolation_scaling_seed{0,1,2}.json.
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
TRAINED = 4  # hops at most in training
HOPS, LOOPS = (2, 3, 4, 5, 6), 10
FILES = ROOT.glob('results/cpu/extrapolation_scaling_seed*.json')
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
  """Exact match by the number of loops: each seed, and the mean of them."""
  runs = [json.loads(path.read_text()) for path in sorted(FILES)]
  loops = np.array(runs[0]['depths'][:LOOPS])
  for hops, color in zip(HOPS, style.COLORS, strict=False):
    seeds = np.array(
      [
        group['exact_match'][:LOOPS]
        for run in runs
        for group in run['groups']
        if group['group'] == hops
      ]
    )
    name = 'trained' if hops <= TRAINED else 'not trained on'
    line = '-' if hops <= TRAINED else '--'
    axes.plot(
      loops, seeds.mean(0), color=color, marker='o', linestyle=line,
      label=f'{hops} hops, {name}',
    )  # fmt: skip
    axes.fill_between(loops, seeds.min(0), seeds.max(0), color=color, alpha=0.2)
  axes.set_xticks(loops)
  axes.set_xlabel('loops at inference')
  axes.set_ylabel('exact match')
  axes.set_title('Two looped layers: a loop makes a hop (three seeds)')


def main() -> None:
  """Draws both panels."""
  with matplotlib.rc_context(style.RC):
    figure = matplotlib.figure.Figure((10, 3.6), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    orbit(left)
    accuracy(right)
    right.legend(loc='center right', fontsize=8)
    figure.savefig(PATH, dpi=110)
  print(PATH)


if __name__ == '__main__':
  main()
