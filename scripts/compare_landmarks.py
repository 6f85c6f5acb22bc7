"""Compares the bundled landmarks with those of MediaPipe's current model on a clip.

The model is `face_landmarker_v2.task`, which is in no package registry and not part of this project. Run as
`python scripts/compare_landmarks.py CLIP face_landmarker_v2.task`. It prints Pearson's correlation through
time of the eye aspect ratio and of the lip gap, the mean distance between the points, and the shake of both.
"""

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import torch

from selftrack.decoders.landmarks import INNER_LIPS, LEFT_EYE, OUTER_EYE_CORNERS, RIGHT_EYE
from selftrack.tracker.geometry import crop
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.litert import LiteSession
from selftrack.tracker.landmarks.search import DetectConfig

EYES = {"right eye": RIGHT_EYE, "left eye": LEFT_EYE}


class CurrentModel:
    """MediaPipe's current 478-point model under LiteRT, followed from frame to frame by its own points."""

    def __init__(self, task: Path) -> None:
        with zipfile.ZipFile(task) as bundle:
            self._session = LiteSession(bundle.read("face_landmarks_detector.tflite"))
        self._size = self._session.input_shapes[0][1]
        self._points: np.ndarray | None = None

    def __call__(self, frame: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Points (478, 2) of a frame, image pixels; `start` (L, 2) places the region of the first one."""
        region = crop.face_similarity(start if self._points is None else self._points, self._size)
        image = crop.warp(frame, region, self._size)[None].astype(np.float32) / 255
        outputs = self._session({self._session.inputs[0]: image})
        raw = next(value for value in outputs.values() if value.size == 478 * 3)
        points = raw.reshape(478, 3)[:, :2] - 0.5  # the model counts from the corner of the first pixel
        self._points = crop.apply(crop.invert(region), points)
        return self._points


def frames(clip: Path) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 RGB."""
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _distance(points: np.ndarray, first: int, second: int) -> np.ndarray:
    return np.linalg.norm(points[:, first] - points[:, second], axis=-1)


def eye_aspect_ratio(points: np.ndarray, eye: tuple[int, ...]) -> np.ndarray:
    """Height over width of an eye (T,) for points (T, 478, 2)."""
    outer, upper1, upper2, inner, lower2, lower1 = eye
    height = _distance(points, upper1, lower1) + _distance(points, upper2, lower2)
    return height / (2 * _distance(points, outer, inner))


def shake(points: np.ndarray) -> float:
    """Median over time and points of the second difference of positions (T, L, 2), in % IOD."""
    second = np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=-1)
    return float(100 * np.median(second / _distance(points, *OUTER_EYE_CORNERS)[1:-1, None]))


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Figures for two tracks (T, 478, 2) of the same frames."""
    ratios = {name: [eye_aspect_ratio(track, eye) for track in (ours, theirs)] for name, eye in EYES.items()}
    ratios["both eyes"] = [sum(pair) for pair in zip(*ratios.values(), strict=True)]
    iod = [_distance(track, *OUTER_EYE_CORNERS) for track in (ours, theirs)]
    ratios["lip gap"] = [_distance(track, *INNER_LIPS) / unit for track, unit in zip((ours, theirs), iod, strict=True)]
    figures = {f"correlation, {name}": float(np.corrcoef(*pair)[0, 1]) for name, pair in ratios.items()}
    apart = np.linalg.norm(ours - theirs, axis=-1) / iod[1][:, None]
    return figures | {
        "mean distance, % IOD": float(100 * apart.mean()),
        "shake of ours, % IOD": shake(ours),
        "shake of theirs, % IOD": shake(theirs),
    }


def main(clip: Path, task: Path) -> None:
    """Tracks a clip twice and prints the comparison."""
    follower, current = AttentionMesh(torch.device("cpu")).follower(DetectConfig()), CurrentModel(task)
    ours, theirs = [], []
    for frame in frames(clip):
        found = follower(frame)
        if found is not None:
            ours.append(found.points)
            theirs.append(current(frame, found.points))
    print(f"{clip.name}: {len(ours)} frames with a face")
    for name, value in compare(np.stack(ours), np.stack(theirs)).items():
        print(f"{name:26} {value:7.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
