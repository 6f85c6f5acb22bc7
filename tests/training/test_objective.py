"""Eq. 1-4 against their closed forms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from selftrack.decoders.base import SurfacePoints
from selftrack.decoders.head.model import load_head
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.network.i2znet import Features, I2ZConfig, I2ZNet
from selftrack.training.dataset import Dataset
from selftrack.training.landmark_noise import NoiseConfig
from selftrack.training.objective import Objective, ObjectiveConfig, code_millimetres

QUIET = NoiseConfig(identity=0, identity_point=0, frame=0, point=0, brows=0, lips=0, outliers=0, missed=0)


def test_landmark_head_is_the_head() -> None:
    head, z = load_head(), torch.randn(3, 128)
    assert torch.allclose(SurfacePoints.landmarks(head)(z), head.landmarks(478)(head.geometry(z)), atol=1e-5)


def test_code_millimetres_by_hand() -> None:
    """jawOpen moves the chin by centimetres, a blink a lid by several millimetres, nothing moves by zero."""
    head = load_head()
    mm = code_millimetres(head, 0.3)
    names = head.expression_names
    assert mm.shape == (128,) and (mm > 0).all() and (mm[112:] == 0.3).all()
    jaw, blink = mm[60 + names.index("jawOpen")], mm[60 + names.index("eyeBlinkLeft")]
    peak = head.shapes[60 + names.index("jawOpen")].norm(dim=1).max() * 1000
    assert 8 < jaw < peak and 1 < blink < 13


def test_losses_vanish_for_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that predicts the true code and pose has no loss; a shifted one has Eq. 3's."""
    objective = Objective(I2ZNet(I2ZConfig()), ObjectiveConfig(noise=QUIET, perceptual_dropout=0.0))
    code = torch.randn(2, 1, 128).expand(2, 4, 128) * 0.3
    pose = torch.tensor([[6.8, 0.1, -0.2, 0.0, 128.0, 120.0]]).expand(8, 6)
    points = project(objective.landmarks(code.flatten(0, 1)), pose)[..., :2].unflatten(0, (2, 4))
    heads = objective.network.heads
    monkeypatch.setattr(heads, "features", lambda maps, p: Features(torch.zeros(8, 1), torch.zeros(8, 1), p))
    monkeypatch.setattr(heads.first, "forward", lambda v: code.flatten(0, 1))
    monkeypatch.setattr(heads.expression, "forward", lambda v: code[..., 60:112].flatten(0, 1))
    monkeypatch.setattr(heads, "linear", None)
    monkeypatch.setattr(heads, "pool", lambda features, own, among: own)
    unit = (pose - heads.pose_mean) / heads.pose_spread
    monkeypatch.setattr(heads.pose, "forward", lambda v: unit)
    maps = [torch.zeros(8, c, s, s) for c, s in zip((64, 128, 128), (24, 12, 6), strict=True)]
    unknown = torch.full_like(points, torch.nan)
    losses = objective(maps, points, code, unknown)
    assert all(loss < 1e-5 for loss in losses.values())
    moved = objective(maps, points + torch.tensor([0.8, 0.0]), code, unknown)  # 0.8 px = 1 % of 80 px, in x alone
    assert moved["pose"].item() == pytest.approx(2.3 * 0.5, rel=1e-3)
    assert moved["opening"] < 1e-5


def test_the_detectors_own_points_are_taken_for_some_people() -> None:
    """Where they are known; the others' are the true ones with noise, here none."""
    settings = ObjectiveConfig(noise=QUIET, detected=0.5)
    code = torch.zeros(400, 2, 128)
    points = torch.rand(400, 2, 478, 2) * 100 + 78
    detected = points + 5
    detected[:, 1] = torch.nan
    torch.manual_seed(0)
    seen = Objective(I2ZNet(I2ZConfig()), settings).detect(points, code, detected).view_as(points)
    moved = (seen - points).abs().amax((2, 3))  # (400,2)
    assert moved[:, 1].max() < 1e-3 and 150 < (moved[:, 0] > 4.9).sum() < 250
    assert ((moved[:, 0] < 1e-3) | (moved[:, 0] > 4.9)).all()


def test_mixed_precision_changes_hardly_anything(shards: list[Path]) -> None:
    """What is made of maps may be rounded, points and losses may not: these are the same to a few parts in a thousand,
    where a bfloat16 has three digits and a point of a crop needs five."""
    torch.manual_seed(0)
    network = I2ZNet(I2ZConfig()).train()
    batch = Dataset(shards, network).batch(torch.arange(3), torch.device("cpu"))
    found = []
    for bfloat16 in (False, True):
        torch.manual_seed(1)
        losses = Objective(network, ObjectiveConfig(), bfloat16=bfloat16)(*batch)
        network.zero_grad()
        losses["pose"].backward()
        gradient = torch.cat([p.grad.flatten() for p in network.heads.parameters() if p.grad is not None])
        found.append(({name: loss.item() for name, loss in losses.items()}, gradient))
    (exact, gradient), (mixed, rounded) = found
    assert mixed != exact and all(mixed[name] == pytest.approx(exact[name], rel=5e-3) for name in exact)
    assert torch.nn.functional.cosine_similarity(gradient, rounded, 0) > 0.999
