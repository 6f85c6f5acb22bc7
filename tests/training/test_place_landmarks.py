"""The detector's points on a mesh whose own places for them are known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.training.place_landmarks import place_landmarks


def test_points_lie_where_the_head_has_them(light_stage: Callable) -> None:
    head = load_head()
    placed = place_landmarks(light_stage(frames=3), pictures=3)
    own = head.landmarks478(head.mean[None])[0]
    apart = (placed(head.mean[None])[0] - own).norm(dim=1)
    assert placed.triangles.shape == (478, 3)
    torch.testing.assert_close(placed.weights.sum(1), torch.ones(478))
    assert 1000 * float(apart.median()) < 5


def test_a_capture_without_a_face(light_stage: Callable) -> None:
    stage = light_stage(frames=2)
    stage.image = lambda frame, camera: np.full((128, 128, 3), 90, np.uint8)
    with pytest.raises(ValueError, match="found no face"):
        place_landmarks(stage, pictures=2)
