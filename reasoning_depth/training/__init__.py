"""How a model is trained: methods, steps, the loop, and where it goes on."""

from reasoning_depth.training import deep_supervision, grpo, methods

METHODS: dict[str, type[methods.Method]] = {
  'supervised': methods.Supervised,
  'deep_supervision': deep_supervision.DeepSupervision,
  'grpo': grpo.GRPO,
}
