import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import layers, looping, transformer
from tests import tiny

TOKENS, V = tiny.tokens(), tiny.V
BACKBONE = tiny.config(num_layers=1)  # as many as a prelude and a coda have


def build(**fields):
  model = tiny.model('looped', BACKBONE, **fields)
  return model, {'params': tiny.init(model)}


def apply(model, variables, **kwargs):
  return jax.jit(functools.partial(model.apply, **kwargs))(variables, TOKENS)


def by_hand(variables, loops, fields):
  """The definition, loop by loop; returns the logits after each."""
  params = variables['params']
  read_out = jax.jit(transformer.ReadOut(V).apply)
  layer = functools.partial(layers.Block, BACKBONE, True)
  stack = jax.jit(transformer.Stack(BACKBONE, layer).apply)

  def run(name, x):
    return stack({'params': params[name]}, x)[0]

  table = params['embedding']['tokens']['embedding']
  e = table[TOKENS]
  if fields.get('prelude'):
    e = run('prelude', e)
  s = e if fields.get('initial') == 'embedding' else jnp.zeros_like(e)
  every = []
  for n in range(loops):
    carry = fields.get('carry', 'latent')
    if n and carry != 'latent':
      weights = jax.nn.softmax(every[-1])
      if fields.get('answer') == 'straight_through':
        weights = jax.nn.one_hot(weights.argmax(-1), V)
      s = weights @ table + (s if carry == 'both' else 0)
    inject = fields.get('inject', 'add')
    if inject == 'add':
      s = s + e
    elif inject in ('concat', 'gate'):
      p = params['injection']
      mixed = jnp.concatenate([s, e], -1) @ p['kernel'] + p['bias']
      gate = jax.nn.sigmoid(mixed)
      s = mixed if inject == 'concat' else gate * s + (1 - gate) * e
    s = run('core', s)
    out = run('coda', s) if fields.get('coda') else s
    out = read_out({'params': params['read_out']}, out)
    every.append(out)
  return jnp.stack(every)


@pytest.mark.parametrize(
  'fields',
  [
    {'inject': 'none', 'initial': 'embedding'},
    {'prelude': 1, 'coda': 1, 'inject': 'concat'},
    {'inject': 'gate', 'carry': 'both'},
    {'carry': 'answer', 'answer': 'straight_through'},
  ],
  ids=str,
)
def test_loops_are_the_definition(fields):
  model, variables = build(read_every=True, **fields)
  expected = by_hand(variables, 5, fields)
  out = apply(model, variables, depth=5)
  np.testing.assert_allclose(out.depth_logits, expected, atol=2e-5)
  np.testing.assert_allclose(out.logits, expected[-1], atol=2e-5)
  last, _ = build(**fields)
  ours = apply(last, variables).logits
  np.testing.assert_allclose(
    ours, expected[last.recurrence.mean_loops - 1], atol=2e-5
  )


# most, drawn, covered, early, unroll; then scanned and cut.
PLANS = [
  ({}, {}, (4, False, 4, False, True), (4, -1)),
  ({}, {'depth': 20}, (20, False, 20, False, False), (20, -1)),
  ({}, {'watched': True}, (4, False, 4, False, False), (4, -1)),
  ({'truncate': 4}, {}, (4, False, 4, False, True), (4, -1)),
  ({'truncate': 9}, {}, (4, False, 4, False, True), (4, -1)),
  ({'truncate': 3}, {}, (4, False, 3, True, True), (3, 0)),
  ({'truncate': 3}, {'depth': 20}, (20, False, 3, True, True), (3, 0)),
  ({'truncate': 3}, {'depth': 2}, (2, False, 2, False, True), (2, -1)),
  ({'truncate': 3}, {'watched': True}, (4, False, 3, False, False), (4, 1)),
  (
    {'truncate': 3, 'read_every': True},
    {'depth': 5},
    (5, False, 3, False, True),
    (5, 2),
  ),
  (
    {'draw': 'poisson'},
    {'training': True},
    (8, True, 8, False, False),
    (8, -1),
  ),
  (
    {'draw': 'poisson', 'truncate': 3},
    {'training': True},
    (8, True, 3, True, False),
    (3, 0),
  ),
  ({'draw': 'poisson'}, {}, (4, False, 4, False, True), (4, -1)),
  (
    {'draw': 'poisson'},
    {'training': True, 'depth': 5},
    (5, False, 5, False, True),
    (5, -1),
  ),
  ({}, {'training': True}, (4, False, 4, False, True), (4, -1)),
]


@pytest.mark.parametrize('fields, call, fixed, derived', PLANS, ids=str)
def test_plan(fields, call, fixed, derived):
  plan = looping.make_plan(
    looping.Recurrence(**fields),  # mean_loops 4, max_loops 8
    tiny.L,
    call.get('depth'),
    deterministic=not call.get('training', False),
    watched=call.get('watched', False),
  )
  assert plan == looping.Plan(*fixed)
  assert (plan.scanned, plan.cut) == derived


def gradient(model, variables, loops):
  def loss(variables):
    logits = model.apply(variables, TOKENS, depth=loops).logits
    return jnp.sum(jax.nn.log_softmax(logits)[..., 0])

  return jax.jit(jax.grad(loss))(variables)


def test_truncation_changes_the_gradient_and_not_the_answer():
  whole, variables = build()
  short, _ = build(truncate=2)
  every, _ = build(truncate=2, read_every=True)
  np.testing.assert_allclose(
    apply(whole, variables, depth=5).logits,
    apply(short, variables, depth=5).logits,
    atol=1e-5,
  )
  ours, theirs, all_of_it = (
    gradient(m, variables, 5) for m in (short, every, whole)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), ours, theirs
  )

  def kernel(g):
    return g['params']['core']['layers']['block']['mlp_in']['kernel']

  assert jnp.abs(kernel(ours) - kernel(all_of_it)).max() > 1e-3
  # Within what it covers, the gradient is whole.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
    gradient(short, variables, 2),
    gradient(whole, variables, 2),
  )


def test_memory_stops_growing_where_the_gradient_stops():
  def temporary_bytes(model, variables, loops):
    def loss(variables):
      return model.apply(variables, TOKENS, depth=loops).logits.sum()

    compiled = jax.jit(jax.grad(loss)).lower(variables).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  short, variables = build(truncate=2)
  whole, _ = build()
  few, many = (temporary_bytes(short, variables, n) for n in (4, 32))
  assert many == few
  few, many = (temporary_bytes(whole, variables, n) for n in (4, 32))
  assert many > 2 * few


@pytest.mark.parametrize('draw', ['poisson', 'log_normal'])
def test_loops_are_drawn_in_training_only(draw):
  config = looping.Recurrence(draw=draw, mean_loops=4, min_loops=2, max_loops=8)
  keys = jax.random.split(jax.random.key(0), 2000)
  loops = jax.vmap(functools.partial(looping.draw_loops, config))(keys)
  assert (int(loops.min()), int(loops.max())) == (2, 8)
  assert 3.5 < loops.mean() < 4.5
  model, variables = build(draw=draw, min_loops=1, max_loops=6, truncate=2)
  fixed = apply(model, variables)
  assert float(fixed.executed) == 4
  train = jax.jit(
    lambda key: model.apply(
      variables, TOKENS, deterministic=False, rngs={looping.RNG: key}
    )
  )
  seen = set()
  every, _ = build(read_every=True)
  expected = apply(every, variables, depth=6).depth_logits
  for i in range(12):
    out = train(jax.random.key(i))
    count = int(out.executed)
    seen.add(count)
    np.testing.assert_allclose(out.logits, expected[count - 1], atol=1e-5)
  assert len(seen) > 2


@pytest.mark.parametrize(
  'fields',
  [{}, {'truncate': 2}, {'inject': 'concat', 'carry': 'both'}],
  ids=str,
)
def test_the_gradient_of_drawn_loops_is_that_of_so_many(fields):
  drawn, variables = build(draw='poisson', max_loops=6, **fields)
  fixed, _ = build(**fields)

  def loss(variables, key):
    out = drawn.apply(
      variables, TOKENS, deterministic=False, rngs={looping.RNG: key}
    )
    return jnp.sum(jax.nn.log_softmax(out.logits)[..., 0]), out.executed

  grad = jax.jit(jax.grad(loss, has_aux=True))
  found = {}
  for i in range(8):
    ours, count = grad(variables, jax.random.key(i))
    found[int(count)] = ours
  few, *_, many = sorted(found)
  assert few < 4 <= many
  for count in (few, many):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
      found[count],
      gradient(fixed, variables, count),
    )


@pytest.mark.parametrize(
  'fields, match',
  [
    ({'inject': 'mul'}, 'inject='),
    ({'draw': 'uniform'}, 'draw='),
    (
      {'mean_loops': 9},
      'mean_loops=9: must be from .*min_loops=1.*max_loops=8',
    ),
    ({'inject': 'none'}, 'inject=none.*initial=embedding'),
    ({'read_every': True, 'draw': 'poisson'}, 'read_every=True'),
  ],
)
def test_bad_fields_are_named(fields, match):
  with pytest.raises(ValueError, match=match):
    looping.Recurrence(**fields)


@pytest.mark.parametrize(
  'fields',
  [
    {'inject': 'none', 'initial': 'embedding'},
    {'prelude': 1, 'coda': 1, 'initial': 'noise', 'inject': 'concat'},
    {'carry': 'answer', 'truncate': 2},
  ],
  ids=str,
)
def test_step_by_step_is_the_call_at_every_depth(fields):
  model, variables = build(**fields)
  begin = jax.jit(functools.partial(model.apply, method='begin'))
  again = jax.jit(functools.partial(model.apply, method='again'))
  read = jax.jit(functools.partial(model.apply, method='read'))
  state = begin(variables, TOKENS)
  for n in range(5):
    state = again(variables, state, jnp.int32(n))
    logits, halt = read(variables, state)
    expected = apply(model, variables, depth=n + 1).logits
    np.testing.assert_allclose(logits, expected, atol=2e-5)
    assert halt is None


@pytest.mark.parametrize(
  ('loops', 'length', 'expected'),
  [
    ('number', 9, 4), ('length', 9, 9), ('log_length', 1, 1),
    ('log_length', 4, 2), ('log_length', 5, 3), ('log_length', 4096, 12),
  ],
)  # fmt: skip
def test_fixed_loops(loops, length, expected):
  recurrence = looping.Recurrence(loops=loops)
  assert looping.fixed_loops(recurrence, length) == expected


@pytest.mark.parametrize(
  ('window', 'loops', 'reached'), [('same', 3, 3), ('doubling', 3, 7)]
)
def test_loops_with_a_window_reach_as_many_tokens_back(window, loops, reached):
  config = tiny.config(
    num_layers=1, positions='relative', relative_window=1, relative_reach=1
  )
  fields = {'window': window, 'inject': 'none', 'initial': 'embedding'}
  model = tiny.model('looped', config, vocab_size=tiny.L, **fields)
  params = tiny.init(model)

  def last(table):
    changed = {**params, 'embedding': {'tokens': {'embedding': table}}}
    tokens = jnp.arange(tiny.L)[None]  # each its own row of the table
    logits = model.apply({'params': changed}, tokens, depth=loops).logits
    return jnp.sum(jnp.sin(logits[0, -1]))

  table = jax.random.normal(jax.random.key(0), (tiny.L, config.width))
  back = np.abs(jax.jit(jax.grad(last))(table)).max(-1)[::-1]
  np.testing.assert_array_equal(back > 0, np.arange(tiny.L) <= reached)
