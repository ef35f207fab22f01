"""`--mode=show`: the config, the parameters, and what training costs."""

import jax
from clu import parameter_overview

from reasoning_depth import settings
from reasoning_depth.runtime import operations
from reasoning_depth.training import config as config_lib
from reasoning_depth.training import (
  costs,
  curriculum,
  experiment,
  loop,
  resume,
)

_WIDTH = 44  # columns of a field with its value


def text(exp: experiment.Experiment) -> str:
  """Every field with value, range and meaning, parameters by module, costs."""
  curriculum.check(exp.config)
  layout = resume.layout(exp)
  return '\n\n'.join(
    [fields(exp), parameters(layout[0].params), cost(exp, layout)]
  )


def fields(exp: experiment.Experiment) -> str:
  """A line for each field of the config."""
  flat = settings.flatten(exp.config)
  lines = []
  for name, field in config_lib.declared(flat).items():
    head = f'{name} = {flat[name]!r}'
    lines.append(f'{head:<{_WIDTH}}  # {field.meaning} [{field.allowed}]')
  return '\n'.join(lines)


def parameters(params) -> str:
  """A table of the parameters by module; only shapes are used."""
  zeros = jax.tree.map(lambda x: jax.numpy.broadcast_to(0.0, x.shape), params)
  return parameter_overview.get_parameter_overview(
    zeros, include_stats=False, max_lines=80
  )


def cost(exp: experiment.Experiment, layout) -> str:
  """Sequence length, memory, and the operations of a step and of an answer."""
  state = resume.abstract(*layout)
  stage = curriculum.at_stage(exp, 0)
  compiled = loop.compile_dispatch(stage, state, num_steps=1)
  memory = compiled.memory_analysis()
  held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
  lines = {
    'tokens in a sequence': f'{stage.task.length:,}',
    'token ids': f'{stage.task.vocab_size:,}',
    'samples in a step': f'{stage.config.train.batch_size:,}',
    'state': f'{held / 1e6:,.1f} MB (parameters, optimiser, averages)',
    'operations of a step': _operations(costs.train_step(stage)),
    'operations of an answer': _operations(costs.answer(exp)),
    'working memory of a step': f'{memory.temp_size_in_bytes / 1e6:,.1f} MB '
    'on each device',
  }
  return '\n'.join(f'{name}: {value}' for name, value in lines.items())


def _operations(count: operations.Count) -> str:
  text = f'{count.most / 1e9:,.3g} GFLOP on all devices together'
  return f'{count.bound} {text}'.strip()
