"""Where the landmark detector's points lie on a rig, found without hand work: people of the rig are filmed, the
detector runs on the frames, and its points are lifted to the surface through the z-buffer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.landmarks import MESH_POINTS, POINTS
from selftrack.errors import UserError
from selftrack.synthetic.cameras import project, rotation_matrix
from selftrack.synthetic.rigs.film import Film, FilmConfig
from selftrack.synthetic.rigs.rig import Rig
from selftrack.tracker.characters.placing import nearest_to_median
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.results.skin_points import pin

PEOPLE, FRAMES = 8, 16
FACING = 0.35
"""Cosine between a triangle and the camera under which a lifted point does not count."""
OPEN = {"jawOpen": 0.22, "mouthUpperUpLeft": 0.25, "mouthUpperUpRight": 0.25}
"""The mouth is a little open, so that points of the upper and the lower lip do not fall on one another."""
_FILM = FilmConfig(size=384, distance=(0.8, 1.5), yaw=(0.2, 0.5), pitch=0.2, noise=(0.004, 0.008))


def place_points(rig: Rig, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Find the detector's points on a rig: corners (478,3) of the triangles that they are in, and weights (478,3).

    Of a point's places in all frames the one nearest to their median counts. Those of the irises lie on the eyes, the
    others on the skin.

    Raises:
        UserError: the detector finds no face.
    """
    follower = AttentionMesh(torch.device("cpu")).follower(DetectConfig())
    curves = np.tile([OPEN.get(name, 0.0) for name in ARKIT_NAMES], (FRAMES, 1))
    corners, weights = [], []
    for number in range(PEOPLE):
        rng = np.random.default_rng([seed, number])
        person = replace(rig.person(rng.normal(0, 0.8, len(rig.identity))), identity=rig.identity[:0])
        performance, frames = Film(person, _FILM).shoot(rng, curves, np.arange(FRAMES) * 1.0)
        vertices = person.vertices(curves[0])
        for row, image in enumerate(frames):
            found = follower.detect_once(image)
            if found is None:
                continue
            placed = vertices @ rotation_matrix(performance.angles[row]).T + performance.position[row]
            flat = project(placed, performance.focal, performance.size)
            at, share = np.zeros((POINTS, 3), int), np.full((POINTS, 3), np.nan)
            for rows, part in (
                (np.arange(MESH_POINTS), rig.skin),
                (np.arange(MESH_POINTS, POINTS), rig.moist if rig.moist.any() else rig.skin),
            ):
                triangles = rig.faces[part & (_facing(placed, rig.faces) > FACING)]
                pins = pin(found.points[rows], flat, triangles, image.shape[:2])
                at[rows[pins.hit]], share[rows[pins.hit]] = pins.corners, pins.weights
            corners.append(at)
            weights.append(share)
    if not corners:
        raise UserError("the detector found no face on the rig, so its points cannot be placed; look at its picture")
    return nearest_to_median(rig.neutral, np.stack(corners), np.stack(weights))


def _facing(placed: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Cosine (F,) between triangles and the ray to the camera, of whatever winding."""
    a, b, c = placed[faces].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(a, axis=1)
    return np.abs((normal * a).sum(1)) / np.maximum(lengths, 1e-12)
