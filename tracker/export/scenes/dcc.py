"""Scripts for Blender and Maya; the performance is inside, so each is one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selftrack.tracker.export.gaze import gaze_rotations
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import FORMATS, Need, exporter
from selftrack.tracker.export.timing import frame_rate
from selftrack.tracker.geometry.camera import AXES, camera_pose, focal_length, quaternions
from selftrack.tracker.sources.names import source_name

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

ASSETS = Path(__file__).parents[2] / "assets" / "dcc"
_Z_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # x right, y down, z away -> x right, y away, z up


@exporter("blender", "{clip}_blender.py", needs=[Need.ARKIT_CURVES], focal=True)
def export_blender(track: Track, path: Path, options: ExportOptions) -> None:
    """Write a script for Blender: curves, rotations as quaternions (w, x, y, z), z up, the face towards -y at rest; and
    what the scene of the clip's .glb needs."""
    scene = _scene(track, path, options) | {"glb": _file(track, "glb")}
    _write("blender", track, path, _rotations(track, options, _z_up_quaternions) | scene)


@exporter("maya", "{clip}_maya.py", needs=[Need.ARKIT_CURVES], focal=True)
def export_maya(track: Track, path: Path, options: ExportOptions) -> None:
    """Write a script for Maya: curves, rotations as degrees about x, y, z in that order, y up, the face towards z; and
    what the scene of the clip's .fbx or .usdz needs."""
    folder = (options.home or path.parent).resolve().as_posix()
    scene = _scene(track, path, options) | {"heads": [_file(track, "fbx"), _file(track, "usd")], "folder": folder}
    _write("maya", track, path, _rotations(track, options, _y_up_angles) | scene)


def _scene(track: Track, path: Path, options: ExportOptions) -> dict[str, Any]:
    """The clip's rate and size, and where it is from the script."""
    clip = options.relative(Path(track.clip), path)
    return {"rate": frame_rate(track.times), "size": track.size, "clip": clip}


def _file(track: Track, to: str) -> str:
    """What the clip's file of a format is called."""
    return FORMATS[to].file.format(clip=source_name(track.clip))


def _z_up_quaternions(rotation: np.ndarray) -> np.ndarray:
    """Of rotations (T,3,3) in our axes, w first: (T,4)."""
    return np.roll(quaternions(_Z_UP @ rotation @ _Z_UP.T), 1, axis=1).round(6)


def _y_up_angles(rotation: np.ndarray) -> np.ndarray:
    """Of rotations (T,3,3) in our axes, degrees that do not jump: (T,3)."""
    from scipy.spatial.transform import Rotation

    angles = Rotation.from_matrix(rotation * AXES[:, None] * AXES).as_euler("xyz")  # R = Rz Ry Rx
    return np.degrees(np.unwrap(angles, axis=0)).round(4)


def _rotations(track: Track, options: ExportOptions, written: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """The turns of the head in the camera's frame, and of the left and the right eye in the head's."""
    rotation, _ = camera_pose(track, focal_length(track, options.focal))
    return {"head": written(rotation), "eyes": [written(eye) for eye in np.moveaxis(gaze_rotations(track), 1, 0)]}


def _write(program: str, track: Track, path: Path, more: dict[str, Any]) -> None:
    curves = {name: values.astype(float).round(5) for name, values in track.curves().items()}
    script = (ASSETS / f"{program}.py").read_text(encoding="utf-8")
    before, after = script.split("%%DATA%%")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before)
        file.writelines(_json({"times": track.times.round(6), "curves": curves} | more))
        file.write(after)


def _json(value: Any) -> Iterator[str]:
    """What `json.dumps` makes of a value with arrays in it, one of these after the other: as Python's numbers, those of
    an hour would take half a gigabyte."""
    if isinstance(value, dict):
        yield "{"
        for number, (name, part) in enumerate(value.items()):
            yield f"{', ' if number else ''}{json.dumps(name)}: "
            yield from _json(part)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, part in enumerate(value):
            yield ", " if number else ""
            yield from _json(part)
        yield "]"
    else:
        yield json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
