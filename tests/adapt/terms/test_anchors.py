"""Anchors against closed forms."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from selftrack.adapt.learning.model import Prediction
from selftrack.adapt.terms.anchors import Identity, anchor, rotation


def step(z: torch.Tensor, pose: torch.Tensor) -> SimpleNamespace:
    """Two frames that were all 0 before."""
    before = Prediction(torch.zeros_like(z), torch.zeros_like(pose), torch.zeros_like(pose))
    context = SimpleNamespace(expression=slice(2, 4))
    return SimpleNamespace(prediction=Prediction(z, pose, pose), unadapted=before, context=context)


def test_the_anchor_is_on_the_expression_alone() -> None:
    z = torch.tensor([[9.0, 9.0, 0.3, 0.4, 9.0], [9.0, 9.0, 0.0, 0.0, 9.0]])
    assert anchor(step(z, torch.zeros(2, 6))).item() == pytest.approx(0.125)


def test_twenty_degrees_of_pitch_or_yaw_cost_one() -> None:
    pose = torch.zeros(2, 6)
    pose[0, 1] = pose[1, 2] = math.radians(20)
    pose[:, 0], pose[:, 3:] = 5.0, 5.0  # neither scale nor roll nor place
    assert rotation(step(torch.zeros(2, 5), pose)).item() == pytest.approx(1)


def test_the_identity_stays_near_its_first_estimate() -> None:
    model = SimpleNamespace(identity=torch.tensor([1.0, 2.0, 3.0]))
    term = Identity(SimpleNamespace(model=model))
    model.identity = torch.tensor([1.0, 2.5, 2.0])
    assert term(SimpleNamespace(model=model)).item() == pytest.approx(1.25)
