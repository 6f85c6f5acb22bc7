"""Landmark consistency: the mesh's landmarks lie where the detector finds them (Eq. 9), and so do their differences
that open lids and lips and raise brows.

Shapes: B frames, L landmarks, P pairs of landmarks; image frame, pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selftrack.adapt.frames.clip import Clip
from selftrack.adapt.terms.context import ClipContext, StepContext
from selftrack.adapt.terms.registry import term
from selftrack.decoders.landmarks import BROW_HEIGHTS, MESH_POINTS, OPENINGS, layout
from selftrack.tracker.refinement import observation


def squared_distance(projected: Tensor, detected: Tensor, iod: Tensor) -> Tensor:
    """Compute the squared distances (B,L), in (% IOD)^2, of points (B,L,2); `iod` (B,) in pixels."""
    assert projected.shape == detected.shape and iod.shape == (len(projected),), (projected.shape, iod.shape)
    return ((projected - detected) * (100 / iod)[:, None, None]).square().sum(2)


def contact(gap: Tensor, iod: Tensor, touch: float) -> Tensor:
    """Compute how much two points touch (B,P), 1 to 0: exp(-(d/touch)^2) of their distance d in % IOD.

    `gap` (B,P,2) is from one to the other, `iod` (B,) in pixels.
    """
    return torch.exp(-(gap.norm(dim=2) * (100 / iod)[:, None] / touch).square())


def visible_gaze(clip: Clip) -> Tensor:
    """Tell how well the irises can be seen in each frame (T,), 0..1, as the refinement does."""
    config = observation.ObservationConfig()
    return torch.tensor([observation.visible_gaze(points, config) for points in clip.points.cpu().numpy()])


@dataclass(frozen=True)
class FlrcConfig:
    """Settings of landmark reprojection."""

    irises: float = 10.0
    """Weight of a point of an iris; one of the mesh has 1. The gaze has no skin. Behind lids it counts nothing."""
    contour_cosine: float = 0.5
    """Points of the face's contour count where the surface is visible at a cosine above this, 60 degrees: the detector
    puts them on the silhouette, wherever that is on the skin."""


@term("flrc", weight=13.0, settings=FlrcConfig)
class Flrc:
    """Facial landmark reprojection consistency (Eq. 9), (% IOD)^2."""

    def __init__(self, clip: ClipContext, settings: FlrcConfig) -> None:
        points = clip.clip.points
        self.weight = points.new_ones(points.shape[1])  # (L,)
        self.irises = (settings.irises * visible_gaze(clip.clip)).to(points)[:, None]  # (T,1)
        self.contour = torch.zeros_like(self.weight, dtype=torch.bool)
        self.contour[list(layout(len(self.weight)).contour)] = True
        self.settings = settings

    def __call__(self, step: StepContext) -> Tensor:
        """Average over the landmarks, by their weights."""
        grazing = step.state.landmark_cosine[step.rows] < self.settings.contour_cosine
        weight = self.weight.expand_as(grazing).masked_fill(self.contour & grazing, 0.0)
        weight[:, MESH_POINTS:] = self.irises[step.rows]
        return (squared_distance(step.landmarks, step.detected, step.iod) * weight).sum() / weight.sum()


@dataclass(frozen=True)
class OpeningConfig:
    """Settings of the openings."""

    contact: float = 12.0
    """Weight of a difference in addition to 1 where lids or lips touch: a slit is worse than a gap too small."""
    touch: float = 2.5
    """Gap in % IOD at which that has fallen to a third."""


@term("opening", weight=9.0, settings=OpeningConfig)
class Opening:
    """The same of the differences between landmarks that open lids and lips and raise brows."""

    def __init__(self, clip: ClipContext, settings: OpeningConfig) -> None:
        points = clip.clip.points
        pairs = (*OPENINGS, *BROW_HEIGHTS) if points.shape[1] >= MESH_POINTS else ()
        self.pairs = torch.tensor(pairs, dtype=torch.long, device=points.device).reshape(-1, 2)  # (P,2)
        self.settings = settings

    def __call__(self, step: StepContext) -> Tensor:
        """Average over the pairs; 0 for a detector whose points have none."""
        if not len(self.pairs):
            return step.zero()
        a, b = self.pairs.unbind(1)
        gap = step.detected[:, a] - step.detected[:, b]
        error = squared_distance(step.landmarks[:, a] - step.landmarks[:, b], gap, step.iod)
        return (error * (1 + self.settings.contact * contact(gap, step.iod, self.settings.touch))).mean()
