"""Where the tracked part lies in its clip, for editing programs: an edit decision list, an OpenTimelineIO timeline.

Both have one cut, from the timecode of the first tracked frame to that after the last, counted from 00:00:00:00 where
the clip has no timecode; a programme begins at one hour, as is usual.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import exporter
from selftrack.tracker.export.timing import timecode_rate
from selftrack.tracker.sources.names import source_name
from selftrack.tracker.timecode import Timecode, counted_rate

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

_REEL = 8  # letters and digits that CMX 3600 has for the name of a reel
_NO_REEL = "AX"  # what editing programs write for a source without a name


class _Cut(NamedTuple):
    clip: Timecode
    """Of the clip's time 0."""
    source_in: Timecode
    source_out: Timecode
    """Of the frame after the last."""
    record_in: Timecode
    record_out: Timecode


def _cut(track: Track) -> _Cut:
    """The cut from a clip to a programme."""
    start = track.start_timecode() or Timecode(0, counted_rate(timecode_rate(track)))
    first, last = (start.after(float(track.times[row])) for row in (0, -1))
    record = Timecode.parse("01:00:00;00" if start.drop else "01:00:00:00", start.rate)
    end = replace(last, frame=last.frame + 1)
    return _Cut(start, first, end, record, replace(record, frame=record.frame + end.frame - first.frame))


@exporter("edl", "{clip}.edl", timecode=True)
def export_edl(track: Track, path: Path, options: ExportOptions) -> None:
    """Write a CMX 3600 edit decision list of one event."""
    cut, name = _cut(track), source_name(track.clip)
    reel = re.sub("[^A-Z0-9]", "", name.upper())[:_REEL] or _NO_REEL
    lines = [
        f"TITLE: {name}",
        f"FCM: {'DROP FRAME' if cut.clip.drop else 'NON-DROP FRAME'}",
        "",
        f"001  {reel:<{_REEL}} V     C        {cut.source_in} {cut.source_out} {cut.record_in} {cut.record_out}",
        f"* FROM CLIP NAME: {Path(track.clip).name}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@exporter("otio", "{clip}.otio", package="opentimelineio", timecode=True)
def export_otio(track: Track, path: Path, options: ExportOptions) -> None:
    """Write an OpenTimelineIO timeline of one clip, whose media begin at the timecode of time 0."""
    import opentimelineio as otio

    cut, name = _cut(track), source_name(track.clip)
    rate = float(cut.clip.rate)

    def span(start: int, frames: int) -> otio.opentime.TimeRange:
        return otio.opentime.TimeRange(
            otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate)
        )

    media = otio.schema.ExternalReference(
        target_url=Path(track.clip).absolute().as_uri(),
        available_range=span(cut.clip.frame, cut.source_out.frame - cut.clip.frame),
    )
    timeline = otio.schema.Timeline(name, global_start_time=otio.opentime.RationalTime(cut.record_in.frame, rate))
    timeline.tracks.append(otio.schema.Track(name, kind=otio.schema.TrackKind.Video))
    timeline.tracks[0].append(
        otio.schema.Clip(name, media, span(cut.source_in.frame, cut.source_out.frame - cut.source_in.frame))
    )
    path.write_text(timeline.to_json_string(), encoding="utf-8")
