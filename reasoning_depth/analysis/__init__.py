"""How a model reaches its answers: depth steps, lens, patching, samples.

An analysis is a function (model, task, params, key of held-out samples, whole
config) → what goes to `evaluations/<name>.json`, or None where it does not
apply.
"""

import dataclasses

from reasoning_depth import settings
from reasoning_depth.analysis import depth, lens, patching, samples
from reasoning_depth.models import hooks

ANALYSES = {
  'depth': depth.measure,
  'lens': lens.analyze,
  'patching': patching.analyze,
  'samples': samples.analyze,
}


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """What `--mode=analyze` looks at."""

  samples: int = settings.field(
    256, 'held-out samples for lens, patching and samples', least=2
  )
  hooks: str = settings.field(
    '',
    'that are patched, such as residual,mlp, with commas between; empty: all',
  )
  tuned_steps: int = settings.field(
    0, 'updates that train a tuned lens; 0 for the logit lens alone'
  )

  def __post_init__(self):
    super().__post_init__()
    if set(filter(None, self.hooks.split(','))) - set(hooks.NAMES):
      settings.complain(
        'hooks', self.hooks,
        f'allowed are {", ".join(hooks.NAMES)}, with commas between',
      )  # fmt: skip
