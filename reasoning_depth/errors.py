"""Ways in which a run ends early, told in one line and by the exit code."""


class Ending(Exception):
  """A run has ended; the message says why. Base of the ways there are."""

  exit_code = 1  # failed


class Stopped(Ending):
  """A signal has ended the run, or the end of another process of it.

  The same command goes on from what is saved.
  """

  exit_code = 75  # as sysexits' EX_TEMPFAIL


class NotSaved(Ending):
  """The last state of a run could not be written."""
