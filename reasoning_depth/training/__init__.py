"""Training: methods, the train step, the loop, resume, the final evaluation."""

from reasoning_depth.training import deep_supervision, grpo, methods

METHODS: dict[str, type[methods.Method]] = {
  'supervised': methods.Supervised,
  'deep_supervision': deep_supervision.DeepSupervision,
  'grpo': grpo.GRPO,
}
