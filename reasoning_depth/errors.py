"""Errors that end a run with a message of one line and an exit code.

Any other exception is a fault of the code or of the machine: main.py shows its
traceback and exits with code 1.
"""


class Ending(Exception):
  """Base class; the message says why the run ended."""

  exit_code = 1


class UsageError(Ending, ValueError):
  """A user's mistake in a config, a flag, a file or a run folder.

  The message is one line that names the value given and what is allowed.
  """

  exit_code = 2


class Stopped(Ending):
  """The run was ended by a signal, or by the loss of one of its processes.

  The same command resumes it from the newest checkpoint.
  """

  exit_code = 75  # EX_TEMPFAIL of sysexits.h


class NotSaved(Ending):
  """The last state of a run could not be saved."""
