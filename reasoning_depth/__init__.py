"""How far small models reason in many steps; `docs/getting-started.md`.

  import reasoning_depth as rd

  trained = rd.train(rd.config('recall:cpu'), 'runs/recall')
  trained = rd.load('runs/recall')

Importing the package loads nothing: JAX comes with the first of these names.
"""

import typing

if typing.TYPE_CHECKING:
  from reasoning_depth.api import config as config
  from reasoning_depth.api import load as load
  from reasoning_depth.api import train as train
  from reasoning_depth.errors import UsageError as UsageError
  from reasoning_depth.trained import Trained as Trained
else:

  def __getattr__(name: str) -> typing.Any:
    if name not in __all__:
      raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if name == 'UsageError':
      from reasoning_depth import errors

      return errors.UsageError
    from reasoning_depth import api, trained

    return trained.Trained if name == 'Trained' else vars(api)[name]

  def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = ['Trained', 'UsageError', 'config', 'load', 'train']
