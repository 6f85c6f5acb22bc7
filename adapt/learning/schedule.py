"""The learning rate over a run, for adaptation and for training."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int) -> float:
    """Compute the learning rate over its peak at `step` (0..steps): linear warm-up over a twentieth of the run, then
    half a cosine down to zero."""
    warm = max(steps // 20, 1)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
