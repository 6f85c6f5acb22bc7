"""FLAME's parameters and the clip's frames in the folder that GaussianAvatars trains from, as VHAP writes it.

    flame_param/00000.npz ...     translation, rotation, neck_pose, jaw_pose (1,3), eyes_pose (1,6), shape (300,),
                                  expr (1,100), static_offset (1,5143,3): 0, of FLAME's vertices and 120 of teeth
    canonical_flame_param.npz     the same at rest, the mouth open
    images/00000_00.png ...       the frames, where the clip is still there
    transforms*.json              the camera, camera to world in OpenGL's axes, by frame: all, train, val (none), test
    fit.json                      how far the fitted landmarks are from the track's

Metres; the world is where the head is in the mean. Only frames with a face are there, numbered from 0.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from selftrack.errors import UserError
from selftrack.io import zip_member
from selftrack.tracker.export.gaze import gaze_rotations
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.tables.openface import landmarks68
from selftrack.tracker.geometry.camera import AXES, camera_pose, focal_length
from selftrack.tracker.progress import Steps, counted

if TYPE_CHECKING:
    from selftrack.tracker.export.flame._fit import FlameTake
    from selftrack.tracker.results.track_file import Track

_OFFSETS = 5143
_TRAINED = 0.7  # of the frames, from the first on; VHAP's own share
_OPEN = 0.3  # radians, of the jaw in the canonical pose


@exporter(
    "flame",
    "{clip}_flame.zip",
    needs=[Need.LANDMARKS, Need.ARKIT_CURVES],
    focal=True,
    asks=["flame", "flame_landmarks"],
)
def export_flame(track: Track, path: Path, options: ExportOptions) -> None:
    """Write an archive of the folder."""
    from scipy.spatial.transform import Rotation

    from selftrack.tracker.export.flame._fit import fit
    from selftrack.tracker.export.flame._model import FlameLandmarks

    assert options.flame and options.flame_landmarks
    flame = FlameLandmarks.read(options.flame, options.flame_landmarks)
    rows = np.flatnonzero(track.ok)
    if not len(rows):
        raise UserError("this track shows no face in any frame; there is nothing to fit FLAME to")
    focal = focal_length(track, options.focal)
    rotation, translation = camera_pose(track, focal)
    points = np.einsum("tij,tlj->tli", rotation, landmarks68(track)[0]) + translation[:, None]
    turns = gaze_rotations(track) * AXES[:, None] * AXES
    eyes = Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 6)
    take = fit(flame, (points * AXES)[rows], eyes[rows])
    with ZipFile(path, "w") as archive:
        _add_images(archive, track, rows, options.progress)
        _add_parameters(archive, take)
        _add_cameras(archive, take, track.size, focal)
        _add_json(archive, "fit", {"landmarks_mm": (1000 * take.error).round(3).tolist(), "rows": rows.tolist()})


def _add_parameters(archive: ZipFile, take: FlameTake) -> None:
    middle = take.translation.mean(axis=0)
    still = np.zeros((1, 3))
    shared = {"shape": take.shape, "static_offset": np.zeros((1, _OFFSETS, 3))}
    for i in range(len(take.translation)):
        own = {
            "translation": take.translation[i : i + 1] - middle,
            "rotation": take.rotation[i : i + 1],
            "neck_pose": still,
            "jaw_pose": take.jaw[i : i + 1],
            "eyes_pose": take.eyes[i : i + 1],
            "expr": take.expression[i : i + 1],
        }
        _add_arrays(archive, f"flame_param/{i:05d}.npz", own | shared)
    jaw, rest = np.array([[_OPEN, 0, 0]]), np.zeros_like(take.expression[:1])
    canonical = {"translation": still, "rotation": still, "neck_pose": still, "jaw_pose": jaw}
    canonical |= {"eyes_pose": np.zeros((1, 6)), "expr": rest}
    _add_arrays(archive, "canonical_flame_param.npz", canonical | shared)


def _add_cameras(archive: ZipFile, take: FlameTake, size: tuple[int, int], focal: float) -> None:
    """The camera looks along its -z from where it is when the head's mean place is the origin."""
    width, height = size
    place = np.eye(4)
    place[:3, 3] = -take.translation.mean(axis=0)
    lens = {
        "cx": width / 2,
        "cy": height / 2,
        "fl_x": focal,
        "fl_y": focal,
        "h": height,
        "w": width,
        "camera_angle_x": 2 * float(np.arctan(width / 2 / focal)),
        "camera_angle_y": 2 * float(np.arctan(height / 2 / focal)),
    }
    frames = [
        {
            "timestep_index": i,
            "timestep_index_original": i,
            "timestep_id": f"{i:05d}",
            "camera_index": 0,
            "camera_id": "0",
            **lens,
            "transform_matrix": place.tolist(),
            "file_path": f"images/{i:05d}_00.png",
            "flame_param_path": f"flame_param/{i:05d}.npz",
        }
        for i in range(len(take.translation))
    ]
    trained = int(np.ceil(_TRAINED * len(frames)))
    for name, some in {
        "transforms": frames,
        "transforms_train": frames[:trained],
        "transforms_val": [],
        "transforms_test": frames[trained:],
    }.items():
        steps = [frame["timestep_index"] for frame in some]
        _add_json(archive, name, lens | {"frames": some, "timestep_indices": steps, "camera_indices": [0]})


def _add_images(archive: ZipFile, track: Track, rows: np.ndarray, progress: Steps) -> None:
    """Add the clip's frames of these rows, if the clip is there."""
    import cv2

    from selftrack.tracker.results.clip import has_clip, open_clip

    if not has_clip(track):
        return
    number = {int(row): i for i, row in enumerate(rows)}
    with open_clip(track) as source:
        for row, frame in enumerate(counted(source.frames(), len(track), progress)):
            if row in number:
                data = cv2.imencode(".png", np.ascontiguousarray(frame.image[..., ::-1]))[1].tobytes()
                archive.writestr(zip_member(f"images/{number[row]:05d}_00.png"), data)


def _add_arrays(archive: ZipFile, name: str, arrays: dict[str, np.ndarray]) -> None:
    file = io.BytesIO()
    np.savez(file, **{key: values.astype(np.float32) for key, values in arrays.items()})  # type: ignore[arg-type]
    archive.writestr(zip_member(name, ZIP_DEFLATED), file.getvalue())


def _add_json(archive: ZipFile, name: str, content: dict[str, Any]) -> None:
    archive.writestr(zip_member(f"{name}.json", ZIP_DEFLATED), json.dumps(content, indent=1))
