"""The person of a photo, looked for among the faces of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selftrack.errors import UserError
from selftrack.tracker.identity.descriptor import Sample, describe, distance, is_legible
from selftrack.tracker.landmarks.base import LandmarkSource
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.sources.images import read_picture

_DESCRIBED = 8
"""Pictures of a face of a clip that are compared with a photo."""


def describe_photo(path: Path | str, landmarks: LandmarkSource, config: DetectConfig) -> np.ndarray:
    """Describe the one face of a photo: (128,).

    Raises:
        UserError: it cannot be read, or shows no face, one that is too small or in profile, or several.
    """
    picture = read_picture(Path(path))
    faces = landmarks.faces(picture, config)
    if not faces:
        raise UserError(
            f"{path}: no face was found in this photo; give one that shows the person's face from the front"
        )
    if len(faces) > 1:
        raise UserError(f"{path}: {len(faces)} faces were found in this photo; cut it to the one to follow")
    if not is_legible(faces[0].points):
        raise UserError(
            f"{path}: the face in this photo is too small or turned away too far; give a larger one, frontal"
        )
    return describe([(picture, faces[0].points)])[0]


def distances(photo: np.ndarray, faces: Sequence[Sequence[Sample]]) -> np.ndarray:
    """How far the descriptor of a photo (128,) is from each of N faces, which have some pictures each: (N,)."""
    return np.array([float(distance(photo, describe(_some(samples)).mean(0))) for samples in faces])


def _some(samples: Sequence[Sample]) -> list[Sample]:
    rows = np.unique(np.linspace(0, len(samples) - 1, _DESCRIBED).round().astype(int))
    return [samples[row] for row in rows]
