"""Settings of a recurrence in depth, and how the loops of a call run."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from reasoning_depth import settings

INJECTIONS = ('none', 'add', 'concat', 'gate')
INITIALS = ('zeros', 'noise', 'embedding')
CARRIES = ('latent', 'answer', 'both')
ANSWERS = ('soft', 'straight_through')
LOOPS = ('number', 'length', 'log_length')
WINDOWS = ('same', 'doubling')
DRAWS = ('fixed', 'poisson', 'log_normal')
RNG = 'depth'  # name of the rng for loops and noise


@dataclasses.dataclass(frozen=True)
class Recurrence(settings.Settings):
  """Settings of the recurrence."""

  prelude: int = settings.field(0, 'layers before the loops')
  coda: int = settings.field(0, 'layers after the loops, before the read-out')
  inject: str = settings.field(
    'add',
    'input injection at each loop: none, add, concat (a linear map of both) or '
    'gate (a mixture by a learned gate)',
    choices=INJECTIONS,
  )
  initial: str = settings.field(
    'zeros',
    'initial latent: zeros, noise (random in training, zeros at inference) '
    'or the embedding',
    choices=INITIALS,
  )
  carry: str = settings.field(
    'latent',
    'state between loops: latent, answer (the embedding of the answer read out '
    'after the loop), or both (their sum)',
    choices=CARRIES,
  )
  answer: str = settings.field(
    'soft',
    'answer that is embedded: probabilities (soft), or the most likely token '
    'with their gradient (straight_through)',
    choices=ANSWERS,
  )
  loops: str = settings.field(
    'number',
    'how many: a number (mean_loops, or drawn), as many as tokens (length), or '
    'their logarithm to base 2, rounded up (log_length)',
    choices=LOOPS,
  )
  window: str = settings.field(
    'same',
    'model.relative_window at loop n: the same, or of tokens 2**n apart '
    '(doubling), as in a parallel scan',
    choices=WINDOWS,
  )
  draw: str = settings.field(
    'fixed',
    'loops of a training batch: fixed at mean_loops, poisson, or log_normal '
    'Poisson',
    choices=DRAWS,
  )
  mean_loops: int = settings.field(
    4, 'mean of the draw; loops at inference', least=1
  )
  min_loops: int = settings.field(1, 'smallest draw', least=1)
  max_loops: int = settings.field(8, 'largest draw', least=1)
  spread: float = settings.field(
    0.5, 'log_normal: standard deviation of the logarithm'
  )
  truncate: int = settings.field(
    0, 'truncated backpropagation: the last loops with gradient; 0 for all'
  )
  read_every: bool = settings.field(False, 'logits (and loss) after each loop')

  def __post_init__(self):
    super().__post_init__()
    if not self.min_loops <= self.mean_loops <= self.max_loops:
      settings.complain(
        'mean_loops', self.mean_loops,
        f'must be from min_loops={self.min_loops} to '
        f'max_loops={self.max_loops}',
      )  # fmt: skip
    if self.inject == 'none' and self.initial != 'embedding':
      settings.complain(
        'inject', 'none', 'the input is seen only with initial=embedding'
      )
    if self.loops != 'number' and self.draw != 'fixed':
      settings.complain(
        'loops', self.loops, f'goes with draw=fixed, not {self.draw}'
      )
    if self.read_every and self.draw != 'fixed':
      settings.complain(
        'read_every', True, f'goes with draw=fixed, not {self.draw}'
      )


def draw_loops(config: Recurrence, key: jax.Array) -> jax.Array:
  """Number of loops of a batch, int32 scalar from min_loops to max_loops."""
  if config.draw == 'fixed':
    return jnp.int32(config.mean_loops)
  rate = jnp.float32(config.mean_loops)
  if config.draw == 'log_normal':
    # 2502.05171, section 3.3: the mean of the exponential is mean - 1.
    rate_key, key = jax.random.split(key)
    centre = jnp.log(max(config.mean_loops - 1, 1e-6)) - config.spread**2 / 2
    rate = jnp.exp(centre + config.spread * jax.random.normal(rate_key))
    loops = jax.random.poisson(key, rate) + 1
  else:
    loops = jax.random.poisson(key, rate)
  return jnp.clip(loops, config.min_loops, config.max_loops).astype(jnp.int32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def run_some(
  loop: Callable[..., jax.Array],
  params: Any,
  s: jax.Array,
  e: jax.Array,
  counts: jax.Array,
  loops: jax.Array,
) -> jax.Array:
  """Runs those loops whose number is below a drawn one.

  Their number is known only when it runs. The gradient of a conditional would
  keep all that either branch computes; this one keeps the latents alone and
  makes each loop again on its way back.

  Args:
    loop: pure function (params, s, e, n) to the next s.
    params: tree of arrays.
    s: latents.
    e: input of every loop.
    counts: int32 [N], numbers of the loops, ascending.
    loops: int32 scalar.

  Returns:
    the last latents.
  """
  return _run_some(loop, params, s, e, counts, loops)[0]


def _run_some(loop, params, s, e, counts, loops):
  def body(s, n):
    due = n < loops
    return jax.lax.cond(due, lambda: loop(params, s, e, n), lambda: s), s

  s, before = jax.lax.scan(body, s, counts)
  return s, (params, before, e, counts, loops)


def _run_back(loop, saved, ds):
  params, before, e, counts, loops = saved
  zeros = jax.tree.map(jnp.zeros_like, (params, e))

  def body(sums, at):
    n, s = at

    def back():
      (dparams, de), ds = sums
      _, pull = jax.vjp(lambda p, s, e: loop(p, s, e, n), params, s, e)
      more_params, ds, more = pull(ds)
      return jax.tree.map(jnp.add, (dparams, de), (more_params, more)), ds

    return jax.lax.cond(n < loops, back, lambda: sums), None

  ((dparams, de), ds), _ = jax.lax.scan(
    body, (zeros, ds), (counts, before), reverse=True
  )
  return dparams, ds, de, None, None


run_some.defvjp(_run_some, _run_back)


def fixed_loops(config: Recurrence, length: int) -> int:
  """Loops of a call that draws none, for sequences of `length` tokens."""
  if config.loops == 'number':
    return config.mean_loops
  if config.loops == 'length':
    return length
  return max(1, (length - 1).bit_length())


def answer_weights(logits: jax.Array, kind: str) -> jax.Array:
  """An answer as weights over the vocabulary, [..., V].

  Args:
    logits: [..., V].
    kind: 'soft' for probabilities; 'straight_through' for the most likely token
      with the gradient of the probabilities (1308.3432).
  """
  weights = jax.nn.softmax(logits)
  if kind == 'soft':
    return weights
  hard = jax.nn.one_hot(weights.argmax(-1), weights.shape[-1])
  return weights + jax.lax.stop_gradient(hard - weights)


@dataclasses.dataclass(frozen=True)
class Plan:
  """How the loops of one call run.

  Attributes:
    most: maximum number of loops.
    drawn: whether the number is drawn, up to `most`; else it is `most`.
    covered: loops with gradient, the last ones.
    early: whether the loops before those run in a while-loop, in constant
      memory; else all loops are in one scan.
    unroll: whether the scan may be unrolled.
  """

  most: int
  drawn: bool
  covered: int
  early: bool
  unroll: bool

  @property
  def scanned(self) -> int:
    """Loops in the scan."""
    return self.covered if self.early else self.most

  @property
  def cut(self) -> int:
    """Loop of the scan before which the gradient stops; -1 for none."""
    return self.scanned - self.covered if self.covered < self.most else -1


def make_plan(
  recurrence: Recurrence,
  length: int,
  depth: int | None,
  deterministic: bool,
  watched: bool,
) -> Plan:
  """Decides how the loops of a call run.

  Args:
    recurrence: settings of the recurrence.
    length: tokens of the sequence.
    depth: number of loops, or None for the settings'.
    deterministic: False in training.
    watched: whether hooks are recorded or patched; they need all loops in the
      scan.
  """
  r = recurrence
  drawn = depth is None and not deterministic and r.draw != 'fixed'
  most = r.max_loops if drawn else depth or fixed_loops(r, length)
  covered = min(r.truncate or most, most)
  early = covered < most and not r.read_every and not watched
  scanned = covered if early else most
  # Unrolling hooks, or many loops at inference, would compile slowly.
  unroll = not drawn and not watched and scanned <= r.max_loops
  return Plan(most, drawn, covered, early, unroll)
