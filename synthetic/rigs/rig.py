"""Faces that are not the bundled head: rigs with ARKit's shapes, that known curves are put on to be filmed.

Head frame: metres, x to the image's right at rest, y down, z away from the camera; see `decoders.base`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES

GAZE = {"Out": 0.60, "In": 0.60, "Up": 0.52, "Down": 0.52}
"""Radians that an eye turns for a unit of each eyeLook curve: the slope of the eyes' angles on the curves in recordings
of the Live Link Face app (alexdjulin/LiveLinkFace-CSV-Retarget-For-Motionbuilder)."""
IRIS_RADIUS = 0.0103
"""Metres from a human eye's centre of rotation to its iris."""


@dataclass(frozen=True)
class Eyeball:
    """What turns with the gaze."""

    side: str
    """Left or Right, the subject's own."""
    vertices: np.ndarray
    """(N,) int64."""
    middle: np.ndarray
    """(3,) metres, of the neutral rig."""
    radius: float
    """Metres from the middle to the iris."""


def eyeball(side: str, neutral: np.ndarray, vertices: np.ndarray, ball: np.ndarray) -> Eyeball:
    """Make the eyeball of `vertices` (N,), which turns about the middle of the box around those of its `ball` (M,)."""
    low, high = neutral[ball].min(0), neutral[ball].max(0)
    middle = (low + high) / 2
    return Eyeball(side, vertices, middle, float(middle[2] - neutral[vertices, 2].min()))


@dataclass(frozen=True)
class Rig:
    """A face with ARKit's shapes. Its eyeballs turn by themselves, as ARKit's do."""

    neutral: np.ndarray
    """(V,3) metres."""
    faces: np.ndarray
    """(F,3) int64."""
    shapes: np.ndarray
    """(52,V,3) metres, what a unit of each curve adds; 0 where the rig has no such shape."""
    eyes: tuple[Eyeball, ...]
    corners: np.ndarray
    """(F,3,2) texture coordinates of the triangles' corners, v down."""
    skin: np.ndarray
    """(F,) bool, triangles of the face's skin, without eyes, teeth and the mouth's inside."""
    moist: np.ndarray
    """(F,) bool, triangles of the eyes."""
    inner: np.ndarray
    """(F,) bool, triangles within the mouth."""
    texture: np.ndarray | None = None
    """(T,T,3) uint8 sRGB of the rig's own; None: it is drawn with skins in the bundled head's layout."""
    identity: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))
    """(K,V,3) metres, a standard deviation of each component of identity."""
    ibug: np.ndarray | None = None
    """(68,) vertices of 300-W's points, where the rig's file names them."""

    @property
    def known(self) -> np.ndarray:
        """(52,) bool, the curves that do anything to the rig."""
        moved = np.abs(self.shapes).max((1, 2)) > 1e-5
        looks = np.array([name.startswith("eyeLook") for name in ARKIT_NAMES])
        return moved | (looks & bool(self.eyes))

    def person(self, code: np.ndarray) -> Rig:
        """Take a person of the rig's identity space: a rig with the neutral face of code (K,)."""
        if not len(self.identity):
            return self
        moved = np.tensordot(code, self.identity, 1)
        eyes = tuple(replace(eye, middle=eye.middle + moved[eye.vertices].mean(0)) for eye in self.eyes)
        return replace(self, neutral=self.neutral + moved, eyes=eyes)

    def vertices(self, curves: np.ndarray) -> np.ndarray:
        """Compute vertices (V,3), metres, at ARKit's curves (52,)."""
        placed = self.neutral + np.tensordot(curves, self.shapes, 1)
        for eye in self.eyes:
            turn = gaze_rotation(curves, eye.side, eye.radius)
            placed[eye.vertices] = (self.neutral[eye.vertices] - eye.middle) @ turn.T + eye.middle
        return placed


def gaze_rotation(curves: np.ndarray, side: str, radius: float = IRIS_RADIUS) -> np.ndarray:
    """Compute how an eye turns (3,3), head frame, at ARKit's curves (52,): first down or up, then sideways.

    An eyeball whose iris is at another `radius` than a human's turns by what moves it as far as a human's.
    """
    value = {way: curves[ARKIT_NAMES.index(f"eyeLook{way}{side}")] * GAZE[way] for way in GAZE}
    outward = value["Out"] - value["In"]
    angles = np.array([value["Down"] - value["Up"], outward if side == "Right" else -outward])
    # about y, a positive angle turns a look at the camera (-z) to the image's left
    return Rotation.from_euler("xy", np.arcsin(np.sin(angles) * IRIS_RADIUS / radius)).as_matrix()
