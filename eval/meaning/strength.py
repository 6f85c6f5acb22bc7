"""How much of what the face does reaches the mesh, against another detector's landmarks of real footage.

    python -m selftrack.eval.meaning.strength TRACK LANDMARKS.npy

TRACK is a folder of `track`; LANDMARKS.npy has (T,478,2+) points of MediaPipe's scheme, pixels, NaN where there is no
face. The mesh's points and these are turned upright by the outer eye corners and divided by their distance, so that
pose hardly enters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer

from selftrack.command import run
from selftrack.decoders.base import SurfacePoints
from selftrack.decoders.landmarks import CHIN, INNER_LIPS, OUTER_EYE_CORNERS, POINTS
from selftrack.errors import UserError
from selftrack.io import markdown_table
from selftrack.tracker import load
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.track_file import Track

LEAST = 4.0
"""% IOD: a feature whose detected range is smaller says nothing."""
_LIDS = {"right": ((160, 144), (158, 153)), "left": ((385, 380), (387, 373))}
_BROWS = {"right": ((105, 66), (33, 133)), "left": ((334, 296), (362, 263))}
_CORNERS, _LIPS, _NOSE = (61, 291), (0, 17), 2  # the mouth's corners, the lips' outer middles, under the nose


class Strength(NamedTuple):
    """Of one feature."""

    range: float
    """Of the detected motion, 5th to 95th percentile, % IOD."""
    slope: float
    """Of the regression of the mesh's motion on the detected one; 1 is full strength."""
    r: float
    """Their correlation."""


def upright(points: np.ndarray) -> np.ndarray:
    """Points (T,478,2) about the middle of the outer eye corners, which lie on the x axis, in % IOD."""
    right, left = (points[:, i] for i in OUTER_EYE_CORNERS)
    across = left - right
    length = np.linalg.norm(across, axis=1)
    c, s = (across / length[:, None]).T
    turn = np.stack([np.stack([c, s], -1), np.stack([-s, c], -1)], -2)
    return 100 * (points - (right + left)[:, None] / 2) @ turn.transpose(0, 2, 1) / length[:, None, None]


def features(points: np.ndarray) -> dict[str, np.ndarray]:
    """Features (T,) by name of upright points (T,478,2)."""

    def apart(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(points[:, a] - points[:, b], axis=1)

    x, y = points[..., 0], points[..., 1]
    found = {f"{side} lids": np.mean([apart(*pair) for pair in pairs], 0) for side, pairs in _LIDS.items()}
    found |= {f"{side} brow": y[:, up].mean(1) - y[:, low].mean(1) for side, (up, low) in _BROWS.items()}
    corners = list(_CORNERS)
    return found | {
        "lip gap": apart(*INNER_LIPS),
        "mouth width": apart(*_CORNERS),
        "mouth corners": y[:, corners].mean(1) - y[:, list(_LIPS)].mean(1),
        "mouth sideways": x[:, corners].mean(1) - x[:, _NOSE],
        "upper lip": y[:, _LIPS[0]] - y[:, _NOSE],
        "lower lip": y[:, _LIPS[1]] - y[:, _NOSE],
        "chin": y[:, CHIN] - y[:, _NOSE],
    }


def strength(mesh: np.ndarray, detected: np.ndarray, ok: np.ndarray) -> dict[str, Strength]:
    """Measure each feature.

    Args:
        mesh: (T,478,2) where the mesh has the detector's points, pixels.
        detected: (T,478,2) where a detector has them, NaN where it found no face.
        ok: (T,) bool, the frames that count.
    """
    ok = ok & np.isfinite(detected).all((1, 2))
    ours, theirs = (features(upright(points[ok].astype(float))) for points in (mesh, detected))
    found = {}
    for name in theirs:
        x, y = theirs[name] - theirs[name].mean(), ours[name] - ours[name].mean()
        low, high = np.percentile(theirs[name], [5, 95])
        found[name] = Strength(float(high - low), float(x @ y / (x @ x)), float(x @ y / np.sqrt((x @ x) * (y @ y))))
    return found


def mean_strength(found: dict[str, Strength]) -> tuple[float, float]:
    """Mean slope and correlation of the features that move; NaN where none does."""
    moving = [one for one in found.values() if one.range >= LEAST]
    if not moving:
        return float("nan"), float("nan")
    return float(np.mean([one.slope for one in moving])), float(np.mean([one.r for one in moving]))


@torch.no_grad()
def mesh_points(track: Track) -> np.ndarray:
    """Find where a track's mesh has the detector's points (T,478,2), image pixels."""
    points = SurfacePoints.landmarks(track.model(), POINTS)
    z, pose = torch.from_numpy(track.z), torch.from_numpy(track.H_image)
    return project(points(z), pose, track.inverse_distance)[..., :2].numpy()


def main(
    folder: Annotated[Path, typer.Argument(help="A folder of `track`.", metavar="TRACK")],
    landmarks: Annotated[Path, typer.Argument(help="Another detector's points (T,478,2) as an .npy.")],
) -> None:
    """Say how much of the motion reaches the mesh."""
    track = load(folder)
    try:
        detected = np.load(landmarks, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{landmarks}: no .npy of points ({error})") from error
    if not isinstance(detected, np.ndarray):
        raise UserError(f"{landmarks}: holds several arrays ({', '.join(detected.files)}); give one of them as an .npy")
    if detected.ndim != 3 or detected.shape[1] != POINTS or len(detected) != len(track):
        raise UserError(f"{landmarks}: expected points ({len(track)},{POINTS},2), got {detected.shape}")
    found = strength(mesh_points(track), detected[..., :2], track.ok)
    rows = [[name, *(f"{value:.2f}" for value in one)] for name, one in found.items()]
    slope, r = mean_strength(found)
    rows.append(["mean of those that move", "", f"{slope:.2f}", f"{r:.2f}"])
    print(markdown_table(["feature", "range, % IOD", "slope", "r"], rows), end="")


if __name__ == "__main__":
    run("python -m selftrack.eval.meaning.strength", strength=main)
