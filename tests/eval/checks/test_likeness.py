"""How textures are compared."""

from __future__ import annotations

import pytest
import torch

from selftrack.eval.checks.likeness import colour_distance


def test_colour_distance_looks_at_the_mean_under_the_mask() -> None:
    """3 and 4 grey levels in two channels: 5; noise of no mean and what the mask leaves out do not count."""
    one, mask = torch.full((3, 8, 8), 0.5), torch.zeros(8, 8, dtype=torch.bool)
    mask[:, :4] = True
    other = one.clone()
    other[0] += 3 / 255
    other[1] -= 4 / 255
    other[:, ::2] += 0.1
    other[:, 1::2] -= 0.1
    other[:, :, 4:] = 1
    assert colour_distance(one, other, mask) == pytest.approx(5, rel=1e-4)
