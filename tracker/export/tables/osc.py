"""Plain OSC messages, which TouchDesigner, Max and scripts receive.

/frame/time        float   seconds
/frame/ok          int     1, or 0 where no face is seen: then nothing but these three is sent
/frame/confidence  float   0..1
/head/yaw, /head/pitch, /head/roll    float   degrees, as in curves.csv
/head/scale, /head/tx, /head/ty       float   pixels per metre, pixels
/face/NAME         float   each curve, 0..1, such as /face/jawOpen
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import exporter
from selftrack.tracker.export.tables.messages import Message, write_messages

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track


def osc_messages(
    time: float, ok: bool, confidence: float, curves: Mapping[str, float], pose: Mapping[str, float]
) -> list[Message]:
    """Put together the messages of one frame.

    Args:
        time: seconds, of any beginning.
        ok: whether a face was found; without one, only the state is sent.
        confidence: see `FrameResult.confidence`.
        curves: by name, 0..1.
        pose: as of `Track.pose`.
    """
    messages = [
        Message("/frame/time", (time,)),
        Message("/frame/ok", (int(ok),)),
        Message("/frame/confidence", (confidence,)),
    ]
    if ok:
        messages += [Message(f"/head/{name}", (value,)) for name, value in pose.items()]
        messages += [Message(f"/face/{name}", (value,)) for name, value in curves.items()]
    return messages


@exporter("osc", "{clip}_osc.jsonl")
def export_osc(track: Track, path: Path, options: ExportOptions) -> None:
    """Write what streaming sends, see `messages`."""
    times, ok, confidence = track.times.tolist(), track.ok.tolist(), track.confidence.tolist()
    write_messages(track, path, lambda row, *values: osc_messages(times[row], ok[row], confidence[row], *values))
