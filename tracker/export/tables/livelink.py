"""The CSV that Epic's Live Link Face app records, for Unreal, Blender (Faceit), Maya and MotionBuilder importers.

Signs. The eyes' are those of recorded takes, where they can be read off beside the eyeLook columns: positive yaw is
towards the subject's right, positive pitch down (for example alexdjulin/LiveLinkFace-CSV-Retarget-For-Motionbuilder,
anim/ and csv/). The head's are those that importers assume: Faceit for Blender (EpicMocapImporter turns yaw, pitch
and roll round into Face Cap's, which are ARKit's) and the Blender client of think-biq/LLV (head x = -HeadYaw, z =
+HeadPitch): positive yaw turns to the subject's right, positive pitch lifts the chin, positive roll brings the ear
to the left shoulder. Neill3d/PyLiveLinkFace agrees on the pitch and reads yaw and roll the other way round.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.tracker.export.gaze import directions_of
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.timing import timecode, times_before

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

# the app's own order: jawRight before jawLeft, mouthRight before mouthLeft, unlike ARKit's
_SHAPES = """
EyeBlinkLeft EyeLookDownLeft EyeLookInLeft EyeLookOutLeft EyeLookUpLeft EyeSquintLeft EyeWideLeft
EyeBlinkRight EyeLookDownRight EyeLookInRight EyeLookOutRight EyeLookUpRight EyeSquintRight EyeWideRight
JawForward JawRight JawLeft JawOpen MouthClose MouthFunnel MouthPucker MouthRight MouthLeft
MouthSmileLeft MouthSmileRight MouthFrownLeft MouthFrownRight MouthDimpleLeft MouthDimpleRight
MouthStretchLeft MouthStretchRight MouthRollLower MouthRollUpper MouthShrugLower MouthShrugUpper
MouthPressLeft MouthPressRight MouthLowerDownLeft MouthLowerDownRight MouthUpperUpLeft MouthUpperUpRight
BrowDownLeft BrowDownRight BrowInnerUp BrowOuterUpLeft BrowOuterUpRight CheekPuff CheekSquintLeft CheekSquintRight
NoseSneerLeft NoseSneerRight TongueOut
""".split()
_COUNT = 61  # shapes and angles of a row


def livelink_curves(track: Track) -> dict[str, np.ndarray]:
    """Compute the app's 61 values of a track by its own names, see `livelink_values`."""
    return livelink_values(track.curves(), track.pose())


def livelink_values(curves: Mapping[str, np.ndarray], pose: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the app's 61 values by its own names, (T,) each: 52 curves (0..1) and nine angles (radians).

    Args:
        curves: ARKit's, (T,) each.
        pose: yaw, pitch and roll as of `Track.pose`, (T,) each.
    """
    values = {name: curves[name[0].lower() + name[1:]] for name in _SHAPES}
    values |= {
        "HeadYaw": np.radians(pose["yaw"]),
        "HeadPitch": -np.radians(pose["pitch"]),
        "HeadRoll": np.radians(pose["roll"]),
    }
    x, y, z = np.moveaxis(directions_of(curves), -1, 0)
    for i, side in enumerate(("Left", "Right")):
        values[f"{side}EyeYaw"] = -np.arctan2(x[:, i], -z[:, i])
        values[f"{side}EyePitch"] = np.arcsin(y[:, i])
        values[f"{side}EyeRoll"] = np.zeros(len(x))
    return values


@exporter("livelink", "{clip}_livelink.csv", needs=[Need.ARKIT_CURVES], timecode=True)
def export_livelink(track: Track, path: Path, options: ExportOptions) -> None:
    """Write a Live Link Face CSV: 63 columns, one row per frame; a lost frame keeps its row, with BlendShapeCount 0.

    Importers lay the first row at the start, so rows begin at the clip's time 0: before the first frame of the track
    they hold its values, at the clip's rate. The row at time 0 has the clip's timecode, or 0, and it counts as found
    whatever it shows: Faceit skips rows that do not.
    """
    values, start = livelink_curves(track), track.start_timecode()
    begin = start.seconds() if start else 0.0
    before = times_before(track.times)
    times = np.concatenate([before, track.times])
    found = np.concatenate([np.zeros(len(before), bool), track.ok])
    found[0] = True
    rows = np.pad(np.stack(list(values.values()), axis=1), ((len(before), 0), (0, 0)), mode="edge")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Timecode", "BlendShapeCount", *values])
        for time, ok, row in zip(times, found, rows, strict=True):
            writer.writerow([timecode(begin + time), _COUNT if ok else 0, *(f"{value:.10f}" for value in row)])
