"""What every capture offers, and the geometry of its cameras.

World and camera frames: metres, a camera looks along its +z, x right, y down (OpenCV). Head frame: as everywhere,
metres, x to the image's right at rest, y down, z away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from selftrack.decoders.base import Topology


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; pixels as everywhere, the centre of the first at (0, 0)."""

    name: str
    intrinsics: np.ndarray  # (3,3) pixels
    extrinsics: np.ndarray  # (3,4) from the world to the camera, metres

    @property
    def centre(self) -> np.ndarray:
        """(3,) in the world."""
        return -self.extrinsics[:, :3].T @ self.extrinsics[:, 3]


class Capture(Protocol):
    """One person before C cameras at N frames. Frames and cameras are named by their index."""

    topology: Topology
    cameras: tuple[Camera, ...]
    frames: tuple[str, ...]
    missing: tuple[str, ...]
    """Parts that should be there and are not, one line each; the rest can be used."""

    def views(self, frame: int) -> tuple[int, ...]:
        """List the cameras that have this frame's texture."""

    def vertices(self, frame: int) -> np.ndarray:
        """Read the mesh (V,3) float32, metres, head frame."""

    def view(self, frame: int, camera: int) -> np.ndarray:
        """Compute the unit vector (3,) float32 from the head's origin to a camera, head frame."""

    def project(self, frame: int, camera: int, points: np.ndarray) -> np.ndarray:
        """Project head-frame points (L,3) into a camera's picture: (L,3) float32, x, y and depth in its pixels."""

    def image(self, frame: int, camera: int) -> np.ndarray:
        """Read a picture (H,W,3) uint8 RGB."""

    def texture(self, frame: int, camera: int, size: int) -> np.ndarray:
        """Read the texture (size,size,3) uint8 RGB, unwrapped from that camera's image; black texels are holes."""

    def average(self, frame: int, size: int) -> np.ndarray:
        """Compute (size,size,3) uint8 RGB, the mean of the frame's textures; black texels are holes."""

    def mean_vertices(self) -> np.ndarray:
        """Compute the (V,3) float32 mean mesh, metres, head frame."""

    def mean_texture(self, size: int) -> np.ndarray:
        """Compute the (size,size,3) uint8 RGB mean of all textures; black texels show in none of them."""


class Calibrated:
    """What follows from calibrated cameras and the pose of the head."""

    cameras: tuple[Camera, ...]

    def head(self, frame: int) -> np.ndarray:
        """Give the motion (3,4) from the head frame to the world, metres."""
        raise NotImplementedError

    def view(self, frame: int, camera: int) -> np.ndarray:
        """See `Capture`."""
        return view_direction(self, frame, camera)

    def project(self, frame: int, camera: int, points: np.ndarray) -> np.ndarray:
        """See `Capture`."""
        return in_camera(self, frame, camera, points)


def view_direction(capture: Calibrated, frame: int, camera: int) -> np.ndarray:
    """Compute the unit vector (3,) float32 from the head's origin to a camera, in the head frame."""
    head = capture.head(frame)
    towards = head[:, :3].T @ (capture.cameras[camera].centre - head[:, 3])
    return (towards / np.linalg.norm(towards)).astype(np.float32)


def in_camera(capture: Calibrated, frame: int, camera: int, points: np.ndarray) -> np.ndarray:
    """Project head-frame points (L,3) into a camera's picture: (L,3) float32, x and y in pixels, and depth as far as x
    and y are magnified at the head's origin."""
    head, at = capture.head(frame), capture.cameras[camera]
    rotation = at.extrinsics[:, :3] @ head[:, :3]
    place = at.extrinsics[:, :3] @ head[:, 3] + at.extrinsics[:, 3]
    placed = points @ rotation.T + place
    flat = (placed / placed[:, 2:]) @ at.intrinsics.T
    flat[:, 2] = (placed[:, 2] - place[2]) * at.intrinsics[0, 0] / place[2]
    return flat.astype(np.float32)


def mean_of(textures: list[np.ndarray]) -> np.ndarray:
    """Average textures (T,T,3) uint8, texel by texel over those without a hole there: (T,T,3) uint8."""
    total = np.zeros(textures[0].shape, np.float32)
    count = np.zeros(textures[0].shape[:2], np.float32)
    for texture in textures:
        total += texture
        count += texture.any(2)
    return np.round(total / np.maximum(count, 1)[..., None]).astype(np.uint8)
