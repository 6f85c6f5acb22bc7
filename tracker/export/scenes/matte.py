"""The mesh alone with an alpha channel, for compositing programs to lay over the clip: a video, or pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from selftrack.io import zip_member
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import exporter
from selftrack.tracker.export.timing import clock
from selftrack.tracker.progress import Steps, counted

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

    Encode = Callable[[np.ndarray], bytes]

_STYLE = ("opacity", "colour", "ambient")
_BT709, _FULL_SCALE = 1, 65535


@exporter("mov", "{clip}_mesh.mov", timecode=True)
def export_matte(track: Track, path: Path, options: ExportOptions) -> None:
    """Write what the overlay's mode "mesh" draws, without the clip: a .mov of ProRes 4444 with straight alpha.

    It has the clip's size, one frame for each of the track's, whose first is at 0, and neither clip nor sound. Where
    the clip has timecode, that of the first frame begins the file's. Frames without a face are transparent. Opacity
    and colours are those of the track's settings.
    """
    import av

    (width, height), (rate, tick, counts) = track.size, clock(track.times)
    with av.open(str(path), "w", format="mov") as out:
        stream = out.add_stream("prores_ks", rate=rate, options={"profile": "4444", "alpha_bits": "16"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuva444p10le"
        stream.codec_context.time_base = tick
        start = track.start_timecode()
        if start is not None:
            out.metadata["timecode"] = str(start.after(float(track.times[0])))
        for name in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(stream.codec_context, name, _BT709)
        for layer, count in zip(_layers(track, options.progress), counts.tolist(), strict=True):
            frame = av.VideoFrame.from_ndarray(_filled(layer), "rgba64le")
            frame = frame.reformat(format="yuva444p10le", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = count, tick
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


@exporter("png", "{clip}_mesh_png.zip")
def export_png(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the frames of the .mov as frame_000000.png and so on, 16 bits, straight alpha; numbers are those of the
    track's rows."""
    _write_sequence(track, path, options, "png", _png)


@exporter("exr", "{clip}_mesh_exr.zip")
def export_exr(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the frames of the .mov as frame_000000.exr and so on, 16-bit floats; as is usual in this format, light is
    linear and colours are multiplied by alpha."""
    _write_sequence(track, path, options, "exr", _exr)


def _write_sequence(track: Track, path: Path, options: ExportOptions, suffix: str, encode: Encode) -> None:
    with ZipFile(path, "w", ZIP_STORED) as archive:  # the pictures are compressed already
        for row, layer in enumerate(_layers(track, options.progress)):
            archive.writestr(zip_member(f"frame_{row:06d}.{suffix}"), encode(layer))


def _layers(track: Track, progress: Steps) -> Iterator[np.ndarray]:
    """The mesh of each frame as the overlay draws it: (H,W,4) RGBA in 0..1, straight alpha."""
    from selftrack.tracker.results.painter import MeshPainter, OverlayConfig, doubts_of

    style = {name: value for name, value in track.settings().get("overlay_style", {}).items() if name in _STYLE}
    painter, doubts = MeshPainter(track.model(), OverlayConfig(mode="mesh", **style)), doubts_of(track)
    size = track.size[::-1]
    for row, found in enumerate(counted(track.ok, len(track), progress)):
        layer = np.zeros((*size, 4), np.float32)
        if found:
            layer = painter.layer(size, track.vertices(slice(row, row + 1))[0], doubts[row])
        yield layer


def _png(layer: np.ndarray) -> bytes:
    import cv2

    pixels = np.rint(_FULL_SCALE * layer).astype(np.uint16)
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))[1].tobytes()


def _exr(layer: np.ndarray) -> bytes:
    from selftrack.tracker.sources.exr import encode_exr

    colour, alpha = layer[..., :3], layer[..., 3:]
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)  # sRGB, IEC 61966-2-1
    return encode_exr(np.concatenate([linear * alpha, alpha], -1))


def _filled(layer: np.ndarray) -> np.ndarray:
    """A layer (H,W,4) RGBA in 0..1 as uint16, in the mesh's mean colour beside it: black there would bleed into the
    mesh's edges when it is compressed."""
    mesh = layer[..., 3] > 0
    if mesh.any():
        layer[~mesh, :3] = layer[mesh, :3].mean(0)
    return np.rint(_FULL_SCALE * layer).astype(np.uint16)
