"""How long a stage trains, at which learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ScheduleConfig:
    """steps of the whole stage; learning_rate after `warmup_steps`, then a cosine to its
    `last_share`; clip_norm bounds the gradient; validation every `validate_every` steps."""

    steps: int = 4000
    learning_rate: float = 2e-3
    last_share: float = 0.0
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    clip_norm: float = 1.0
    validate_every: int = 500

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup_steps < 0 or self.validate_every < 1:
            raise ValueError("steps, validate_every must be positive, warmup_steps not negative")
        if self.learning_rate <= 0 or self.clip_norm <= 0 or self.weight_decay < 0:
            raise ValueError("learning_rate, clip_norm must be positive, weight_decay at least 0")
        if not 0 <= self.last_share <= 1:
            raise ValueError("last_share must be in [0, 1]")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (self.last_share + (1 - self.last_share) * falling)

    def shortened(self) -> ScheduleConfig:
        """The same with a few steps, for a trial."""
        return replace(self, steps=2, validate_every=1, warmup_steps=1)
