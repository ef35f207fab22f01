"""Losses, scores, and the best possible scores (`ceiling`)."""

from reasoning_depth.tasks import ceiling

__all__ = ['ceiling']  # re-exported from tasks
