"""Landmark consistency against closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selftrack.adapt.terms.landmarks import Flrc, FlrcConfig, Opening, OpeningConfig, contact, squared_distance
from selftrack.decoders.landmarks import CHIN, LEFT_IRIS, MESH_POINTS, NOSE_TIP, POINTS


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def clip_of(points: int, opening: float = 4.0) -> SimpleNamespace:
    """Three frames whose right eye is ten pixels wide and so far open."""
    detected = torch.zeros(3, points, 2)
    if points == POINTS:
        detected[:, [33, 133, 159, 145]] = torch.tensor([[0, 0], [10, 0], [5, -opening / 2], [5, opening / 2]])
    return SimpleNamespace(clip=SimpleNamespace(points=detected))


def step(landmarks: torch.Tensor, detected: torch.Tensor, cosine: torch.Tensor | None = None) -> SimpleNamespace:
    """Frames whose IOD is 100 pixels."""
    count = len(landmarks)
    cosine = torch.ones(landmarks.shape[:2]) if cosine is None else cosine
    return SimpleNamespace(
        landmarks=landmarks,
        detected=detected,
        iod=torch.full((count,), 100.0),
        rows=torch.arange(count),
        state=SimpleNamespace(landmark_cosine=cosine),
        zero=lambda: torch.zeros(()),
    )


def test_distance_in_percent_of_the_iod() -> None:
    """3 and 4 pixels off at an IOD of 100 and 200 pixels: 5 and 2.5 percent."""
    detected = random(2, 5, 2) * 100
    got = squared_distance(detected + torch.tensor([3.0, 4.0]), detected, torch.tensor([100.0, 200.0]))
    assert torch.allclose(got, torch.tensor([25.0, 6.25])[:, None].expand(2, 5), rtol=1e-3)


def test_distance_has_exact_gradients() -> None:
    a, b = (random(2, 3, 2, seed=s).double() for s in (0, 1))
    iod = torch.tensor([90.0, 110.0], dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: squared_distance(x, b, iod), a.requires_grad_())


def test_contact_falls_to_a_third_at_the_touching_distance() -> None:
    gap = torch.tensor([[[0.0, 0.0], [0.9, 1.2], [30.0, 0.0]]])  # 0, 1.5 and 30 pixels
    assert contact(gap, torch.tensor([100.0]), 1.5)[0].tolist() == pytest.approx([1, np.exp(-1), 0], abs=1e-6)


def test_a_point_of_an_iris_weighs_as_configured() -> None:
    """One iris point 2 % IOD off among 468 of weight 1 and ten of weight 10: 10 * 4 / 568."""
    flrc, detected = Flrc(clip_of(478), FlrcConfig(irises=10.0)), torch.zeros(3, 478, 2)
    off = detected.clone()
    off[:, LEFT_IRIS, 0] = 2.0
    assert flrc(step(off, detected)).item() == pytest.approx(40 / (MESH_POINTS + 100))


def test_an_iris_behind_lids_does_not_count() -> None:
    detected = torch.zeros(3, 478, 2)
    off = detected.clone()
    off[:, LEFT_IRIS, 0] = 2.0
    assert Flrc(clip_of(478, opening=0.5), FlrcConfig())(step(off, detected)).item() == 0


def test_contour_points_count_where_the_surface_is_visible() -> None:
    """The chin is one of the contour: at a grazing angle it does not count, and nor does it in the mean."""
    flrc, detected = Flrc(clip_of(478), FlrcConfig(irises=1.0, contour_cosine=0.5)), torch.zeros(1, 478, 2)
    off = detected.clone()
    off[:, CHIN] = off[:, NOSE_TIP] = torch.tensor([2.0, 0.0])
    for at_chin, expected in ((0.6, 8 / 478), (0.4, 4 / 477)):
        cosine = torch.ones(1, 478)
        cosine[:, CHIN], cosine[:, NOSE_TIP] = at_chin, 0.1
        assert flrc(step(off, detected, cosine)).item() == pytest.approx(expected)


def test_an_opening_is_a_difference_and_weighs_more_where_it_is_closed() -> None:
    """A face that is shifted costs nothing; 1 % IOD too far open costs 13 where lips touch, 1 where they are far."""
    opening = Opening(clip_of(478), OpeningConfig(contact=12.0, touch=2.5))
    far = 1000 * torch.arange(478.0)[None, :, None].expand(1, 478, 2)  # nothing touches
    assert opening(step(far + 5.0, far)).item() == pytest.approx(0, abs=1e-6)
    assert (opening.pairs == 13).sum() == 1  # the middle of the upper lip is in one pair, that with 14
    for gap, expected in ((1000.0, 1.0), (0.0, 13.0)):
        detected = far.clone()
        detected[:, 13] = detected[:, 14] - torch.tensor([0.0, gap])
        wider = detected.clone()
        wider[:, 13, 1] -= 1.0
        assert opening(step(wider, detected)).item() * len(opening.pairs) == pytest.approx(expected, rel=1e-3)


def test_a_detector_without_lids_has_no_openings() -> None:
    assert Opening(clip_of(68), OpeningConfig())(step(random(2, 68, 2), random(2, 68, 2, seed=1))) == 0
