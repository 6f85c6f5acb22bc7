"""Where the detector's points lie on a capture's mesh, found without hand work: detected in pictures, lifted through
the z-buffer."""

from __future__ import annotations

import numpy as np
import torch

from selftrack.decoders.base import Embedding
from selftrack.decoders.capture import Capture
from selftrack.decoders.landmarks import POINTS
from selftrack.errors import UserError
from selftrack.tracker.characters.placing import nearest_to_median
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.results.skin_points import pin

FACING = 0.8
"""Cosine between the face's front and a camera, from which on that is used."""


def place_landmarks(capture: Capture, pictures: int = 24) -> Embedding:
    """Find the detector's 478 points on the surface, in pictures of different frames by the cameras before the face.

    Of a point's positions in all pictures the one nearest to their median counts.

    Raises:
        UserError: the detector finds no face in any picture.
    """
    follower, faces = AttentionMesh(torch.device("cpu")).follower(DetectConfig()), capture.topology.faces
    mean = capture.mean_vertices()
    corners, weights = [], []
    for frame in np.unique(np.linspace(0, len(capture.frames) - 1, pictures).astype(int)).tolist():
        front = [view for view in capture.views(frame) if -capture.view(frame, view)[2] > FACING]
        if not front:
            continue
        camera = front[frame % len(front)]
        image = capture.image(frame, camera)
        found = follower.detect_once(image)
        if found is None:
            continue
        placed = capture.project(frame, camera, capture.vertices(frame))
        pins = pin(found.points, placed, faces, image.shape[:2])
        # beside the mesh, as in the holes of eyes: the nearest vertex
        nearest = np.linalg.norm(found.points[:, None] - placed[:, :2], axis=2).argmin(1)
        at, share = nearest[:, None].repeat(3, 1), np.tile([1.0, 0, 0], (POINTS, 1))
        at[pins.hit], share[pins.hit] = pins.corners, pins.weights
        corners.append(at)
        weights.append(share)
    if not corners:
        raise UserError("the detector found no face in the capture's pictures, so its points cannot be placed")
    chosen = nearest_to_median(mean, np.stack(corners), np.stack(weights))
    return Embedding(torch.from_numpy(chosen[0]).long(), torch.from_numpy(chosen[1]).float())
