"""A performance on the person of a photo, as a video."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.errors import UserError
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.timing import frame_rate
from selftrack.tracker.progress import counted

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track
    from selftrack.tracker.sources.base import SourceInfo, Window

_TICK = Fraction(1, 90_000)  # seconds, where the clip's own is not known


@exporter("reenact", "{clip}_reenact.mp4", needs=[Need.ARKIT_CURVES], asks=["onto"], takes=["keep_pose", "no_tag"])
def export_reenact(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the photo's person moving as the performance does: H.264 of the photo's size, with the clip's timing and,
    where the clip is there, its sound. It is marked as synthetic, see `_marking`.

    Raises:
        UserError: another file than an .mp4; no photo, or one without a face or with several.
    """
    if path.suffix.lower() != ".mp4":
        raise UserError(f"reenact writes .mp4 files; got {path.suffix or 'a name without a suffix'}; name one with -o")
    from selftrack.tracker.export.reenact._marking import COMMENT, TAG, add_xmp
    from selftrack.tracker.export.reenact._motion import MotionConfig, performance
    from selftrack.tracker.export.reenact._painter import PhotoPainter
    from selftrack.tracker.export.reenact._photo import read_photo
    from selftrack.tracker.model import Model
    from selftrack.tracker.results.overlay import burnt_in
    from selftrack.tracker.sources.writer import VideoWriter

    assert options.onto
    photo = read_photo(options.onto, Model.load(device="cpu"))
    paint, acted = PhotoPainter(photo), performance(track, photo, MotionConfig(keep_pose=options.keep_pose))
    height, width = photo.image.shape[:2]
    with ExitStack() as stack:
        info, window = _clip(track, stack)
        writer = stack.enter_context(VideoWriter(path, (width, height), info, window, metadata={"comment": COMMENT}))
        rows = zip(track.times.tolist(), acted.codes, acted.poses, strict=True)
        for time, code, pose in counted(rows, len(track), options.progress):
            picture = paint(code, pose)
            writer.write(picture if options.no_tag else burnt_in(picture, TAG), time)
    add_xmp(path)


def _clip(track: Track, stack: ExitStack) -> tuple[SourceInfo, Window]:
    """What the clip says of itself, for its timing and sound; of one that is gone what the track tells."""
    from selftrack.tracker.results.clip import has_clip, open_clip
    from selftrack.tracker.sources.base import SourceInfo, Window

    if has_clip(track):
        source = stack.enter_context(open_clip(track))
        return source.info, source.window
    rate = Fraction(frame_rate(track.times)).limit_denominator(1001)
    return SourceInfo(Path(track.clip).stem, None, *track.size, rate, None, _TICK), Window(float(track.times[0]))
