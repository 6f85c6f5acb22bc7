"""Scripts that key a rig in Blender or Maya; the curves are inside, so each is one file."""

import json
from pathlib import Path

import numpy as np
import torch

from selftrack.tracker.export.glb import AXES, quaternions
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.geometry.camera import camera_pose, focal_length
from selftrack.tracker.geometry.pose import angles_of
from selftrack.tracker.results.track_file import Track

ASSETS = Path(__file__).parents[1] / "assets" / "dcc"
_Z_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # x right, y down, z away -> x right, y away, z up


def export_blender(track: Track, path: Path, options: ExportOptions) -> None:
    """A script for Blender: shape keys, and rotation quaternions (w, x, y, z), z up, the face towards -y at rest."""
    turn, _ = camera_pose(track, focal_length(track, options.focal))
    turns = np.roll(quaternions(_Z_UP @ turn @ _Z_UP.T), 1, axis=1)
    _write("blender", track, path, {"quaternions": turns.round(6).tolist()})


def export_maya(track: Track, path: Path, options: ExportOptions) -> None:
    """A script for Maya: blendShape targets, and degrees about x, y, z in that order, y up, the face towards z."""
    turn, _ = camera_pose(track, focal_length(track, options.focal))
    angles = angles_of(torch.from_numpy(turn * AXES[:, None] * AXES)).numpy()
    _write("maya", track, path, {"angles": np.degrees(np.unwrap(angles, axis=0)).round(4).tolist()})


def _write(program: str, track: Track, path: Path, pose: dict[str, list]) -> None:
    curves = {name: values.astype(float).round(5).tolist() for name, values in track.curves().items()}
    data = json.dumps({"times": track.times.round(6).tolist(), "curves": curves} | pose)
    script = (ASSETS / f"{program}.py").read_text(encoding="utf-8")
    path.write_text(script.replace("%%DATA%%", data), encoding="utf-8")
