"""Recall: encodes the observed states once and loops over the answer alone.

    e = encoder(observed states)         once
    x ← embedding(last observed state)
    h = core(x, e)                       at every step
    answer = read_out(h)                 the state after the step
    x ← embedding(answer), h, or both

The core is a transformer block among the cells of the current state, with
attention from these to the encoded states between its own attention and its
MLP. So a step costs a fraction of a pass over the sequence, and neither its
cost nor its memory grows with the number of steps. Reading the input again at
each step is the recall of 2202.05826; embedding the most likely answer again is
as in 2510.14095.

To find an observed neighbourhood that equals the current one, queries and keys
must treat both alike. So the core may start as a copy of the encoder, and the
keys of its attention to the encoded states as a copy of its queries.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.models import (
  base,
  hooks,
  layers,
  looping,
  recall_blocks,
  relative,
  transformer,
)

POSITIONS = ('relative', 'rotary', 'none')
# Fields of a transformer that have one value here.
FIXED = {
  'parallel_residual': False, 'norm_place': 'pre', 'mixer': 'attention',
  'attention': 'xla', 'zero_out': False,
}  # fmt: skip
COPIES = ('none', 'keys', 'all')


@dataclasses.dataclass(frozen=True)
class Recurrence(settings.Settings):
  """Settings of the recurrence."""

  core: int = settings.field(1, 'blocks of the core', least=1)
  loops_per_step: int = settings.field(
    1, 'loops of the core from one answer to the next', least=1
  )
  carry: str = settings.field(
    'answer',
    'what the next step starts from: the embedded answer, the latent, or both '
    '(their sum)',
    choices=looping.CARRIES,
  )
  answer: str = settings.field(
    'straight_through',
    'answer that is embedded: probabilities (soft), or the most likely token '
    'with their gradient (straight_through)',
    choices=looping.ANSWERS,
  )
  corrupt_samples: float = settings.field(
    0.0, 'share of training samples whose carried answers are corrupted', most=1
  )
  corrupt_cells: float = settings.field(
    0.5, 'share of their cells that get the value of another cell', most=1
  )
  copies: str = settings.field(
    'all',
    'what starts as a copy: none; keys (of the queries, in the attention to '
    'the encoded states); all (also the core, of the encoder)',
    choices=COPIES,
  )


@flax.struct.dataclass
class Current:
  """State between steps.

  Attributes:
    cells: [B, W, D], what the next step starts from.
    logits: float32 [B, K, W, V] of the rows of the answer.
  """

  cells: jax.Array
  logits: jax.Array


class Recall(base.Model):
  """Encoder, looped core, read-out; see the module docstring.

  Attributes:
    config: shape of the blocks; `num_layers` are those of the encoder.
    vocab_size: V.
    recurrence: settings of the recurrence.
    answer_rows: K, rows of the answer; row k is the state after step k, but a
      single row is the state after the last step.
    steps: taken in training.
  """

  config: layers.TransformerConfig
  vocab_size: int
  recurrence: Recurrence
  answer_rows: int
  steps: int

  depth_name = 'step'
  stepwise = True

  @property
  def by_answer(self) -> bool:
    """See `base.Model`."""
    r = self.recurrence
    hard = r.carry == 'answer' and r.answer == 'straight_through'
    return hard and self.answer_rows == 1

  def trained_depth(self) -> int:
    """See `base.Model`."""
    return self.steps

  def depths_read(self) -> int:
    """See `base.Model`."""
    return self.steps

  def setup(self):
    """Makes the parts; see Linen."""
    c, r = self.config, self.recurrence
    cells = dataclasses.replace(
      c, places=relative.Places(c.row - 1, separated=False)
    )
    around = tuple((0, j) for _, j in c.cone[:-1])
    encoder = dataclasses.replace(cells, cone=(*around, (1, 0)))
    core = dataclasses.replace(
      cells, cone=around, num_layers=r.core, unroll=min(c.unroll, r.core)
    )
    self.embedding = transformer.Embedding(c, self.vocab_size)
    block = functools.partial(layers.Block, encoder, False)
    self.encoder = transformer.Stack(encoder, block, has_hooks=False)
    self.encoded = recall_blocks.Blocks(recall_blocks.Encoded, core)
    self.core = recall_blocks.Blocks(
      layers.remat(recall_blocks.Core, c.remat), core, (False,)
    )
    self.read_out = transformer.ReadOut(self.vocab_size, c.norm, c.norm_epsilon)

  def init(self, *args: Any, **options: Any) -> Any:
    """As of Linen modules; then makes the copies of the settings."""
    variables = super().init(*args, **options)
    params = copied(variables['params'], self.recurrence.copies)
    return {**variables, 'params': params}

  def __call__(
    self,
    tokens: jax.Array,
    *,
    depth: int | None = None,
    deterministic: bool = True,
  ) -> base.Output:
    """int32 [B, L] to logits; those of observed states are 0.

    Args:
      tokens: the observed states and the rows of the answer, as mask tokens.
      depth: steps; None for those of training.
      deterministic: False in training, which needs the rng 'depth'.
    """
    steps = depth or self.steps
    state = self.begin(tokens)

    def body(mdl, latent, n):
      latent = mdl._step(latent, state.inputs, n, deterministic)
      return latent, mdl._in_place(latent.logits, state.inputs[0])

    if self.is_initializing():  # one step makes all parameters
      latent, every = body(self, state.latent, jnp.int32(0))
      every = every[None]
    else:
      unroll = steps <= self.steps and not hooks.watched(self)
      scan: Any = nn.scan(
        body,
        variable_broadcast='params',
        variable_axes=hooks.AXES,
        split_rngs={'params': False, looping.RNG: True},
        unroll=layers.scan_unroll(0 if unroll else 1, steps),
      )
      latent, every = scan(self, state.latent, jnp.arange(steps))
    return base.plain_output(every[-1], steps, every)

  def begin(self, tokens: jax.Array) -> base.StepState:
    """Before the first step; see `base`."""
    B, W, V = len(tokens), self.config.row - 1, self.vocab_size
    rows = tokens.reshape(B, -1, W + 1)[:, : -self.answer_rows, 1:]
    observed = self.embedding(rows.reshape(B, -1))
    e, _, _ = self.encoder(observed)
    _, encoded = self.encoded(e, None)
    latent = Current(
      cells=observed[:, -W:],
      logits=jnp.zeros((B, self.answer_rows, W, V), jnp.float32),
    )
    return base.StepState((rows.reshape(B, -1), encoded), latent)

  def again(self, state: base.StepState, n: jax.Array) -> base.StepState:
    """Step n, from 0."""
    latent = self._step(state.latent, state.inputs, n, deterministic=True)
    return state.replace(latent=latent)

  def answered(
    self, state: base.StepState, tokens: jax.Array
  ) -> base.StepState:
    """See `base.Model`."""
    cells = self.embedding(jax.nn.one_hot(tokens, self.vocab_size))
    return state.replace(latent=state.latent.replace(cells=cells))

  def read(self, state: base.StepState) -> tuple[jax.Array, None]:
    """Logits [B, L, V] after the steps made; there is no halting head."""
    return self._in_place(state.latent.logits, state.inputs[0]), None

  def latents(self, state: base.StepState) -> jax.Array:
    """See `base.Model`; what the next step starts from, in the last row."""
    return _at_end(state.latent.cells, self._length(state.inputs[0]))

  def lens_states(self, seen: dict[str, Any], length: int) -> jax.Array | None:
    """See `base.Model`; zeros before the cells of the last row."""
    return _at_end(transformer.residual_states(seen), length)

  def lens_read_out(self, params: Any, x: jax.Array) -> jax.Array:
    """See `base.Model`."""
    return transformer.read_out(self.config, self.vocab_size, params, x)

  def _step(self, latent, inputs, n, deterministic):
    """Step n: the loops of the core, and the answer."""
    r = self.recurrence
    observed, encoded = inputs
    h = latent.cells
    for _ in range(r.loops_per_step):
      h, _ = self.core(h, encoded)
    logits = self.read_out(h, self.embedding.table())
    cells = h
    if r.carry != 'latent':
      weights = looping.answer_weights(logits, r.answer)
      if r.corrupt_samples and not deterministic:
        weights = self._corrupted(weights, observed)
      cells = self.embedding(weights) + (h if r.carry == 'both' else 0)
    K = self.answer_rows
    due = (np.arange(K) >= n) | (K == 1)
    rows = jnp.where(due[:, None, None], logits[:, None], latent.logits)
    return Current(cells, rows)

  def _corrupted(self, weights, observed):
    """Weights [B, W, V] with some cells set to that of a random other one."""
    B, W, V = weights.shape
    sample_key, cell_key, other_key = jax.random.split(
      self.make_rng(looping.RNG), 3
    )
    r = self.recurrence
    hit = jax.random.bernoulli(sample_key, r.corrupt_samples, (B, 1))
    hit &= jax.random.bernoulli(cell_key, r.corrupt_cells, (B, W))
    other = jax.random.randint(other_key, (B, W), 0, observed.shape[1])
    other = jnp.take_along_axis(observed, other, axis=1)
    return jnp.where(hit[..., None], jax.nn.one_hot(other, V), weights)

  def _in_place(self, logits, observed):
    """Logits of the answer [B, K, W, V], after those of observed states."""
    B, K, W, V = logits.shape
    rows = _at_end(logits, W + 1).reshape(B, K * (W + 1), V)
    return _at_end(rows, self._length(observed))

  def _length(self, observed):
    """L, of the sequence with these observed cells [B, T·W]."""
    row = self.config.row
    return (observed.shape[1] // (row - 1) + self.answer_rows) * row


def _at_end(x: jax.Array, length: int) -> jax.Array:
  """[..., n, D] to [..., length, D], with zeros in front."""
  more = [(0, 0)] * (x.ndim - 2) + [(length - x.shape[-2], 0), (0, 0)]
  return jnp.pad(x, more)


def copied(params: Any, copies: str) -> Any:
  """Parameters in which some start as copies of others.

  Block n of the core copies block n of the encoder, counted around; a copy of a
  part with other parameters is not made.

  Args:
    params: of a `Recall`, freshly drawn.
    copies: one of `COPIES`.
  """
  if copies == 'none':
    return params
  core = dict(params['core']['layers'])
  encoded = dict(params['encoded']['layers'])
  encoded['key'] = core['query']
  if copies == 'all':
    block = params['encoder']['layers']['block']
    there, here = (len(part['qkv']['kernel']) for part in (block, core))
    at = np.arange(here) % there
    for name in block.keys() & core.keys() - {'relative'}:
      core[name] = jax.tree.map(lambda x: x[at], block[name])
  return {**params, 'core': {'layers': core}, 'encoded': {'layers': encoded}}


@dataclasses.dataclass(frozen=True)
class Settings(layers.TransformerConfig):
  """Settings of `model.name=recall`; `num_layers` are those of the encoder."""

  recurrence: Recurrence = settings.group(Recurrence)

  def build(self, task: Any) -> Recall:
    """The model for a task."""
    if not task.answer_rows:
      settings.complain(
        'name', 'recall',
        'needs a task with a current state and rows of mask tokens for the '
        'states after it: task.name=orbits with task.layout=masked and '
        'task.variant=by_depth, multi_horizon, o_s or o_o',
      )  # fmt: skip
    for name, value in FIXED.items():
      if getattr(self, name) != value:
        settings.complain(
          name, getattr(self, name), f'recall takes {value} alone'
        )
    if self.positions not in POSITIONS:
      settings.complain(
        'positions', self.positions,
        f'recall takes {", ".join(POSITIONS)}',
      )  # fmt: skip
    config = self.for_task(task)
    return Recall(
      config, task.vocab_size, self.recurrence, task.answer_rows,
      max(task.look_ahead),
    )  # fmt: skip
