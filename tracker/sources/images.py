"""Sequences of pictures: a folder, a numbered pattern or a glob of PNG, JPEG, WebP or OpenEXR files."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Callable, Container, Iterator
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from selftrack.errors import UserError
from selftrack.io import OutputFolder, file_hash
from selftrack.tracker.sources.base import Frame, FrameSource, SourceInfo, Window, check_size
from selftrack.tracker.sources.exr import decode_exr, srgb
from selftrack.tracker.sources.names import NUMBER, SUFFIXES, VIDEOS, is_picture, sequence_name

MOST = 10_000  # pictures per second, beyond which times would be one
FPS = 24.0
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_BAND = 256  # rows of an EXR picture whose light is encoded at a time


class ImageSequence(FrameSource):
    """Pictures of one size, one frame each, in natural order of their names: frame i is shown at i / fps seconds.

    Pixels of 16 bits are rounded to 8, grey becomes RGB, alpha is left out, and OpenEXR's linear light (taken for the
    primaries of Rec. 709) becomes sRGB.
    """

    def __init__(self, path: Path, start: float = 0.0, duration: float | None = None, fps: float | None = None) -> None:
        """Find the pictures.

        Args:
            path: a folder, a pattern such as img%04d.png or img*.png, or one picture.
            start, duration: window in seconds.
            fps: pictures per second, 24 by default.

        Raises:
            UserError: there are none, or of several kinds; the first cannot be read; nothing is in the window.
        """
        super().__init__()
        self.path, self.window, rate = Path(path), Window(float(start), duration), _rate(FPS if fps is None else fps)
        self.fps, self.files = float(rate), find_pictures(self.path)
        height, width = read_picture(self.files[0]).shape[:2]
        self.info = SourceInfo(
            name=sequence_name(self.path),
            path=self.path.parent.resolve() / self.path.name if self.path.name else self.path.resolve(),
            width=width,
            height=height,
            rate=rate,
            duration=float(len(self.files) / rate),
            time_base=1 / rate,
        )
        if not self.count():
            raise UserError(f"{path}: no pictures from {start} s on; they last {self.info.duration:.2f} s")
        self.notes = self._on_opening = self._gap()

    @property
    def title(self) -> str:
        """Return the path as it was given."""
        return str(self.path)

    def count(self) -> int:
        """Return how many pictures are in the window."""
        return len(self._rows)

    def fingerprint(self) -> str:
        """Return a SHA-256 over the names and the bytes of all pictures."""
        return pictures_hash(self.files)

    def _read(self, only: Container[int] | None) -> Iterator[Frame]:
        for index, (time, file) in enumerate(self._rows):
            if only is None or index in only:
                image = read_picture(file)
                if image.shape != (self.info.height, self.info.width, 3):
                    raise UserError(
                        f"{file}: is {image.shape[1]}x{image.shape[0]}, but {self.files[0].name} is "
                        f"{self.info.width}x{self.info.height}; all pictures of a sequence must have one size"
                    )
                yield Frame(index, time, image)

    @cached_property
    def _rows(self) -> list[tuple[float, Path]]:
        """Times and files of the window."""
        timed = [(float(i / self.info.rate), file) for i, file in enumerate(self.files)]
        return [(time, file) for time, file in timed if not (self.window.is_before(time) or self.window.is_over(time))]

    def _gap(self) -> tuple[str, ...]:
        """A note about the first picture that is missing, where all others are numbered in equal steps."""
        numbers = [int(found[-1]) if (found := re.findall(r"\d+", file.stem)) else 0 for file in self.files]
        steps = np.diff(numbers)
        if len(steps) == 0 or steps.min() < 1 or steps.min() == steps.max():
            return ()
        before = self.files[int(np.argmax(steps > steps.min()))]
        return (f"{self.path}: pictures are missing after {before.name}; those that are there were taken one by one",)


def pictures_hash(files: list[Path]) -> str:
    """SHA-256 in hex over the names and the bytes of pictures."""
    lines = [f"{file_hash(file)} {file.name}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _rate(fps: float) -> Fraction:
    """As a fraction, such as 2997/100. Raises UserError where it is no rate."""
    rate = Fraction(fps).limit_denominator(1001) if math.isfinite(fps) else Fraction(0)
    if not 0 < rate <= MOST:
        raise UserError(f"{fps} pictures per second: must be a number more than 0, and {MOST} at most")
    return rate


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as (H,W,3) uint8 RGB, see `ImageSequence`. Raises UserError where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if path.suffix.lower() == ".exr":
        light = decode_exr(data, path)
        bands = (light[first : first + _BAND] for first in range(0, len(light), _BAND))
        return np.concatenate([np.rint(255 * srgb(band)).astype(np.uint8) for band in bands])
    if not _is_whole(data, path):
        raise UserError(f"{path}: not a picture, or cut off or damaged; export it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
    except cv2.error:  # of an empty file
        image = None
    if image is None:
        raise UserError(f"{path}: not a picture, or cut off or damaged; export it again")
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8) if image.dtype == np.uint16 else image


def _is_whole(data: bytes, path: Path) -> bool:
    """Whether a PNG picture has all that it says, and a JPEG picture its end: OpenCV would draw the rest in grey, and
    libpng print what it misses. Raises UserError of those that are too large. Other kinds are left to OpenCV."""
    try:
        if data.startswith(_PNG):
            check_size(path, *struct.unpack_from(">2I", data, 16))
            return _is_whole_png(data)
        return _is_whole_jpeg(data, path) if data.startswith(_JPEG) else True
    except struct.error:
        return False


def _is_whole_png(data: bytes) -> bool:
    """Whether all critical chunks have their checksums (PNG specification, 5.3). Raises struct.error at the end."""
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        (length,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        (said,) = struct.unpack_from(">I", data, at + 8 + length)
        critical = kind[:1].isupper()
        if critical and zlib.crc32(memoryview(data)[at + 4 : at + 8 + length]) != said:
            return False
        at += 12 + length
    return True


def _is_whole_jpeg(data: bytes, path: Path) -> bool:
    """Whether there is an end of the image after the first scan (ITU-T T.81, B.1). Raises struct.error at the end."""
    at = 2
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker == 0xFFFF:  # fill
            at += 1
            continue
        if marker == 0xFFDA:
            return data.find(b"\xff\xd9", at) >= 0
        if marker < 0xFFC0:
            return False
        (length,) = struct.unpack_from(">H", data, at + 2)
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">2H", data, at + 5)
            check_size(path, width, height)
        at += 2 + length


def natural(name: str) -> tuple[list[int | str], str]:
    """Order names as people do, a2 before a10.

    >>> sorted(["a10", "a2", "A1"], key=natural)
    ['A1', 'a2', 'a10']
    """
    parts = re.split(r"(\d+)", name.lower())  # text and number in turns, text first
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def find_pictures(path: Path) -> list[Path]:
    """List the pictures of a folder or a pattern in natural order, or the one that is named. Of a folder, the tracker's
    own results are left out.

    Raises:
        UserError: there are none, or a folder holds several kinds.
    """
    if path.is_file():
        return [path]
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    names = [file.name for file in folder.iterdir() if is_picture(file) and file.is_file()]
    found = sorted(filter(_matcher(path), names), key=natural)
    if not found:
        if not path.is_dir():
            raise UserError(f"{path}: no such file")
        clips = any(file.suffix.lower() in VIDEOS for file in folder.iterdir())
        advice = (
            "track its videos with: track-batch FOLDER -o RESULTS" if clips else "name a video, or where pictures are"
        )
        raise UserError(f"{path}: no pictures there ({', '.join(SUFFIXES)}); {advice}")
    results = _results_among(found, folder) if path.is_dir() else set()
    found = [name for name in found if name not in results]
    if not found:
        raise UserError(f"{path}: holds results ({', '.join(sorted(results))}) and no footage; name the clip itself")
    kinds = sorted({Path(name).suffix.lower() for name in found})
    if len(kinds) > 1:
        raise UserError(f"{path}: has pictures of several kinds; choose one, such as {path / ('*' + kinds[0])}")
    return [folder / name for name in found]


def _results_among(names: list[str], folder: Path) -> set[str]:
    """Those of the names that are the tracker's own results, such as faces.png."""
    output = OutputFolder(folder)
    return {name for name in output.owned().keys() & set(names) if output.is_ours(name)}


def _matcher(path: Path) -> Callable[[str], bool]:
    """What decides whether a name belongs to a folder or a pattern."""
    if path.is_dir():
        return lambda name: True
    number = NUMBER.search(path.name)
    if number is None:
        return lambda name: fnmatchcase(name, path.name)
    digits = number[1] or "1"
    before, after = (re.escape(part) for part in (path.name[: number.start()], path.name[number.end() :]))
    numbered = re.compile(rf"{before}(\d{{{digits}}}|[1-9]\d{{{digits},}}){after}")
    return lambda name: numbered.fullmatch(name) is not None
