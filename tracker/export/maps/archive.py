"""The maps of all frames in one archive: as PNG, as EXR, or as a lossless video of each."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from selftrack.errors import UserError
from selftrack.io import remove_abandoned, work_folder, zip_member
from selftrack.tracker.export.maps._settings import COLOURS, FRAME, KINDS, Channel, MapKind
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import exporter
from selftrack.tracker.export.timing import clock
from selftrack.tracker.mapped import write_member
from selftrack.tracker.progress import counted

if TYPE_CHECKING:
    from selftrack.tracker.export.maps._painter import Drawn, MapPainter, Window
    from selftrack.tracker.results.track_file import Track
    from selftrack.tracker.sources.base import Frame

    Encode = Callable[[MapKind, Drawn], bytes]
    Frames = Iterator[tuple[int, dict[str, Drawn]]]

_OWN = ("maps", "crop", "size")
_VIDEOS = "maps-mkv"  # names the folder in which videos are made
_INTEGERS = "a channel's quantity is low + value / {largest} * (high - low)"
_FLOATS = "red, green and blue are the quantities, of one channel alike"
_BESIDE = {
    False: "; 0 in all channels is no part of the mesh",
    True: "; alpha is 1 on the mesh, and all is 0 beside it",
}
_TABLE = (
    "frames.csv: frame is the row of the track and the number in a file's name, ok is 0 for a frame without a face, "
    "whose pictures are empty; a to f take a pixel (x, y) of the clip to (a x + b y + c, d x + e y + f) of the "
    "pictures; the centre of the top-left pixel is (0, 0)"
)
_POINTS = "landmarks.npy: (T,68,2) x and y of the 68 points in the pictures' pixels, NaN in frames without a face"


@exporter("maps", "{clip}_maps.zip", takes=_OWN)
def export_maps(track: Track, path: Path, options: ExportOptions) -> None:
    """Write NAME/frame_000000.png and so on for each map; numbers are those of the track's rows."""
    _write_pictures(track, path, options, "png", _png)


@exporter("maps-exr", "{clip}_maps_exr.zip", takes=_OWN)
def export_maps_exr(track: Track, path: Path, options: ExportOptions) -> None:
    """Write NAME/frame_000000.exr and so on, 32-bit floats in the quantities' own units, with alpha."""
    _write_pictures(track, path, options, "exr", _exr)


@exporter("maps-mkv", "{clip}_maps_mkv.zip", takes=_OWN)
def export_maps_mkv(track: Track, path: Path, options: ExportOptions) -> None:
    """Write NAME.mkv for each map: FFV1, which loses nothing, of the numbers that the PNG files have."""
    made = _Maps(track, options)
    remove_abandoned(path.parent, _VIDEOS)
    with work_folder(path.parent, _VIDEOS) as folder:
        videos = {name: folder / f"{name}.mkv" for name in made.names}
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(_Lossless(video, KINDS[name], made.window.size, track.times))
                for name, video in videos.items()
            }
            for _, drawn in made.frames():
                for name, one in drawn.items():
                    writers[name].write(quantised(KINDS[name], one))
        with ZipFile(path, "w", ZIP_STORED) as archive:
            for name, video in videos.items():
                with (
                    open(video, "rb") as file,
                    archive.open(zip_member(f"{name}.mkv"), "w", force_zip64=True) as member,
                ):
                    shutil.copyfileobj(file, member)
            made.describe(archive, "{name}.mkv", floats=False)


class _Maps:
    """What the formats share: the maps that are asked for, frame by frame, and the words about them."""

    def __init__(self, track: Track, options: ExportOptions) -> None:
        from selftrack.tracker.export.maps._painter import MapPainter, window_of

        self.track, self.crop, self._progress = track, options.crop or FRAME, options.progress
        self.names = _drawable(track, options.maps)
        self.window: Window = window_of(track, self.crop, options.size)
        of_mesh = [name for name in self.names if not KINDS[name].of_clip]
        self._painter: MapPainter = MapPainter(track, of_mesh, self.window)

    def frames(self) -> Frames:
        """Draw one row after the other."""
        with self._pictures() as pictures:
            for row in counted(range(len(self.track)), len(self.track), self._progress):
                drawn = self._painter(row)
                if pictures is not None:
                    drawn["image"] = self._picture(row, next(pictures, None))
                yield row, drawn

    @contextmanager
    def _pictures(self) -> Iterator[Iterator[Frame] | None]:
        """The frames of the clip, where these are asked for. Raises UserError where it is not what was tracked."""
        from selftrack.tracker.results.clip import open_clip

        if "image" not in self.names:
            yield None
            return
        with open_clip(self.track, verify=True) as source:
            yield iter(source)

    def _picture(self, row: int, frame: Frame | None) -> Drawn:
        """What the window shows of a frame. Raises UserError where the clip has ended before it."""
        from selftrack.tracker.export.maps._painter import Drawn
        from selftrack.tracker.geometry.crop import warp

        if frame is None:
            raise UserError(
                f"{self.track.clip}: ends after {row} of the track's {len(self.track)} frames; track it again, or "
                "leave image out of --maps"
            )
        picture = warp(frame.image, self.window.from_frame[row], self.window.size)
        return Drawn(picture.astype(np.float32) / 255, np.ones(picture.shape[:2], bool))

    def describe(self, archive: ZipFile, files: str, floats: bool) -> None:
        """Add maps.json, frames.csv and, of the landmarks, landmarks.npy."""
        words = {
            "clip": Path(self.track.clip).name,
            "decoder": {"name": self.track.decoder, "hash": self.track.decoder_hash},
            "width": self.window.size[0],
            "height": self.window.size[1],
            "crop": self.crop,
            "frames": _TABLE,
            "maps": {name: self._words(name, files, floats) for name in self.names},
        }
        _add(archive, "maps.json", json.dumps(words, indent=1) + "\n")
        _add(archive, "frames.csv", _table(self.track, self.window.from_frame))
        if "landmarks" in self.names:
            points = np.full((len(self.track), 68, 2), np.nan, np.float32)
            for row in np.flatnonzero(self.track.ok):
                points[row] = self._painter.landmarks(int(row))
            write_member(archive, "landmarks", points)

    def _words(self, name: str, files: str, floats: bool) -> dict[str, Any]:
        kind = KINDS[name]
        channels = [_channel_words(channel, floats) for channel in kind.channels]
        words: dict[str, Any] = {"files": files.format(name=name), "meaning": kind.meaning, "channels": channels}
        encoding = _FLOATS if floats else _INTEGERS.format(largest=kind.largest)
        words |= {"bits": 32 if floats else kind.bits, "encoding": encoding + _BESIDE[floats] * (not kind.of_clip)}
        return words | self._details(name)

    def _details(self, name: str) -> dict[str, Any]:
        """What is to be known of one map alone."""
        labels = {str(1 + part): label for part, label in enumerate(self.track.model().part_names)}
        colours = {group: "#{:02x}{:02x}{:02x}".format(*colour) for group, colour in COLOURS.items()}
        details: dict[str, dict[str, Any]] = {
            "pncc": {"extent": self._painter.extent, "extent_unit": "m"},
            "parts": {"labels": labels},
            "landmarks": {"colours": colours, "points": _POINTS},
        }
        return details.get(name, {})


def quantised(kind: MapKind, drawn: Drawn) -> np.ndarray:
    """Convert a map to the whole numbers that are written, (H,W,C) uint8 or uint16; 0 where there is no mesh."""
    channels = len(kind.channels)
    low, high = (np.array([getattr(one, end) for one in kind.channels], np.float32) for end in ("low", "high"))
    least = 1 if channels == 1 else 0  # of a single channel, 0 says that there is nothing
    values = (drawn.values[drawn.covered, :channels] - low) * (kind.largest / (high - low))
    out = np.zeros((*drawn.covered.shape, channels), np.uint8 if kind.bits == 8 else np.uint16)
    out[drawn.covered] = np.rint(values).clip(least, kind.largest)
    return out


def _drawable(track: Track, names: Sequence[str]) -> tuple[str, ...]:
    """The maps of these names; of none, all that the track's decoder allows.

    Raises:
        UserError: one that is named needs what the decoder does not have.
    """
    possible = [name for name, kind in KINDS.items() if track.model().has_landmarks or not kind.landmarks]
    for name in names:
        if name not in possible:
            raise UserError(
                f"the map {name} needs the places of the landmarks on the mesh, which the decoder of this track "
                f"({track.decoder}) does not have; name others with --maps: {','.join(possible)}"
            )
    return tuple(names or (name for name in possible if not KINDS[name].of_clip))


def _write_pictures(track: Track, path: Path, options: ExportOptions, suffix: str, encode: Encode) -> None:
    made = _Maps(track, options)
    with ZipFile(path, "w", ZIP_STORED) as archive:  # the pictures are compressed already
        for row, drawn in made.frames():
            for name, one in drawn.items():
                archive.writestr(zip_member(f"{name}/frame_{row:06d}.{suffix}"), encode(KINDS[name], one))
        made.describe(archive, f"{{name}}/frame_FRAME.{suffix}, FRAME in six digits", suffix == "exr")


def _png(kind: MapKind, drawn: Drawn) -> bytes:
    import cv2

    return cv2.imencode(".png", quantised(kind, drawn)[..., ::-1])[1].tobytes()  # OpenCV has blue first


def _exr(kind: MapKind, drawn: Drawn) -> bytes:
    from selftrack.tracker.sources.exr import encode_exr

    colours = np.broadcast_to(drawn.values[..., : len(kind.channels)], (*drawn.covered.shape, 3))
    return encode_exr(np.concatenate([colours, drawn.covered[..., None]], -1).astype(np.float32), "float")


class _Lossless:
    """An FFV1 video of whole numbers (H,W,C), every frame by itself, from time 0 on."""

    def __init__(self, path: Path, kind: MapKind, size: tuple[int, int], times: np.ndarray) -> None:
        import av

        rate, self._tick, counts = clock(times)
        self._counts = iter(counts.tolist())
        self._layout, stored = {
            (1, 8): ("gray", "gray"),
            (1, 16): ("gray16le", "gray16le"),
            (3, 8): ("rgb24", "bgr0"),
            (3, 16): ("rgb48le", "gbrp16le"),
        }[len(kind.channels), kind.bits]
        self._out = av.open(str(path), "w", format="matroska", options={"fflags": "+bitexact"})  # no number by chance
        self._stream = self._out.add_stream("ffv1", rate=rate, options={"level": "3", "slicecrc": "1"})
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = stored
        self._stream.gop_size = 1
        self._stream.codec_context.time_base = self._tick

    def __enter__(self) -> _Lossless:
        return self

    def __exit__(self, kind: type | None, *exc: object) -> None:
        try:
            if kind is None:
                self._out.mux(self._stream.encode())
        finally:
            self._out.close()

    def write(self, values: np.ndarray) -> None:
        """Append the next frame."""
        import av

        frame = av.VideoFrame.from_ndarray(values[..., 0] if values.shape[-1] == 1 else values, self._layout)
        frame = frame.reformat(format=self._stream.pix_fmt)
        frame.pts, frame.time_base = next(self._counts), self._tick
        self._out.mux(self._stream.encode(frame))


def _channel_words(channel: Channel, floats: bool) -> dict[str, Any]:
    unit = {"unit": channel.unit} if channel.unit else {}
    return {"meaning": channel.meaning} | ({} if floats else {"low": channel.low, "high": channel.high}) | unit


def _table(track: Track, from_frame: np.ndarray) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", "time", "ok", *"abcdef"])
    for row, matrix in enumerate(from_frame.reshape(-1, 6)):
        numbers = [f"{value:.6g}" for value in matrix]
        writer.writerow([row, f"{track.times[row]:.6f}", int(track.ok[row]), *numbers])
    return text.getvalue()


def _add(archive: ZipFile, name: str, text: str) -> None:
    archive.writestr(zip_member(name, ZIP_DEFLATED), text)
