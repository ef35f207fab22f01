"""Ways in which a run ends early, each told in one line and by an exit code.

Everything else that is raised is a fault of the code or of the machine: it
keeps its traceback and ends with exit code 1.
"""


class Ending(Exception):
  """A run has ended; the message says why. Base of the ways there are."""

  exit_code = 1


class UsageError(Ending, ValueError):
  """What a user asked for cannot be: a config, a word, a file, a run folder.

  The message is one line that names what was given and what is allowed.
  """

  exit_code = 2


class Stopped(Ending):
  """A signal has ended the run, or the end of another process of it.

  The same command goes on from what is saved.
  """

  exit_code = 75  # as sysexits' EX_TEMPFAIL


class NotSaved(Ending):
  """The last state of a run could not be written."""
