"""OpenFace's CSV of gaze, head pose and landmarks, without its action units and 3-D landmarks.

Conventions of OpenFace 2 (its wiki's "Output Format"; GetPose in LandmarkDetectorFunc.cpp, RotationHelpers.h,
GazeEstimation.cpp): camera frame with x right, y down, z away; pose_T in millimetres; pose_R in radians (pitch, yaw,
roll) of R = Rx Ry Rz, with our signs: positive Rx nods down, positive Ry turns the face to the image's left. Gaze
vectors are in the camera frame, eye 0 is the one at the image's left (the subject's right eye); gaze_angle_x grows
towards the image's right, gaze_angle_y downwards, both are 0 straight into the camera's plane.
"""

import csv
from pathlib import Path

import numpy as np
import torch

from selftrack.decoders.base import SurfacePoints
from selftrack.tracker.export.gaze import gaze_directions
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.geometry.camera import camera_pose, focal_length
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.track_file import Track


def euler_xyz(matrix: np.ndarray) -> np.ndarray:
    """The angles (T,3) of R = Rx Ry Rz for rotations (T,3,3), radians."""
    rx = np.arctan2(-matrix[:, 1, 2], matrix[:, 2, 2])
    ry = np.arcsin(matrix[:, 0, 2].clip(-1, 1))
    rz = np.arctan2(-matrix[:, 0, 1], matrix[:, 0, 0])
    return np.stack([rx, ry, rz], axis=1)


def landmarks68(track: Track) -> np.ndarray:
    """The 68 points of 300-W on the tracked face (T,68,2), pixels of the clip."""
    head = SurfacePoints.landmarks(track.model(), 68)
    with torch.no_grad():
        points = head(torch.from_numpy(track.z))
        return project(points, torch.from_numpy(track.H_image), track.inverse_distance)[..., :2].numpy()


def export_openface(track: Track, path: Path, options: ExportOptions) -> None:
    """OpenFace-style CSV, one row per frame; `success` is 0 where no face was found. Depth is focal length / scale."""
    columns = _columns(track, focal_length(track, options.focal))
    formats = {"frame": "d", "face_id": "d", "success": "d", "timestamp": ".6f", "confidence": ".3f"}
    texts = [[format(v, formats.get(name, ".5f")) for v in values.tolist()] for name, values in columns.items()]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*texts, strict=True))


def _columns(track: Track, focal: float) -> dict[str, np.ndarray]:
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
    columns |= {f"pose_R{axis}": euler_xyz(rotation)[:, i] for i, axis in enumerate("xyz")}
    points = landmarks68(track)
    return columns | {f"{axis}_{j}": points[:, j, i] for i, axis in enumerate("xy") for j in range(68)}
