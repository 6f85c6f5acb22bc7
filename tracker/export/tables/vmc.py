"""Messages of the Virtual Motion Capture (VMC) protocol, which VSeeFace, Warudo, VNyan and others receive.

Addresses and arguments are those of https://protocol.vmc.info/marionette-spec, of version 2.7 in /VMC/Ext/OK. The
curves have the names of "perfect sync", for which the protocol's pages refer to Unity's ARKitBlendShapeLocation:
ARKit's with a capital first letter, such as JawOpen; the protocol tells capitals from small letters.

Bones are turned in Unity's axes, of a left-handed avatar that looks along +z: x to its own right, y up. All three are
opposite to the head frame's (x to the subject's left, y down, z backwards), so a rotation has the same matrix and the
same quaternion in both. Bones keep their places: those are the avatar's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.export.gaze import directions_of
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.tables.messages import Message, write_messages
from selftrack.tracker.geometry.camera import towards

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_LOADED, _CALIBRATED, _MODE = 1, 3, 0  # of /VMC/Ext/OK: the sender is ready


def vmc_messages(time: float, ok: bool, curves: Mapping[str, float], pose: Mapping[str, float]) -> list[Message]:
    """Put together the messages of one frame.

    Args:
        time: seconds, of any beginning.
        ok: whether a face was found; without one, only the state is sent, and the avatar stays as it is.
        curves: ARKit's 52, 0..1.
        pose: yaw, pitch and roll in degrees, as of `Track.pose`.
    """
    from scipy.spatial.transform import Rotation

    state = Message("/VMC/Ext/OK", (_LOADED, _CALIBRATED, _MODE, int(ok)))
    messages = [state, Message("/VMC/Ext/T", (float(time),))]
    if not ok:
        return messages
    head = Rotation.from_euler("xyz", [pose["pitch"], pose["yaw"], pose["roll"]], degrees=True)
    backwards = -directions_of({name: np.array([value]) for name, value in curves.items()})[0]
    left, right = towards(backwards).as_quat()
    bones = (("Head", head.as_quat()), ("LeftEye", left), ("RightEye", right))
    messages += [Message("/VMC/Ext/Bone/Pos", (name, 0.0, 0.0, 0.0, *turn.tolist())) for name, turn in bones]
    messages += [Message("/VMC/Ext/Blend/Val", (perfect_sync(name), float(curves[name]))) for name in ARKIT_NAMES]
    return [*messages, Message("/VMC/Ext/Blend/Apply")]


def perfect_sync(name: str) -> str:
    """Return the name of "perfect sync" for a name of ARKit's."""
    return name[0].upper() + name[1:]


@exporter("vmc", "{clip}_vmc.jsonl", needs=[Need.ARKIT_CURVES])
def export_vmc(track: Track, path: Path, options: ExportOptions) -> None:
    """Write what streaming sends, see `messages`."""
    times, ok = track.times.tolist(), track.ok.tolist()
    write_messages(track, path, lambda row, *values: vmc_messages(times[row], ok[row], *values))
