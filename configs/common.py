"""What all configs share: defaults, words after the colon, the smoke form."""

import difflib
from collections.abc import Callable, Collection, Sequence

import ml_collections

from reasoning_depth.runtime import configuration
from reasoning_depth.tasks import orbits

# Words that every config understands.
FLAGS = {
  'smoke': 'under a minute on two CPU cores, through the whole path',
  'cpu': 'minutes on two CPU cores, to a number worth seeing',
  'gpu': 'one H100',
  'curriculum': 'stages over the look-ahead, from 1 up',
}
VALUES = {
  'k': 'look-ahead: k=2 for one value, k=1-4 for a range in one model',
  'task': 'variant of the orbits task, such as o_o, cot or ro_s',
  'layout': 'causal or masked',
  'act': 'adaptive computation: layer, model, or fixed (three times a layer)',
}


def at_full_size(arg: str) -> bool:
  """Whether the words leave the size of the experiment as it is."""
  return not parse_arg(arg).keys() & {'smoke', 'cpu'}


def parse_arg(arg: str, own: Sequence[str] = ()) -> dict[str, str]:
  """Parses `word,word,name=value`, strictly.

  Args:
    arg: the words.
    own: flags that one config has besides.

  Returns:
    flags as {'smoke': ''}, values as {'k': '2'}.

  Raises:
    ValueError: for a word that is not known, naming the nearest one.
  """
  words, flags = {}, (*FLAGS, *own)
  for word in filter(None, arg.split(',')):
    name, equals, value = word.partition('=')
    known = VALUES if equals else flags
    if name not in known or (equals and not value):
      allowed = [*flags, *(f'{v}=…' for v in VALUES)]
      near = difflib.get_close_matches(name, [*flags, *VALUES], 1, 0.5)
      hint = f'; did you mean {near[0]!r}?' if near else ''
      raise ValueError(
        f'word {word!r} after the colon: allowed are {", ".join(allowed)}{hint}'
      )
    if name in words:
      raise ValueError(f'word {word!r} after the colon: {name} stands twice')
    words[name] = value
  return words


def choose(name: str, text: str, allowed: Collection[str]) -> str:
  """The value of a word `name=…`, if it is one of those allowed."""
  if text not in allowed:
    raise ValueError(
      f'word {name}={configuration.shown(text)}: allowed are '
      f'{", ".join(allowed)}'
    )
  return text


def refuse(arg: str, name: str, *words: str) -> None:
  """Raises ValueError for words that the config of this name does not have."""
  for word in words:
    if word in parse_arg(arg):
      shown = word if word in FLAGS else f'{word}=…'
      raise ValueError(f'word {shown}: not of configs/{name}.py')


def build(
  arg: str,
  model: ml_collections.ConfigDict,
  cpu: Callable[[ml_collections.ConfigDict], None] = lambda c: None,
  smoke: Callable[[ml_collections.ConfigDict], None] = lambda c: None,
  layout: str = 'causal',
) -> ml_collections.ConfigDict:
  """A config from the words after the colon.

  Args:
    arg: the words.
    model: its group `model`.
    cpu: what this config adds to the form `cpu`.
    smoke: what it adds to the form `smoke`.
    layout: of the task, unless a word sets it.

  Raises:
    ValueError: for a word that this config does not have.
  """
  words = parse_arg(arg)
  c = base()
  c.model = model
  c.task.layout = layout
  if 'gpu' in words:
    gpu(c)
  if 'cpu' in words:
    _cpu(c)
    cpu(c)
  if 'smoke' in words:
    _shrink(c)
    smoke(c)
  if 'task' in words:
    variant(c, words['task'])
  if 'layout' in words:
    c.task.layout = words['layout']
  if 'k' in words:
    look_ahead(c, words['k'])
  if 'act' in words:
    act(c, words['act'])
  if 'curriculum' in words:
    staged(c)
  return c


def base() -> ml_collections.ConfigDict:
  """The paper's setting, without a model."""
  c = ml_collections.ConfigDict()
  c.seed = 0  # of initialisation, training data and held-out samples

  c.task = ml_collections.ConfigDict()
  c.task.name = 'orbits'
  c.task.width = 20  # W, cells
  c.task.radius = 2  # r, cells each side
  c.task.num_states = 10  # T, observed states
  c.task.look_ahead = (1, 2, 3, 4)  # k, steps after the last observed state
  c.task.variant = 'multi_horizon'  # or o_s, o_o, cot, rule_cot, o_rs, …
  c.task.layout = 'causal'  # or masked
  c.task.split_by = 'rules'  # or classes: closed under mirror and complement

  c.train = ml_collections.ConfigDict()
  c.train.num_steps = 40_000  # updates
  c.train.batch_size = 256  # samples an update, over all devices
  c.train.method = 'supervised'  # or grpo
  c.train.init_from = ''  # run folder or checkpoint to begin from; '': none
  c.train.loss = 'softmax'  # or stablemax
  c.train.depth_loss = 'last'  # depth steps that answer: or every, look_ahead
  c.train.gradient_accumulation = 1  # parts a batch goes through in
  c.train.steps_per_dispatch = 100  # updates in one call of the device
  c.train.learning_rate = 3e-4  # at the peak
  c.train.schedule = 'linear'  # constant, linear or cosine
  c.train.warmup_steps = 1_000  # updates
  c.train.decay_steps = 80_000  # where the rate reaches 0; 0 for num_steps
  c.train.b1 = 0.9  # of Adam
  c.train.b2 = 0.999  # of Adam
  c.train.weight_decay = 0.01  # of AdamW
  c.train.clip = 1.0  # of the gradient; 0 for none
  c.train.clip_by = 'norm'  # or value
  c.train.max_skips = 0  # updates left out for not being finite; then it stops
  c.train.ema = 0.0  # decay of the parameters' average; 0 for none
  c.train.curriculum = ml_collections.ConfigDict()
  c.train.curriculum.field = ''  # of the task, such as look_ahead; '' for none
  c.train.curriculum.stages = ()  # the field's value in each stage
  # Of train.batch_size in each stage; () is 1 in all.
  c.train.curriculum.batch_multipliers = ()
  c.train.curriculum.threshold = 0.95  # exact match, newest, that ends a stage
  c.train.curriculum.most_steps = 0  # updates in a stage at most; 0: no limit
  c.train.curriculum.reset_optimizer = False  # at the start of a stage

  c.eval = ml_collections.ConfigDict()
  c.eval.every = 2_000  # updates between validations
  c.eval.validation_samples = 1_024
  c.eval.test_samples = 10_000  # of the final evaluation
  c.eval.batch_size = 256  # samples; changes no result
  c.eval.rows = 64  # samples written out one by one
  c.eval.rollout = 0  # steps that answers at k = 1 are fed back for; 0 for none
  c.eval.ceiling = True  # whether to compute the best possible score

  c.analyze = ml_collections.ConfigDict()
  c.analyze.samples = 256  # that --mode=analyze looks into
  c.analyze.hooks = ''  # that are patched, such as residual,mlp; '' for all
  c.analyze.tuned_steps = 0  # of training a tuned lens; 0 for the plain one

  c.checkpoint = ml_collections.ConfigDict()
  c.checkpoint.every = 2_000  # updates
  c.checkpoint.keep = 2  # newest ones
  c.checkpoint.keep_best = 0  # best ones in validation besides
  c.checkpoint.metric = 'exact_match'  # what is best: or bit_accuracy, loss
  c.checkpoint.keep_every = 0  # updates between those kept for good; 0: none
  c.checkpoint.grace = 9.0  # seconds from a signal to the end of the run

  c.mesh = ml_collections.ConfigDict()
  c.mesh.data = 0  # devices along the batch; 0 for all that are left
  c.mesh.model = 1  # devices along heads and hidden units (tensor parallel)
  c.mesh.parameters = 'replicated'  # or fsdp: split along the batch's devices
  return c


def backbone() -> ml_collections.ConfigDict:
  """The paper's transformer blocks."""
  m = ml_collections.ConfigDict()
  m.name = 'transformer'
  m.num_layers = 4
  m.width = 128  # D
  m.num_heads = 4
  m.mlp_width = 512  # hidden units
  m.positions = 'rotary'  # or lattice, relative, learned, none
  m.rotary_fraction = 0.25  # of the head width
  m.num_kv_heads = 0  # heads of keys and values; 0 for as many
  m.bias = True  # attention and MLP add biases
  m.parallel_residual = True  # attention and MLP read the same input
  m.norm = 'layer'  # or rms
  m.norm_epsilon = 1e-5  # added to the variance
  m.norm_place = 'pre'  # or sandwich, post
  m.mlp = 'gelu'  # or swiglu
  m.mixer = 'attention'  # or mlp (over positions; masked layout)
  m.zero_out = False  # what is added to the residual starts at zero
  m.tied = False  # the read-out is the token embedding, transposed
  m.dtype = 'float32'  # or bfloat16, of the computation
  m.remat = 'none'  # or full, dots: what the backward pass recomputes
  m.attention = 'xla'  # or cudnn
  m.unroll = 0  # layers unrolled in the scan; 0 by platform
  return m


def rotary() -> ml_collections.ConfigDict:
  """How fast rotary positions turn, where a config says it."""
  m = ml_collections.ConfigDict()
  m.base = 10_000.0  # of the frequencies
  m.scaling = 'none'  # or linear, llama3: past the length trained on
  m.factor = 1.0  # by which scaled frequencies fall
  m.low = 1.0  # of llama3: waves above length/low fall by the whole factor
  m.high = 4.0  # of llama3: waves below length/high stay
  m.length = 8_192  # tokens trained on before scaling
  return m


def segments() -> ml_collections.ConfigDict:
  """A sequence read in pairs of states, each shown twice."""
  m = ml_collections.ConfigDict()
  m.segment_states = 2  # states (with separators) in a segment
  m.repeat_states = 1  # states shown again at the start of the next one
  m.truncate = 0  # segments that the gradient covers; 0 for all
  m.unroll = 0  # segments unrolled in the scan; 0 by platform
  return m


def halting() -> ml_collections.ConfigDict:
  """The paper's adaptive computation, turned off."""
  m = ml_collections.ConfigDict()
  m.kind = 'none'  # or layer, model: what repeats
  m.rule = 'act'  # or universal, ponder, fixed
  m.max_steps = 4  # N, repetitions at most
  m.threshold = 0.9  # sum of halting probabilities at which a position halts
  m.bias = 1.0  # of the halting unit at the start
  m.cost = 3e-4  # τ, of the ponder cost in the loss
  m.cost_over = 'tokens'  # or all: averaged over memory tokens too
  m.prior = 0.3  # of ponder, probability of halting at a step
  return m


def act(c: ml_collections.ConfigDict, text: str) -> None:
  """Sets halting from `layer`, `model` or `fixed`."""
  if 'halting' not in c.model:
    raise ValueError(f'word act=…: the model {c.model.name} has no halting')
  choose('act', text, ('layer', 'model', 'fixed'))
  c.model.halting.kind = 'layer' if text == 'fixed' else text
  if text == 'fixed':
    c.model.halting.rule = 'fixed'
    c.model.halting.max_steps = 3


def variant(c: ml_collections.ConfigDict, text: str) -> None:
  """Sets the variant of the task, with a layout and look-ahead it can have."""
  c.task.variant = text
  c.task.layout = orbits.LAYOUT_OF.get(text, c.task.layout)
  if text in orbits.ONE_LOOK_AHEAD:
    c.task.look_ahead = c.task.look_ahead[:1]


def look_ahead(c: ml_collections.ConfigDict, text: str) -> None:
  """Sets k from `2` (one value) or `1-4` (a range in one model)."""
  most = orbits.MAX_LOOK_AHEAD
  known = {str(k): k for k in range(1, most + 1)}
  first, dash, last = text.partition('-')
  ends = [known.get(end, 0) for end in (first, last if dash else first)]
  if not 1 <= ends[0] <= ends[1]:
    raise ValueError(
      f'word k={configuration.shown(text)}: allowed are k=2 or k=1-4, '
      f'up to {most}'
    )
  values = tuple(range(ends[0], ends[1] + 1))
  c.task.look_ahead = values
  if c.task.variant in ('o_s', 'multi_horizon'):
    c.task.variant = 'multi_horizon' if len(values) > 1 else 'o_s'


def staged(c: ml_collections.ConfigDict) -> None:
  """A curriculum over the look-ahead, each stage an equal share at most."""
  stages = tuple(range(1, max(c.task.look_ahead) + 1))
  c.train.curriculum.field = 'look_ahead'
  c.train.curriculum.stages = stages
  c.train.curriculum.most_steps = c.train.num_steps // len(stages)


def gpu(c: ml_collections.ConfigDict) -> None:
  """The same science on one H100: bfloat16 and longer dispatches."""
  c.model.dtype = 'bfloat16'
  c.train.steps_per_dispatch = 500


def _cpu(c: ml_collections.ConfigDict) -> None:
  """A lattice on which two CPU cores learn to infer rules in minutes.

  Radius 1, since a transformer of this size does not get far with radius 2 in
  the time (12 cells, 8 states, relative positions: exact match 0.25 in
  validation after 1,000 steps, and rising). It has only 256 rules: the 205 of
  the training split can be learnt by heart, and a held-out score rests on the
  26 of the test split.
  """
  c.task.width = 12
  c.task.radius = 1
  c.task.num_states = 6
  c.task.look_ahead = (1,)
  c.task.variant = 'o_s'
  c.task.layout = 'masked'
  c.model.width = 64
  c.model.mlp_width = 128
  c.model.positions = 'lattice'
  c.model.rotary_fraction = 1.0
  c.train.num_steps = 3_000
  c.train.batch_size = 32
  c.train.steps_per_dispatch = 20  # about a second, so that a signal is heard
  c.train.learning_rate = 1.5e-3
  c.train.schedule = 'cosine'
  c.train.warmup_steps = 200
  c.train.decay_steps = 0
  c.train.b2 = 0.99
  c.eval.every = 500
  c.eval.validation_samples = 512
  c.eval.test_samples = 4_000
  c.checkpoint.every = 500


def _shrink(c: ml_collections.ConfigDict) -> None:
  """The smoke form: everything small, every part of the path taken."""
  c.task.width = 8
  c.task.num_states = 6
  c.model.num_layers = 2
  c.model.width = 32
  c.model.num_heads = 2
  c.model.mlp_width = 64
  c.train.num_steps = 40
  c.train.batch_size = 16
  c.train.steps_per_dispatch = 10
  c.train.learning_rate = 1e-3
  c.train.warmup_steps = 10
  c.train.decay_steps = 0
  c.eval.every = 20
  c.eval.validation_samples = 64
  c.eval.test_samples = 256
  c.eval.batch_size = 64
  c.analyze.samples = 32
  c.checkpoint.every = 20
