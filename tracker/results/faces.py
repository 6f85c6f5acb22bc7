"""`faces.png`: who is in a clip, with the numbers that `--face` takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from selftrack.tracker.landmarks.cast import CastFace

NAME = "faces.png"
_SIDE, _SHOWN, _LINE = 160, 5, 28  # pixels of a picture, pictures of a face, pixels of a line of words
_FONT, _INK = cv2.FONT_HERSHEY_SIMPLEX, (30, 30, 30)


def contact_sheet(faces: Sequence[CastFace]) -> np.ndarray:
    """Show some pictures of each face under its number: (H,W,3) uint8 RGB, a row of pictures for each face."""
    rows = [np.concatenate([_words(number, face), _pictures(face)]) for number, face in enumerate(faces)]
    return np.concatenate(rows)


def write_faces(faces: Sequence[CastFace], folder: Path) -> Path:
    """Write `faces.png` into a folder."""
    path = Path(folder) / NAME
    cv2.imwrite(str(path), contact_sheet(faces)[..., ::-1])
    return path


def _words(number: int, face: CastFace) -> np.ndarray:
    line = np.full((_LINE, _SHOWN * _SIDE, 3), 255, np.uint8)
    return cv2.putText(line, f"--face {number}: {face}", (8, 20), _FONT, 0.55, _INK, 1, cv2.LINE_AA)


def _pictures(face: CastFace) -> np.ndarray:
    """A row of crops (160,800,3) spread over the face's samples."""
    out = np.full((_SIDE, _SHOWN * _SIDE, 3), 255, np.uint8)
    rows = np.unique(np.linspace(0, len(face.samples) - 1, _SHOWN).round().astype(int))
    for place, row in enumerate(rows.tolist()):
        picture = cv2.resize(face.samples[row][0], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        out[:, place * _SIDE : (place + 1) * _SIDE] = picture
    return out
