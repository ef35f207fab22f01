"""Tiny Recursive Model (2510.04871).

Two latents are refined by one small network: z, the reasoning, n times from
x + y + z; then y, the answer, once from y + z. T such cycles are a deep
recursion; only the last cycle has a gradient. Deep supervision carries (y, z)
through many deep recursions, with an optimiser step after each.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import base, hooks, layers, transformer


@dataclasses.dataclass(frozen=True)
class TinyRecursion(settings.Settings):
  """Settings of the recursion."""

  inner_steps: int = settings.field(6, 'n, updates of z in a cycle', least=1)
  cycles: int = settings.field(
    3, 'T, cycles in a deep recursion; the last has the gradient', least=1
  )
  supervision: int = settings.field(
    1, 'maximum number of deep recursions, training and inference', least=1
  )
  exploration: float = settings.field(
    0.1,
    'probability that a training sample takes a random minimum of deep '
    'recursions, whatever the halting head predicts',
    most=1,
  )
  halt_weight: float = settings.field(0.5, "weight of the halting head's loss")


@flax.struct.dataclass
class Latents:
  """State between deep recursions.

  Attributes:
    answer: [B, L, D], y.
    reasoning: [B, L, D], z.
  """

  answer: jax.Array
  reasoning: jax.Array


class TRM(base.Model):
  """Embedding, deep recursion, read-out, halting head.

  Attributes:
    config: shape of the network.
    vocab_size: V.
    layer: makes a layer of the network, by name.
    recursion: settings of the recursion.
  """

  config: layers.TransformerConfig
  vocab_size: int
  layer: Callable[..., nn.Module]
  recursion: TinyRecursion = TinyRecursion()

  stepwise = True
  depth_name = 'cycle'

  @property
  def trained_by(self) -> str:
    """See `base.Model`."""
    several = self.recursion.supervision > 1
    return 'deep_supervision' if several else 'supervised'

  def trained_depth(self) -> int:
    """See `base.Model`."""
    return self.recursion.supervision

  def depths_read(self) -> int:
    """See `base.Model`."""
    return self.recursion.supervision

  def lens_states(self, seen: dict[str, Any], length: int) -> jax.Array | None:
    """See `base.Model`; the answer after each cycle."""
    x = seen['answer']
    return x.reshape(-1, 1, *x.shape[-3:])

  def lens_read_out(self, params: Any, x: jax.Array) -> jax.Array:
    """See `base.Model`; no final norm, since the blocks end in one."""
    config, V = self.config, self.vocab_size
    return transformer.read_out(config, V, params, x, norm='none')

  def setup(self):
    """Makes the parts; see Linen."""
    c = self.config
    self.embedding = transformer.Embedding(c, self.vocab_size)
    self.network = transformer.Stack(c, self.layer, has_hooks=False)
    # No final norm: the blocks end in one.
    self.read_out = transformer.ReadOut(self.vocab_size, 'none')
    # Initial bias -5: predicts that the answer is not right yet.
    self.halting = nn.Dense(
      1,
      kernel_init=nn.initializers.zeros,
      bias_init=nn.initializers.constant(-5.0),
      dtype=jnp.float32,
    )

  def __call__(
    self,
    tokens: jax.Array,
    *,
    depth: int | None = None,
    deterministic: bool = True,
  ) -> base.Output:
    """int32 [B, L] to logits, after `depth` deep recursions.

    Args:
      tokens: the sequence.
      depth: deep recursions; None for `recursion.supervision`.
      deterministic: has no effect.
    """
    del deterministic
    count = depth or self.recursion.supervision
    latents = self.first_latents(tokens.shape)

    def body(mdl, latents, _):
      latents, logits, _ = mdl.recurse(tokens, latents)
      return latents, logits

    if self.is_initializing():
      _, logits = body(self, latents, None)
      every = logits[None]
    else:
      _, every = nn.scan(
        body,
        variable_broadcast='params',
        variable_axes=hooks.AXES,
        split_rngs={'params': False},
        length=count,
      )(self, latents, None)
    return base.plain_output(every[-1], count, every)

  def first_latents(self, shape: tuple[int, int]) -> Latents:
    """The latents of samples [B, L] before the first deep recursion.

    Two fixed random vectors, repeated at every position.
    """
    D = self.config.width
    start = jax.random.normal(jax.random.key(0), (2, 1, 1, D))
    start = start.astype(self.config.dtype)
    return Latents(*jnp.broadcast_to(start, (2, *shape, D)))

  def recurse(
    self, tokens: jax.Array, latents: Latents
  ) -> tuple[Latents, jax.Array, jax.Array]:
    """One deep recursion (2510.04871, figure 3).

    Args:
      tokens: int32 [B, L].
      latents: from the deep recursion before, without gradient.

    Returns:
      new latents without gradient, logits [B, L, V], and the halting head's
      logit [B] of the whole answer being right.
    """
    latents = self._deepen(self._input(tokens), latents)
    logits, halt = self._answer(latents)
    return jax.tree.map(jax.lax.stop_gradient, latents), logits, halt

  def begin(self, tokens: jax.Array) -> base.StepState:
    """Before the first deep recursion; see `base`."""
    return base.StepState(self._input(tokens), self.first_latents(tokens.shape))

  def again(self, state: base.StepState, n: jax.Array) -> base.StepState:
    """One more deep recursion; all are the same."""
    del n
    return state.replace(latent=self._deepen(state.inputs, state.latent))

  def read(self, state: base.StepState) -> tuple[jax.Array, jax.Array]:
    """Logits [B, L, V], and the halting head's [B], of the latents so far."""
    return self._answer(state.latent)

  def _input(self, tokens):
    # Scaled to the latents, which the network's norms keep at about 1.
    return self.embedding(tokens) / layers.EMBED_STD

  def _deepen(self, x, latents):
    """The cycles of a deep recursion; the last alone has a gradient."""
    stopped = jax.tree.map(jax.lax.stop_gradient, (x, latents))

    def cycle(mdl, latents, _):
      return mdl._cycle(stopped[0], latents), None

    latents = stopped[1]
    # With hooks, all cycles are in one scan.
    watched = hooks.watched(self)
    early = self.recursion.cycles - (not watched)
    if not self.is_initializing() and early:
      latents, _ = nn.scan(
        cycle,
        variable_broadcast='params',
        variable_axes=hooks.AXES,
        split_rngs={'params': False},
        length=early,
      )(self, latents, None)
      latents = jax.tree.map(jax.lax.stop_gradient, latents)
    if not watched:
      latents = self._cycle(x, latents)
    return latents

  def _answer(self, latents):
    logits = self.read_out(latents.answer, self.embedding.table())
    halt = self.halting(latents.answer[:, 0].astype(jnp.float32))[:, 0]
    return logits, halt

  def _cycle(self, x, latents):
    """n updates of z, one of y."""
    y = latents.answer

    def update(mdl, z, _):
      return mdl.network(x + y + z)[0], None

    if self.is_initializing():
      z, _ = update(self, latents.reasoning, None)
    else:
      z, _ = nn.scan(
        update,
        variable_broadcast='params',
        split_rngs={'params': False},
        length=self.recursion.inner_steps,
      )(self, latents.reasoning, None)
    z = hooks.hook(self, 'reasoning', z)
    y = self.network(y + z)[0]
    return Latents(hooks.hook(self, 'answer', y), z)


@dataclasses.dataclass(frozen=True)
class Settings(layers.TransformerConfig):
  """Settings of `model.name=trm`."""

  recursion: TinyRecursion = settings.group(TinyRecursion)

  def build(self, task: Any) -> TRM:
    """The model for a task."""
    if task.causal:
      settings.complain(
        'name', 'trm', 'answers all cells at once; needs task.layout=masked'
      )
    config = self.for_task(task)
    block = functools.partial(layers.Block, config, task.causal)
    return TRM(config, task.vocab_size, block, self.recursion)
