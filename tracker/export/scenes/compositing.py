"""The head's motion for compositing: Nuke's channel file (.chan) and script (.nk), and After Effects' keyframe text.

All are described by what the programs write themselves. A channel file has a line a frame, `frame tx ty tz rx ry rz
vfov`: degrees, rotations in the order of the node that reads it, which for a camera or an axis is ZXY at first, so
that R = Ry Rx Rz (Foundry, Nuke's user guide, "Applying Tracks to an Object"; Blender's manual, "Nuke Animation").
A script is Tcl: a class of node and its knobs in braces, an animated knob as a curve of frames and values.
After Effects' text is what its Edit > Copy puts on the clipboard for selected keyframes: sections of one property
each, a line a key; pixels from the top-left corner of the frame, degrees clockwise, percent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.timing import frame_rate
from selftrack.tracker.geometry.camera import focal_length

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_NEAR = 0.05  # of a frame; a key is put on one that it all but stands on, where a container rounds to milliseconds
_FIRST = 1  # Nuke's own number of a clip's first frame
_HAPERTURE = 36.0  # millimetres across a full frame, to which a focal length in millimetres belongs


@exporter("nuke", "{clip}.chan", focal=True)
def export_nuke(track: Track, path: Path, options: ExportOptions) -> None:
    """Write a channel file of the head: metres, y up, before a camera at the origin that looks along -z; ZXY."""
    keys = _head_keys(track, options)
    vfov = np.full((len(keys.frames), 1), 2 * np.degrees(np.arctan(track.size[1] / 2 / keys.focal)))
    rows = np.concatenate([keys.translation, keys.degrees, vfov], axis=1)
    lines = ("\t".join([str(frame), *map(_number, row)]) for frame, row in zip(keys.frames, rows, strict=True))
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


@exporter("nk", "{clip}.nk", focal=True)
def export_nuke_script(track: Track, path: Path, options: ExportOptions) -> None:
    """Write a script of Nuke: the clip in a Read node, the camera that filmed it, and the head's motion as an Axis.

    Frames, axes and lengths are those of the channel file; the clip is found from where the script lies.
    """
    keys, (width, height) = _head_keys(track, options), track.size
    first, last = keys.frames[0], keys.frames[-1]
    clip = options.relative(Path(track.clip), path)
    frame = f'"{width} {height} 0 0 {width} {height} 1 clip"'
    lens = {
        "focal": _number(_HAPERTURE * keys.focal / width),
        "haperture": _number(_HAPERTURE),
        "vaperture": _number(_HAPERTURE * height / width),
    }
    motion = {
        "rot_order": "ZXY",
        "translate": _animated(keys.frames, keys.translation),
        "rotate": _animated(keys.frames, keys.degrees),
    }
    rate = _number(frame_rate(track.times))
    shown = {"first_frame": first, "last_frame": last, "fps": rate, "format": frame}
    source = {
        "file": f'"\\[file dirname \\[value root.name]]/{_quoted(clip)}"',
        "format": frame,
        "first": _FIRST,
        "last": last,
        "origset": "true",
    }
    nodes = [
        _node("Root", shown),
        _node("Read", {"inputs": 0, **source, "name": "clip", "xpos": 0, "ypos": 0}),
        _node("Camera2", {"inputs": 0, **lens, "name": "filmed", "xpos": 160, "ypos": 0}),
        _node("Axis2", {"inputs": 0, **motion, "name": "head", "xpos": 320, "ypos": 0}),
    ]
    path.write_text("\n".join(nodes) + "\n", encoding="utf-8")


class _HeadKeys(NamedTuple):
    """The head's motion on whole frames."""

    focal: float  # pixels
    frames: np.ndarray  # (N,), numbers in Nuke
    translation: np.ndarray  # (N,3) metres, y up, before a camera at the origin that looks along -z
    degrees: np.ndarray  # (N,3) about x, y and z, of R = Ry Rx Rz


def _head_keys(track: Track, options: ExportOptions) -> _HeadKeys:
    """The keys of frames on the clip's `frame_rate`; of two that fall on one number the first counts."""
    from scipy.spatial.transform import Rotation

    from selftrack.tracker.export.scenes._head import head_places

    focal = focal_length(track, options.focal)
    rotation, translation = head_places(track, focal)
    angles = Rotation.from_matrix(rotation).as_euler("zxy")  # z first: R = Ry Rx Rz
    degrees = np.degrees(np.unwrap(angles, axis=0))[:, [1, 2, 0]]
    numbers = _FIRST + np.rint(track.times * frame_rate(track.times)).astype(int)
    frames, rows = np.unique(numbers, return_index=True)
    return _HeadKeys(focal, frames, translation[rows], degrees[rows])


def _animated(frames: np.ndarray, values: np.ndarray) -> str:
    """A knob of three curves, of values (N,3) at frames (N,)."""
    curves = (
        " ".join(["{curve", *(f"x{frame} {_number(value)}" for frame, value in zip(frames, column, strict=True))]) + "}"
        for column in values.T
    )
    return "{" + " ".join(curves) + "}"


def _node(kind: str, knobs: Mapping[str, object]) -> str:
    return "\n".join([f"{kind} {{", *(f" {name} {value}" for name, value in knobs.items()), "}"])


def _quoted(text: str) -> str:
    """Text as it stands between double quotes in Tcl."""
    return re.sub(r'([\\\[\]${}"])', r"\\\1", text)


def _number(value: float) -> str:
    return f"{value:.8g}"


@exporter("aftereffects", "{clip}_aftereffects.txt", needs=[Need.ARKIT_CURVES])
def export_aftereffects(track: Track, path: Path, options: ExportOptions) -> None:
    """Write keyframes to paste onto a layer: where the head's origin is in the frame, its roll, its scale with the
    median of the found frames as 100 %, and the 52 curves as Slider Controls in ARKit's order.

    Keys stand at the track's times on the clip's `frame_rate`, between frames where the clip's are.
    """
    pose, rate = track.pose(), frame_rate(track.times)
    usual = np.median(pose["scale"][track.ok] if track.ok.any() else pose["scale"])
    scale, flat = 100 * pose["scale"] / usual, np.zeros(len(track))
    place = [pose["tx"] + 0.5, pose["ty"] + 0.5, flat]  # from the corner of the first pixel, not from its middle
    turn = np.degrees(np.unwrap(np.radians(pose["roll"])))
    properties: list[tuple[str, str, list[np.ndarray]]] = [
        ("Transform\tPosition", "X pixels\tY pixels\tZ pixels", place),
        ("Transform\tScale", "X percent\tY percent\tZ percent", [scale, scale, flat + 100]),
        ("Transform\tRotation", "degrees", [turn]),
    ]
    for number, values in enumerate(track.curves().values(), start=1):
        properties.append((f"Effects\tSlider Control #{number}\tSlider #2", "", [values]))
    width, height = track.size
    head = (
        "Adobe After Effects 8.0 Keyframe Data\n\n"
        f"\tUnits Per Second\t{rate:.6g}\n\tSource Width\t{width}\n\tSource Height\t{height}\n"
        "\tSource Pixel Aspect Ratio\t1\n\tComp Pixel Aspect Ratio\t1\n\n"
    )
    with open(path, "w", encoding="ascii") as file:
        file.write(head)
        for name, units, columns in properties:
            file.write(_section(track, rate, name, units, columns) + "\n")
        file.write("\nEnd of Keyframe Data\n")


def _section(track: Track, rate: float, name: str, units: str, columns: list[np.ndarray]) -> str:
    """The keys of one property, whose columns are (T,) each."""
    frames = track.times * rate
    whole = np.rint(frames)
    rows = zip(np.where(np.abs(frames - whole) < _NEAR, whole, frames), *columns, strict=True)
    keys = "".join("\t" + "\t".join(f"{round(float(value), 5):.10g}" for value in row) + "\t\n" for row in rows)
    return f"{name}\n\tFrame\t{units}\t\n{keys}"
