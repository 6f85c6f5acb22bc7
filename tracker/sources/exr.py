"""OpenEXR pictures (openexr.com, "OpenEXR File Layout") through FFmpeg, and linear light as sRGB."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from selftrack.errors import UserError
from selftrack.tracker.sources.base import MOST_PIXELS, check_size

_MAGIC = b"\x76\x2f\x31\x01"
_TILED, _MULTIPART = 0x200, 0x1000  # bits of the version field


def srgb(linear: np.ndarray) -> np.ndarray:
    """Encode linear light as sRGB (IEC 61966-2-1), both in 0..1; what lies outside is clipped."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def decode_exr(data: bytes, path: Path) -> np.ndarray:
    """Decode linear light (H,W,3) float32 RGB; NaN is 0. The picture is the display window, black outside of the data.

    Grey pictures (Y) have three equal channels; alpha is left out, for OpenEXR's colours are multiplied by it already.

    Raises:
        UserError: `path`, which is only named, is no such picture, is cut off, or has a layout that is not known here.
    """
    _check(data, path)
    decoder = av.CodecContext.create("exr", "r")
    decoder.options = {"max_pixels": str(MOST_PIXELS)}
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except (av.FFmpegError, ValueError) as error:
        raise UserError(
            f"{path}: not an EXR picture with channels R, G, B or Y that can be read; export it again"
        ) from error
    return np.nan_to_num(_channels(frames[0], path), copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)


def encode_exr(pixels: np.ndarray, kind: str = "half") -> bytes:
    """Encode pixels (H,W,4) float32 RGBA as they are, in 16-bit floats, or of kind "float" in 32 bits."""
    encoder = av.CodecContext.create("exr", "w")
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = "gbrapf32le", Fraction(1)
    encoder.options = {"format": kind, "compression": "zip16"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels, np.float32), "gbrapf32le")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode()])


def _channels(frame: av.VideoFrame, path: Path) -> np.ndarray:
    """(H,W,3) float32 of a decoded frame. FFmpeg keeps colour as planes G, B, R, A, grey as Y or as pairs Y, A."""
    layout, _, kind = frame.format.name.removesuffix("le").partition("f")
    if kind not in ("16", "32"):
        raise UserError(f"{path}: has pixels of whole numbers; only half and float are read; export it so")
    planes = [
        np.frombuffer(memoryview(plane), f"<f{int(kind) // 8}").reshape(frame.height, -1).astype(np.float32, copy=False)
        for plane in frame.planes
    ]
    if layout.startswith("gbr"):
        return np.stack([planes[i][:, : frame.width] for i in (2, 0, 1)], axis=-1)
    step = 2 if layout == "ya" else 1
    return np.repeat(planes[0][:, : step * frame.width : step, None], 3, axis=-1)


def _check(data: bytes, path: Path) -> None:
    """Raise UserError on what FFmpeg would draw in black without a word: missing rows and shifted windows."""
    if data[:4] != _MAGIC:
        raise UserError(f"{path}: not an EXR picture; export it again")
    try:
        (version,) = struct.unpack_from("<i", data, 4)
        if version & _MULTIPART:
            return
        attributes, at = _attributes(data)
        windows = [struct.unpack("<4i", attributes[name]) for name in (b"dataWindow", b"displayWindow")]
        end = _end(data, at, bool(version & _TILED))
    except (struct.error, KeyError, IndexError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: a damaged or cut off EXR picture; export it again") from error
    for left, top, right, bottom in windows:
        check_size(path, right - left + 1, bottom - top + 1)
    if windows[1][:2] != (0, 0):
        raise UserError(f"{path}: its display window does not begin at (0, 0); write it with one that does")
    if end > len(data):
        raise UserError(f"{path}: a cut off EXR picture; export it again")


def _attributes(data: bytes) -> tuple[dict[bytes, bytes], int]:
    """The header's attributes by name, and where the header ends."""
    found, at = {}, 8
    while data[at]:
        name = data[at : data.index(0, at)]
        size_at = data.index(0, at + len(name) + 1) + 1  # after the name of the type
        (size,) = struct.unpack_from("<I", data, size_at)
        found[name] = data[size_at + 4 : size_at + 4 + size]
        at = size_at + 4 + size
    return found, at + 1


def _end(data: bytes, table: int, tiled: bool) -> int:
    """Where the last chunk of pixels ends; the table of the chunks' places ends where the first of them begins."""
    first, last, at = len(data), 0, table
    while at < first:
        (place,) = struct.unpack_from("<Q", data, at)
        first, last, at = min(first, place), max(last, place), at + 8
    size_at = last + (16 if tiled else 4)  # after the tile's place, or the number of the row
    (size,) = struct.unpack_from("<I", data, size_at)
    return size_at + 4 + size
