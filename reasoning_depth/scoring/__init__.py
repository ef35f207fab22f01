"""Losses, scores, and what the best possible scores are."""

from reasoning_depth.tasks import ceiling

__all__ = ['ceiling']  # also the best scores that a task's samples allow
