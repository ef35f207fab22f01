"""Recurrent depth: a core of layers applied in a loop to a latent.

    e = prelude(embedding)          once
    s ← core(inject(s, e))          at every loop
    logits = read_out(coda(s))      after the last loop, or after each

The plain looped transformer (2604.07822) is the core alone, with the embedding
as initial latent; input injection, noise and the log-normal Poisson number of
loops are those of 2502.05171.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import (
  base,
  dense,
  hooks,
  layers,
  looping,
  transformer,
)


class Looped(base.Model):
  """Prelude, looped core, coda.

  Attributes:
    config: shape of the core; prelude and coda have the same layers.
    vocab_size: V.
    layer: makes a layer, by name.
    recurrence: settings of the recurrence.
  """

  config: layers.TransformerConfig
  vocab_size: int
  layer: Callable[..., nn.Module]
  recurrence: looping.Recurrence = looping.Recurrence()

  stepwise = True

  def trained_depth(self) -> int:
    """See `base.Model`."""
    r = self.recurrence
    if r.draw != 'fixed':
      return r.max_loops
    return looping.fixed_loops(r, self.config.max_length)

  def depths_read(self) -> int:
    """See `base.Model`."""
    return self.trained_depth() if self.recurrence.read_every else 0

  def lens_states(self, seen: dict[str, Any], length: int) -> jax.Array | None:
    """See `base.Model`."""
    return transformer.residual_states(seen)

  def lens_read_out(self, params: Any, x: jax.Array) -> jax.Array:
    """See `base.Model`; through the coda as well."""
    state = base.StepState(inputs=x, latent=x)
    return self.apply({'params': params}, state, method='read')[0]

  def setup(self):
    """Makes the parts; see Linen."""
    c, r = self.config, self.recurrence
    self.embedding = transformer.Embedding(c, self.vocab_size)
    if r.prelude:
      self.prelude = self._stack(r.prelude, has_hooks=False)
    self.core = self._stack(c.num_layers)
    if r.coda:
      self.coda = self._stack(r.coda, has_hooks=False)
    self.read_out = transformer.ReadOut(self.vocab_size, c.norm, c.norm_epsilon)
    if r.inject in ('concat', 'gate'):
      self.injection = dense.Dense(c.width)

  def _stack(self, num_layers: int, has_hooks: bool = True) -> nn.Module:
    config = dataclasses.replace(
      self.config,
      num_layers=num_layers,
      unroll=min(self.config.unroll, num_layers),
    )
    return transformer.Stack(config, self.layer, has_hooks=has_hooks)

  def __call__(
    self,
    tokens: jax.Array,
    *,
    depth: int | None = None,
    deterministic: bool = True,
  ) -> base.Output:
    """int32 [B, L] to logits.

    Args:
      tokens: the sequence.
      depth: loops; None for `mean_loops`, or a draw in training.
      deterministic: False in training, which needs the rng 'depth'.
    """
    plan = looping.make_plan(
      self.recurrence, tokens.shape[1], depth, deterministic,
      hooks.watched(self),
    )  # fmt: skip
    loops = jnp.int32(plan.most)
    if plan.drawn:
      loops = looping.draw_loops(self.recurrence, self.make_rng(looping.RNG))
    e = self._input(tokens)
    s = self._initial(e, deterministic)
    if self.is_initializing():  # one loop makes all parameters
      s = self._loop(s, e, jnp.int32(0))
      latents = s[None]
    else:
      s, latents = self._run(plan, loops, s, e)
    every = None
    if self.recurrence.read_every:
      every = self._answer(latents.reshape(-1, *s.shape[1:]))
      every = every.reshape(len(latents), *tokens.shape, -1)
    logits = self._answer(s) if every is None else every[-1]
    return base.plain_output(logits, loops, every)

  def begin(self, tokens: jax.Array) -> base.StepState:
    """Before the first loop at inference; see `base`."""
    e = self._input(tokens)
    return base.StepState(e, self._initial(e, deterministic=True))

  def again(self, state: base.StepState, n: jax.Array) -> base.StepState:
    """Loop n, from 0."""
    return state.replace(latent=self._loop(state.latent, state.inputs, n))

  def read(self, state: base.StepState) -> tuple[jax.Array, None]:
    """Logits [B, L, V] after the loops made; there is no halting head."""
    return self._answer(state.latent), None

  def _input(self, tokens):
    e = self.embedding(tokens)
    if self.recurrence.prelude:
      e, _, _ = self.prelude(e)
    return e

  def _initial(self, e, deterministic):
    if self.recurrence.initial == 'embedding':
      return e
    if self.recurrence.initial == 'zeros' or deterministic:
      return jnp.zeros_like(e)
    noise = jax.random.normal(self.make_rng(looping.RNG), e.shape, e.dtype)
    return layers.EMBED_STD * noise

  def _loop(self, s, e, n):
    """Loop n of the core on latents and input [B, L, D]."""
    r = self.recurrence
    if r.carry != 'latent':
      fed = self._embedded_answer(s) + (s if r.carry == 'both' else 0)
      # Before the first loop there is no answer.
      s = jnp.where(n > 0, fed, s)
    if r.inject == 'add':
      s = s + e
    elif r.inject != 'none':
      both = jnp.concatenate([s, e], axis=-1)
      mixed = self.injection(both.reshape(-1, both.shape[-1]))
      mixed = mixed.reshape(s.shape)
      if r.inject == 'gate':
        gate = jax.nn.sigmoid(mixed)
        mixed = gate * s + (1 - gate) * e
      s = mixed
    stride = 2**n if r.window == 'doubling' else None
    return self.core(hooks.hook(self, 'input', s), stride=stride)[0]

  def _answer(self, s):
    if self.recurrence.coda:
      s, _, _ = self.coda(s)
    return self.read_out(s, self.embedding.table())

  def _embedded_answer(self, s):
    return self.embedding(
      looping.answer_weights(self._answer(s), self.recurrence.answer)
    )

  def _run(self, plan, loops, s, e):
    """Runs a plan: the last latents, and those after each scanned loop.

    Where the number of loops is drawn, None in place of those.
    """
    counts = jnp.arange(plan.scanned)
    if plan.early:
      before = loops - plan.covered
      s = self._without_gradient(s, e, before)
      counts = counts + jnp.maximum(before, 0)
    if plan.drawn:
      return self._drawn(loops, s, e, counts), None
    cuts = jnp.arange(plan.scanned) == plan.cut

    def body(mdl, s, loop):
      n, cut = loop
      s = jnp.where(cut, jax.lax.stop_gradient(s), s)
      s = mdl._loop(s, e, n)
      return s, s

    scan: Any = nn.scan(
      body,
      variable_broadcast='params',
      variable_axes=hooks.AXES,
      split_rngs={'params': False},
      unroll=plan.scanned if plan.unroll and self.config.unroll > 1 else 1,
    )
    return scan(self, s, (counts, cuts))

  def _drawn(self, loops, s, e, counts):
    """Those of the loops `counts` that are below `loops`."""
    alone = self.clone(parent=None)

    def loop(params, s, e, n):
      return alone.apply({'params': params}, s, e, n, method='_loop')

    params = self.variables['params']
    return looping.run_some(loop, params, s, e, counts, loops)

  def _without_gradient(self, s, e, count):
    """`count` loops in constant memory; none if negative."""
    e = jax.lax.stop_gradient(e)

    def body(mdl, carry):
      n, s = carry
      return n + 1, mdl._loop(s, e, n)

    start = (jnp.int32(0), jax.lax.stop_gradient(s))
    _, s = nn.while_loop(
      lambda mdl, carry: carry[0] < count, body, self, start,
      broadcast_variables='params', split_rngs={'params': False},
    )  # fmt: skip
    return jax.lax.stop_gradient(s)


@dataclasses.dataclass(frozen=True)
class Settings(layers.TransformerConfig):
  """Settings of `model.name=looped`; `num_layers` are those of the core."""

  recurrence: looping.Recurrence = settings.group(looping.Recurrence)

  def build(self, task: Any) -> Looped:
    """The model for a task."""
    config = self.for_task(task)
    if self.recurrence.window == 'doubling' and not config.near:
      settings.complain(
        'recurrence.window', 'doubling',
        'needs positions=relative with a relative_window, and a task without '
        'rows of cells',
      )  # fmt: skip
    block = functools.partial(layers.Block, config, task.causal)
    return Looped(config, task.vocab_size, block, self.recurrence)
