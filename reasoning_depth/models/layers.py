"""Parts of a transformer: norms, dense layer, MLPs, block.

Tokens are flattened to [B * L, D] for matrix products, as `kernels` takes them.
"""

import dataclasses
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import attention, dense, hooks, kernels, relative

POSITIONS = ('rotary', 'lattice', 'relative', 'learned', 'none')
PLAIN_POSITIONS = ('learned', 'none')
NORMS = ('layer', 'rms')
NORM_PLACES = ('pre', 'sandwich', 'post')
MLPS = ('gelu', 'swiglu')
MIXERS = ('attention', 'mlp')
REMAT = ('none', 'full', 'dots')
DTYPES = ('float32', 'bfloat16', 'float64')  # float64 for tests
EMBED_STD = 0.02  # initial, of token embeddings, positions, memory tokens
T = TypeVar('T', bound='StackConfig')


@dataclasses.dataclass(frozen=True)
class StackConfig(settings.Settings):
  """Settings of a stack of layers of any kind.

  Attributes that are not settings, set by `for_task`:

  Attributes:
    row: tokens in a row of the lattice, a state with its separator.
    max_length: size of the learned position table; 0 for the input's length.
  """

  num_layers: int = settings.field(4, 'layers', least=1)
  width: int = settings.field(128, 'D, width of the hidden states', least=1)
  positions: str = settings.field(
    'none', 'learned (added to the embedding), or none', choices=PLAIN_POSITIONS
  )
  norm: str = settings.field(
    'layer', 'layer (layer norm), or rms (RMSNorm)', choices=NORMS
  )
  norm_epsilon: float = settings.field(
    dense.NORM_EPSILON, 'added to the variance or mean square', above=0, most=1
  )
  tied: bool = settings.field(
    False, 'tied embeddings: the read-out is the transposed token embedding'
  )
  dtype: str = settings.field(
    'float32',
    'dtype of the computation; parameters and logits stay float32',
    choices=DTYPES,
  )
  remat: str = settings.field(
    'none',
    'rematerialisation in the backward pass: none, full (each layer), or dots '
    '(all but matrix products)',
    choices=REMAT,
  )
  unroll: int = settings.field(
    0, 'layers unrolled in the scan over layers; 0 by platform'
  )
  row: int = 0
  max_length: int = 0

  def for_task(self: T, task: Any, whole: bool = True) -> T:
    """A copy with the attributes that depend on the task.

    Args:
      task: gives `row_tokens`, `length`, `causal` and `lattice`.
      whole: False if sequences are read in segments.

    Raises:
      UsageError: for fields that contradict each other or the task.
    """
    if self.dtype == 'float64' and not jax.config.jax_enable_x64:
      settings.complain('dtype', self.dtype, 'needs JAX_ENABLE_X64=1')
    return dataclasses.replace(
      self,
      row=task.row_tokens,
      max_length=task.length if whole else 0,
      unroll=scan_unroll(self.unroll, self.num_layers),
    )


@dataclasses.dataclass(frozen=True)
class TransformerConfig(StackConfig):
  """Settings of a stack of transformer blocks.

  Attributes that are not settings, set by `for_task`:

  Attributes:
    places: where the tokens are.
    cone: the offsets that an answer depends on.
  """

  num_heads: int = settings.field(
    4, 'H, attention heads, a divisor of the width', least=1
  )
  mlp_width: int = settings.field(512, 'hidden units of the MLP', least=1)
  positions: str = settings.field(
    'rotary',
    'rotary (by index in the sequence), lattice (rotary by column and row of a '
    'circular lattice), relative (a learned bias by offset, in rows and '
    'columns of a lattice or in tokens), learned (added to the embedding), or '
    'none',
    choices=POSITIONS,
  )
  relative_start: str = settings.field(
    'zeros',
    'relative bias before training: zeros, or cone (each head at one of the '
    'offsets that an answer depends on)',
    choices=relative.STARTS,
  )
  relative_reach: int = settings.field(
    8, 'relative: larger offsets share an entry of the table', least=1
  )
  relative_window: int = settings.field(
    0,
    'relative: tokens at larger offsets are not seen; 0 for all. In a sequence '
    'without rows, zeros stand before the first token',
  )
  rotary_fraction: float = settings.field(
    0.25, 'share of the head width with rotary positions', most=1
  )
  rotary: attention.Rotary = settings.group(attention.Rotary)
  num_kv_heads: int = settings.field(
    0, 'G, heads of keys and values (grouped queries); 0 for as many as H'
  )
  bias: bool = settings.field(
    True, 'attention and MLP have biases; swiglu in its last layer only'
  )
  parallel_residual: bool = settings.field(
    True, 'attention and MLP read the same input (GPT-NeoX)'
  )
  attention: str = settings.field(
    'xla',
    'xla, or cudnn (flash attention on NVIDIA GPUs, bfloat16)',
    choices=attention.IMPLEMENTATIONS,
  )
  norm_place: str = settings.field(
    'pre',
    'pre (before attention and MLP), sandwich (before and after each), or post '
    '(after each sum with the residual)',
    choices=NORM_PLACES,
  )
  mlp: str = settings.field('gelu', 'kind of MLP', choices=MLPS)
  mixer: str = settings.field(
    'attention',
    'what mixes positions: attention, or an mlp over positions (masked layout)',
    choices=MIXERS,
  )
  zero_out: bool = settings.field(
    False, 'zero-init of the last layer of attention and MLP'
  )
  places: relative.Places = relative.Places()
  cone: tuple[relative.Offset, ...] = ()

  @property
  def near(self) -> bool:
    """Whether tokens see a few before them alone, at a cost linear in L."""
    windowed = self.positions == 'relative' and self.relative_window > 0
    return windowed and not self.places.row

  def __post_init__(self):
    super().__post_init__()
    heads, groups = self.num_heads, self.num_kv_heads
    if self.width % heads:
      settings.complain(
        'width', self.width, f'must be a multiple of num_heads={heads}'
      )
    if groups and heads % groups:
      settings.complain(
        'num_kv_heads', groups, f'must divide num_heads={heads} (0 for as many)'
      )
    if self.relative_window > self.relative_reach:
      settings.complain(
        'relative_window', self.relative_window,
        f'must be at most relative_reach={self.relative_reach}',
      )  # fmt: skip
    if self.norm_place == 'post' and self.parallel_residual:
      settings.complain(
        'norm_place', 'post',
        'needs parallel_residual=False, since attention and MLP come one after '
        'the other',
      )  # fmt: skip

  def with_memory(self: T, before: int, behind: int) -> T:
    """A copy for segments with memory tokens in front and behind."""
    places = dataclasses.replace(self.places, before=before, behind=behind)
    return dataclasses.replace(self, places=places)

  def for_task(self: T, task: Any, whole: bool = True) -> T:
    """See `StackConfig`."""
    if self.positions == 'lattice' and not task.lattice:
      settings.complain(
        'positions', 'lattice', 'needs rows of cells, as task.name=orbits has'
      )
    if self.positions == 'relative' and self.relative_start == 'cone':
      self._check_cone(task.cone)
    if self.relative_window and not (
      task.lattice or (task.causal and not task.generates)
    ):
      settings.complain(
        'relative_window', self.relative_window,
        'must be 0 for tasks whose answers are generated or not causal, unless '
        'they have rows of cells',
      )  # fmt: skip
    backend = jax.default_backend()
    if self.attention == 'cudnn' and (
      self.dtype != 'bfloat16' or backend != 'gpu'
    ):
      settings.complain(
        'attention', 'cudnn',
        f'needs dtype=bfloat16, not {self.dtype}, and a GPU, not a {backend}; '
        'attention=xla runs everywhere',
      )  # fmt: skip
    if self.mixer == 'mlp' and task.causal:
      settings.complain(
        'mixer', 'mlp', 'sees all positions; needs task.layout=masked'
      )
    config = super().for_task(task, whole)
    places = relative.Places(task.row_tokens if task.lattice else 0)
    return dataclasses.replace(config, places=places, cone=task.cone)

  def _check_cone(self, cone: tuple[relative.Offset, ...]) -> None:
    if not cone:
      settings.complain(
        'relative_start', 'cone',
        'needs a task that names the offsets an answer depends on, as '
        'orbits, groups, extrapolation and composition do; zeros goes with any',
      )  # fmt: skip
    far = max(abs(offset) for pair in cone for offset in pair)
    if far > self.relative_reach:
      settings.complain(
        'relative_reach', self.relative_reach,
        f'must be at least {far}, the farthest offset of the light cone',
      )  # fmt: skip


def scan_unroll(asked: int, length: int) -> int:
  """Iterations of a scan that are unrolled.

  XLA on CPU runs the body of a loop slower than the same code outside of one;
  on accelerators a rolled loop is as fast and compiles in a fraction of the
  time.

  Args:
    asked: the setting; 0 for all iterations on a CPU, and one elsewhere.
    length: of the scan.
  """
  if asked:
    return min(asked, length)
  return length if jax.default_backend() == 'cpu' else 1


class Block(nn.Module):
  """Transformer block.

  Attributes:
    config: shape of the block.
    causal: whether attention sees earlier tokens only.
  """

  config: TransformerConfig
  causal: bool

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    cache: attention.Cache | None = None,
    stride: jax.Array | None = None,
  ) -> tuple[jax.Array, attention.Cache | None]:
    """Hidden states [B, L, D] to the same, and the updated cache.

    Args:
      x: hidden states of a whole sequence, or with a cache of the L tokens
        after the cached ones.
      cache: keys and values of earlier tokens, to decode step by step.
      stride: tokens between those in the window of a sequence without rows;
        None for 1.
    """
    B, L, D = x.shape
    place = self.config.norm_place
    x = x.reshape(B * L, D)
    mix = self._token_mlp if self.config.mixer == 'mlp' else self._attention
    mixed, cache = mix(self._before('attention_norm', x), B, cache, stride)
    if place == 'sandwich':
      mixed = self._norm('attention_out_norm', mixed)
    mixed = hooks.hook(self, 'attention', mixed, B)
    if self.config.parallel_residual:
      update = self._mlp(self._before('mlp_norm', x))
      x = x + mixed
    else:
      x = x + mixed
      if place == 'post':
        x = self._norm('attention_norm', x)
      update = self._mlp(self._before('mlp_norm', x))
    if place == 'sandwich':
      update = self._norm('mlp_out_norm', update)
    update = hooks.hook(self, 'mlp', update, B)
    x = x + update
    if place == 'post':
      x = self._norm('mlp_norm', x)
    return x.reshape(B, L, D), cache

  def _norm(self, name, x):
    c = self.config
    return dense.make_norm(c.norm, c.norm_epsilon, name)(x)

  def _before(self, name, x):
    """The norm before attention or MLP, if `norm_place` has one."""
    return x if self.config.norm_place == 'post' else self._norm(name, x)

  def _attention(self, x, batch_size, cache, stride=None):
    c = self.config
    head, groups = c.width // c.num_heads, c.num_kv_heads or c.num_heads
    qkv = dense.Dense(c.width + 2 * groups * head, use_bias=c.bias, name='qkv')(
      x
    )
    q, k, v = kernels.split_heads(qkv, batch_size, c.num_heads, groups)
    pairs = int(head * c.rotary_fraction) // 2
    length = q.shape[2] if cache is None else cache.keys.shape[2]
    angles = bias = None
    if c.positions == 'relative' and not c.near:
      bias = relative.bias(
        self._table(), c.places, length, c.relative_reach, c.relative_window
      )
    elif c.positions == 'rotary' and pairs:
      angles = attention.sequence_angles(length, pairs, c.rotary)
    elif c.positions == 'lattice' and pairs:
      angles = attention.lattice_angles(length, pairs, c.row)
    if c.near:
      bias = relative.near(self._table(), c.relative_reach, c.relative_window)
      stride = 1 if stride is None else stride
      mixed = attention.attend_near(q, k, v, bias, stride)
    elif cache is not None:
      mixed, cache = attention.attend_cached(q, k, v, angles, bias, cache)
    else:
      if angles is not None:
        q, k = (kernels.rotary(t, angles) for t in (q, k))
      mixed = attention.attend(q, k, v, self.causal, c.attention, bias)
    mixed = jnp.swapaxes(mixed, 1, 2).reshape(-1, c.width)
    return self._out('attention_out', c.width, mixed), cache

  def _table(self):
    c = self.config
    first = relative.start(
      c.relative_start, c.cone, c.places, c.num_heads, c.relative_reach
    )
    return self.param('relative', lambda key: jnp.asarray(first))

  def _token_mlp(self, x, batch_size, cache, stride):
    del stride
    x = jnp.swapaxes(x.reshape(batch_size, -1, self.config.width), 1, 2)
    length = x.shape[-1]
    hidden = self._hidden('token_in', 4 * length, x.reshape(-1, length))
    mixed = self._out('token_out', length, hidden)
    x = jnp.swapaxes(mixed.reshape(x.shape), 1, 2)
    return x.reshape(-1, self.config.width), cache

  def _mlp(self, x):
    c = self.config
    hidden = self._hidden('mlp_in', c.mlp_width, x)
    return self._out('mlp_out', c.width, hidden)

  def _hidden(self, name, width, x):
    if self.config.mlp == 'gelu':
      return kernels.gelu(dense.Dense(width, self.config.bias, name=name)(x))
    gate, value = jnp.split(
      dense.Dense(2 * width, use_bias=False, name=name)(x), 2, axis=-1
    )
    return jax.nn.silu(gate) * value

  def _out(self, name, width, x):
    c = self.config
    return dense.Dense(width, c.bias, c.zero_out, name=name)(x)

  def init_state(self, batch_size: int, length: int) -> attention.Cache:
    """An empty cache for sequences of up to `length` tokens."""
    c = self.config
    groups = c.num_kv_heads or c.num_heads
    shape = (batch_size, groups, length, c.width // c.num_heads)
    return attention.empty_cache(shape, c.dtype)


def remat(body: Any, policy: str) -> Any:
  """Wraps a scanned module class in rematerialisation, by policy name."""
  if policy == 'none':
    return body
  chosen = {
    'full': None,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  }[policy]
  return nn.remat(body, prevent_cse=False, policy=chosen)
