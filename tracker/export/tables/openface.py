"""OpenFace's CSV of gaze, head pose, landmarks and action units, without its eye landmarks and shape parameters.

Conventions of OpenFace 2 (its wiki's "Output Format"; GetPose in LandmarkDetectorFunc.cpp, RotationHelpers.h,
GazeEstimation.cpp): camera frame with x right, y down, z away; pose_T in millimetres; pose_R in radians (pitch, yaw,
roll) of R = Rx Ry Rz, with our signs: positive Rx nods down, positive Ry turns the face to the image's left. Gaze
vectors are in the camera frame, eye 0 is the one at the image's left (the subject's right eye); gaze_angle_x grows
towards the image's right, gaze_angle_y downwards, both are 0 straight into the camera's plane. 3-D landmarks are in
the camera frame, millimetres.

Action units are OpenFace's in its order, but AU23, for which ARKit has no curve. They are derived: by Melinda Ozel's
"ARKit to FACS: Blendshape Cheat Sheet" (melindaozel.com/arkit-to-facs-cheat-sheet), which leaves two of them open. The
lower lip's shrug is what the chin raiser (AU17) does to it; lips are parted (AU25), as FACS defines it, by the jaw as
far as they do not close over it, or by either lip.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.decoders.landmarks import IBUG_68
from selftrack.tracker.export.gaze import gaze_directions
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.geometry.camera import camera_pose, focal_length
from selftrack.tracker.mapped import pieces
from selftrack.tracker.results.curves import write_pieces

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track


_UNITS = {
    "AU01": ["browInnerUp"],
    "AU02": ["browOuterUpLeft", "browOuterUpRight"],
    "AU04": ["browDownLeft", "browDownRight"],
    "AU05": ["eyeWideLeft", "eyeWideRight"],
    "AU06": ["cheekSquintLeft", "cheekSquintRight"],
    "AU07": ["eyeSquintLeft", "eyeSquintRight"],
    "AU09": ["noseSneerLeft", "noseSneerRight"],
    "AU10": ["mouthUpperUpLeft", "mouthUpperUpRight"],
    "AU12": ["mouthSmileLeft", "mouthSmileRight"],
    "AU14": ["mouthDimpleLeft", "mouthDimpleRight"],
    "AU15": ["mouthFrownLeft", "mouthFrownRight"],
    "AU17": ["mouthShrugLower"],
    "AU20": ["mouthStretchLeft", "mouthStretchRight"],
    "AU25": [],
    "AU26": ["jawOpen"],
    "AU28": ["mouthRollUpper", "mouthRollLower"],
    "AU45": ["eyeBlinkLeft", "eyeBlinkRight"],
}
"""The curves whose mean is an action unit; of AU25 see `action_units`."""
_MOST = 5.0  # FACS's highest intensity, E
_TRACE = 1.0  # its lowest, A, from which a unit counts as present
_WITHOUT_INTENSITY = "AU28"  # OpenFace says of it only whether it is present


def landmarks68(track: Track, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Place the 68 points of 300-W on the tracked face in some frames, by default all: (T,68,3) metres in the head
    frame, (T,68,2) pixels of the clip."""
    import torch

    from selftrack.decoders.base import SurfacePoints
    from selftrack.tracker.geometry.pose import project

    surface = SurfacePoints.landmarks(track.model(), len(IBUG_68))
    with torch.no_grad():
        points = surface(torch.from_numpy(track.z[rows]))
        placed = project(points, torch.from_numpy(track.H_image[rows]), track.inverse_distance)
        return points.numpy(), placed[..., :2].numpy()


def action_units(track: Track) -> dict[str, np.ndarray]:
    """Derive FACS action units from the curves: (T,) by name, 0..5; one side alone counts half."""
    curves = track.curves()
    units = {name: np.mean([curves[c] for c in of], axis=0) for name, of in _UNITS.items() if of}
    lower = (curves["mouthLowerDownLeft"] + curves["mouthLowerDownRight"]) / 2
    units["AU25"] = np.maximum.reduce([curves["jawOpen"] - curves["mouthClose"], lower, units["AU10"]])
    return {name: _MOST * units[name] for name in _UNITS}


@exporter("openface", "{clip}_openface.csv", needs=[Need.ARKIT_CURVES, Need.LANDMARKS], focal=True)
def export_openface(track: Track, path: Path, options: ExportOptions) -> None:
    """Write an OpenFace-style CSV, one row per frame; `success` is 0 where no face was found.

    The depth is the focal length over the scale.
    """
    formats = {"frame": "d", "face_id": "d", "success": "d", "timestamp": ".6f", "confidence": ".3f"}
    formats |= {f"{name}_c": "d" for name in _UNITS}

    def text(name: str, values: np.ndarray) -> list[str]:
        return [format(v, formats.get(name, ".5f")) for v in values.tolist()]

    write_pieces(path, _pieces(track, focal_length(track, options.focal)), text, "\n")


def _pieces(track: Track, focal: float) -> Iterator[dict[str, np.ndarray]]:
    """All columns, of some rows at a time: the points of an hour would take half a gigabyte."""
    from scipy.spatial.transform import Rotation

    rotation, translation = camera_pose(track, focal)
    eyes = gaze_directions(track)[:, ::-1]  # the subject's right eye first
    gaze = np.einsum("tij,tej->tei", rotation, eyes)
    mean = gaze.mean(axis=1)
    columns = {
        "frame": np.arange(1, len(track) + 1),
        "face_id": np.zeros(len(track), int),
        "timestamp": track.times,
        "confidence": track.confidence,
        "success": track.ok.astype(int),
    }
    columns |= {f"gaze_{eye}_{axis}": gaze[:, eye, i] for eye in (0, 1) for i, axis in enumerate("xyz")}
    columns |= {f"gaze_angle_{axis}": np.arctan2(mean[:, i], -mean[:, 2]) for i, axis in enumerate("xy")}
    columns |= {f"pose_T{axis}": 1000 * translation[:, i] for i, axis in enumerate("xyz")}
    angles = Rotation.from_matrix(rotation).as_euler("XYZ")  # R = Rx Ry Rz
    columns |= {f"pose_R{axis}": angles[:, i] for i, axis in enumerate("xyz")}
    units = action_units(track)
    behind = {f"{name}_r": values for name, values in units.items() if name != _WITHOUT_INTENSITY}
    behind |= {f"{name}_c": (values >= _TRACE).astype(int) for name, values in units.items()}
    for rows in pieces(track.times):
        points, pixels = landmarks68(track, rows)
        placed = 1000 * (np.einsum("tij,tlj->tli", rotation[rows], points) + translation[rows, None])
        at = {f"{axis}_{j}": pixels[:, j, i] for i, axis in enumerate("xy") for j in range(len(IBUG_68))}
        at |= {f"{axis}_{j}": placed[:, j, i] for i, axis in enumerate("XYZ") for j in range(len(IBUG_68))}
        yield {
            **{name: values[rows] for name, values in columns.items()},
            **at,
            **{name: values[rows] for name, values in behind.items()},
        }
