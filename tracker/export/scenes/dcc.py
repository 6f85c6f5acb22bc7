"""Scripts that key a rig in Blender or Maya; the curves are inside, so each is one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.geometry.camera import AXES, camera_pose, focal_length, quaternions

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

ASSETS = Path(__file__).parents[2] / "assets" / "dcc"
_Z_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # x right, y down, z away -> x right, y away, z up


@exporter("blender", "{clip}_blender.py", needs=[Need.ARKIT_CURVES], focal=True)
def export_blender(track: Track, path: Path, options: ExportOptions) -> None:
    """Write a script for Blender: shape keys, rotation quaternions (w, x, y, z), z up, the face towards -y at rest."""
    rotation, _ = camera_pose(track, focal_length(track, options.focal))
    values = np.roll(quaternions(_Z_UP @ rotation @ _Z_UP.T), 1, axis=1)  # w first
    _write("blender", track, path, {"quaternions": values.round(6).tolist()})


@exporter("maya", "{clip}_maya.py", needs=[Need.ARKIT_CURVES], focal=True)
def export_maya(track: Track, path: Path, options: ExportOptions) -> None:
    """Write a script for Maya: blendShape targets and degrees about x, y, z in that order, y up, the face towards z."""
    from scipy.spatial.transform import Rotation

    rotation, _ = camera_pose(track, focal_length(track, options.focal))
    angles = Rotation.from_matrix(rotation * AXES[:, None] * AXES).as_euler("xyz")  # R = Rz Ry Rx
    _write("maya", track, path, {"angles": np.degrees(np.unwrap(angles, axis=0)).round(4).tolist()})


def _write(program: str, track: Track, path: Path, pose: dict[str, list]) -> None:
    curves = {name: values.astype(float).round(5).tolist() for name, values in track.curves().items()}
    data = json.dumps({"times": track.times.round(6).tolist(), "curves": curves} | pose)
    script = (ASSETS / f"{program}.py").read_text(encoding="utf-8")
    path.write_text(script.replace("%%DATA%%", data), encoding="utf-8")
