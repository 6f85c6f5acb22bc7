"""OpenFace's CSV of gaze, head pose and landmarks, without its action units and 3-D landmarks.

Conventions of OpenFace 2 (its wiki's "Output Format"; GetPose in LandmarkDetectorFunc.cpp, RotationHelpers.h,
GazeEstimation.cpp): camera frame with x right, y down, z away; pose_T in millimetres; pose_R in radians (pitch, yaw,
roll) of R = Rx Ry Rz, with our signs: positive Rx nods down, positive Ry turns the face to the image's left. Gaze
vectors are in the camera frame, eye 0 is the one at the image's left (the subject's right eye); gaze_angle_x grows
towards the image's right, gaze_angle_y downwards, both are 0 straight into the camera's plane.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.decoders.landmarks import IBUG_68
from selftrack.tracker.export.gaze import gaze_directions
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.geometry.camera import camera_pose, focal_length

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track


def landmarks68(track: Track) -> np.ndarray:
    """Place the 68 points of 300-W on the tracked face: (T,68,2), pixels of the clip."""
    import torch

    from selftrack.decoders.base import SurfacePoints
    from selftrack.tracker.geometry.pose import project

    points = SurfacePoints.landmarks(track.model(), len(IBUG_68))
    with torch.no_grad():
        placed = project(points(torch.from_numpy(track.z)), torch.from_numpy(track.H_image), track.inverse_distance)
        return placed[..., :2].numpy()


@exporter("openface", "{clip}_openface.csv", needs=[Need.ARKIT_CURVES, Need.LANDMARKS], focal=True)
def export_openface(track: Track, path: Path, options: ExportOptions) -> None:
    """Write an OpenFace-style CSV, one row per frame; `success` is 0 where no face was found.

    The depth is the focal length over the scale.
    """
    columns = _columns(track, focal_length(track, options.focal))
    formats = {"frame": "d", "face_id": "d", "success": "d", "timestamp": ".6f", "confidence": ".3f"}
    texts = [[format(v, formats.get(name, ".5f")) for v in values.tolist()] for name, values in columns.items()]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*texts, strict=True))


def _columns(track: Track, focal: float) -> dict[str, np.ndarray]:
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
    points = landmarks68(track)
    return columns | {f"{axis}_{j}": points[:, j, i] for i, axis in enumerate("xy") for j in range(len(IBUG_68))}
