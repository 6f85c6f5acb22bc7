"""Which points of the head the losses look at."""

from __future__ import annotations

import torch

from selftrack.adapt.learning.face import Face
from selftrack.decoders.base import SurfacePoints
from selftrack.decoders.head.model import load_head

HEAD = load_head()
LIDS, NOSE_AND_CHIN = [159, 145, 386, 374], [1, 152]


def test_points_are_those_of_the_decoder() -> None:
    z = 0.3 * torch.randn(2, HEAD.size, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([5, 700, 31])
    expected = HEAD.geometry(z)[:, index]
    assert torch.allclose(SurfacePoints(HEAD, HEAD.mean, HEAD.shapes)(z, index), expected, atol=1e-6)


def test_blinks_and_glances_are_not_held_for_trembling() -> None:
    """Vertices of the lids and the eyeballs do not count, those of the nose, the chin and the back of the head do."""
    counted = Face(HEAD, 478, 32, "cpu").vertices.mean

    def counts(points: torch.Tensor) -> torch.Tensor:
        return torch.cdist(points, counted).amin(1) < 1e-6

    corners = HEAD.landmarks478.triangles  # (478,3) vertices about each landmark
    assert not counts(HEAD.mean[corners[LIDS].flatten()]).any()
    assert counts(HEAD.mean[corners[NOSE_AND_CHIN].flatten()]).all()
    assert counts(HEAD.mean[HEAD.mean[:, 2].argmax()][None]).all()
    for name in ("eye_left", "eye_right"):
        ball = HEAD.faces[HEAD.face_parts == HEAD.part_names.index(name)].unique()
        assert not counts(HEAD.mean[ball]).any()
