"""From decoded frames to pictures as displayed: progressive, upright, of one size, in the range of a usual screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av
import av.filter
import cv2
import numpy as np
from av.video.reformatter import ColorTrc, VideoReformatter

HDR = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}
"""Names of the transfer functions of ITU-R BT.2100."""
WHITE, PEAK = 203.0, 1000.0  # cd/m2: reference white (BT.2408) and the screen that HLG is made for
_KNEE = 0.8  # of reference white; what is brighter is compressed
_TO_709 = np.array(  # linear light of BT.2020 to BT.709 (BT.2087)
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_LUMINANCE = np.array([[0.2627, 0.6780, 0.0593]], np.float32)  # of BT.2020
_TOP = 65535  # of signals; tables have all of them
_EVERY = 10  # pictures of which one is searched for the lines of two fields
_LEAST = 12  # grey levels by which these differ
_BRIGHTEST = 10.0  # light at the end of the last table, which is even in its square root


def orientation(frame: av.VideoFrame) -> np.ndarray:
    """(2,2) integer matrix taking stored (x, y) directions to displayed ones; identity without metadata.

    Read from the display matrix (ISO 14496-12, 8.3.2), rounded to the nearest quarter turn or mirror.
    """
    try:
        a, b, _, c, d = np.frombuffer(frame.side_data["DISPLAYMATRIX"], "<i4")[:5]  # type: ignore[typeddict-item]
    except KeyError:
        return np.eye(2, dtype=int)
    if abs(int(a)) >= abs(int(b)):
        return np.array([[-1 if a < 0 else 1, 0], [0, -1 if d < 0 else 1]])
    return np.array([[0, -1 if c < 0 else 1], [-1 if b < 0 else 1, 0]])


def orient(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn a stored image (H,W,3) the way `orientation` says it is displayed."""
    if matrix[0, 0] == 0:
        image = image.transpose(1, 0, 2)
    flip_x, flip_y = matrix.sum(axis=1) < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


@dataclass(frozen=True)
class Shape:
    """How a clip's first frame is stored, and how its pictures are displayed."""

    coded: tuple[int, int]
    """Width and height as stored."""
    matrix: np.ndarray
    """See `orientation`."""
    aspect: Fraction
    """Width of a stored pixel over its height."""

    @property
    def square(self) -> tuple[int, int]:
        """Width and height in square pixels, before the frame is turned."""
        return max(1, round(self.coded[0] * self.aspect)), self.coded[1]

    @property
    def displayed(self) -> tuple[int, int]:
        """Width and height as displayed."""
        return self.square if self.matrix[0, 0] else self.square[::-1]


class Renderer:
    """Makes RGB pictures of one shape from decoded frames.

    `others` are the coded sizes (W, H) that were made to fit, `hdr` the transfer functions that were tone-mapped,
    `combed` how many of the pictures that were `searched` show the lines of two fields.
    """

    def __init__(self, shape: Shape) -> None:
        self.others: list[tuple[int, int]] = []
        self.hdr: str | None = None
        self.searched = self.combed = self._rendered = 0
        self._before: np.ndarray | None = None
        self._shape, self._whole, self._reformat = shape, shape.square, VideoReformatter()

    def __call__(self, frame: av.VideoFrame, aspect: Fraction) -> np.ndarray:
        """Return the picture (H,W,3) uint8; one of another shape than the first gets black borders.

        `aspect` is the width of this frame's pixels over their height.
        """
        width, height = self._inside((frame.width, frame.height), aspect)
        transfer = HDR.get(frame.color_trc)
        if transfer is None:
            image = self._reformat.reformat(frame, width=width, height=height, format="rgb24").to_ndarray()
        else:
            self.hdr = transfer
            deep = self._reformat.reformat(frame, width=width, height=height, format="rgb48le").to_ndarray()
            image = tone_mapped(deep, transfer)
        if (width, height) != self._whole:
            image = bordered(image, self._whole)
        if self._before is not None and self._rendered % _EVERY == 0:
            self.searched, self.combed = self.searched + 1, self.combed + is_combed(image, self._before)
        self._before, self._rendered = image, self._rendered + 1
        return orient(image, self._shape.matrix)

    def _inside(self, coded: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
        """The size (W, H) that a frame of that coded size takes of the picture, before it is turned."""
        if coded == self._shape.coded:
            return self._whole
        if coded not in self.others:
            self.others.append(coded)
        width = coded[0] * aspect
        scale = min(self._whole[0] / width, Fraction(self._whole[1], coded[1]))
        return max(1, round(width * scale)), max(1, round(coded[1] * scale))


def bordered(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (H,W,3) in the middle of a black one of `size` (W, H)."""
    spare_x, spare_y = size[0] - image.shape[1], size[1] - image.shape[0]
    left, top = spare_x // 2, spare_y // 2
    return cv2.copyMakeBorder(image, top, spare_y - top, left, spare_x - left, cv2.BORDER_CONSTANT)


def is_combed(image: np.ndarray, before: np.ndarray) -> bool:
    """Tell whether a picture (H,W,3) uint8 shows two moments in alternate lines: where it differs from the one before,
    its lines alternate between light and dark, and its columns, which noise would touch as well, do so much less."""
    new, old = image[..., 1].astype(np.int16), before[..., 1]
    moved = np.abs(new - old) > _LEAST
    lines = _alternating(new[:, ::4], moved[:, ::4])  # a quarter of them tells as much
    return lines > 1e-3 and lines > 3 * _alternating(new[::4].T, moved[::4].T)


def _alternating(image: np.ndarray, moved: np.ndarray) -> float:
    """The share of an image (H,W) where four lines in a row go up and down, if something moved there (H,W)."""
    steps = np.diff(image, axis=0)
    up, down = steps > _LEAST, steps < -_LEAST
    alternate = (up[:-2] & down[1:-1] & up[2:]) | (down[:-2] & up[1:-1] & down[2:])
    return float((alternate & (moved[1:-2] | moved[2:-1])).sum()) / image.size


def tone_mapped(image: np.ndarray, transfer: str) -> np.ndarray:
    """Show an HDR picture on a usual screen.

    Light of the display that BT.2100 describes, up to `_KNEE` of its reference white, stays as it is; what is brighter
    is compressed smoothly. The result is for a display of gamma 2.4 (BT.1886) with the primaries of BT.709.

    Args:
        image: (H,W,3) uint16 RGB, 65535 at the top of the signal, primaries of BT.2020.
        transfer: "PQ" or "HLG".

    Returns:
        (H,W,3) uint8.
    """
    light: np.ndarray = cv2.LUT(image, _light(transfer))
    if transfer == "HLG":  # scene light; the gain of the display depends on luminance (BT.2100, table 5)
        gain = PEAK / WHITE * cv2.pow(cv2.transform(light, _LUMINANCE), 0.2)
        np.multiply(light, gain.reshape(*gain.shape[:2], 1), out=light)
    light = cv2.transform(light, _TO_709)
    roots = cv2.sqrt(np.maximum(light, 0, out=light))
    return cv2.LUT(cv2.multiply(roots, _TOP / np.sqrt(_BRIGHTEST), dtype=cv2.CV_16U), _shown())


@cache
def _light(transfer: str) -> np.ndarray:
    """(1,65536) float32: light of each signal, of the scene in 0..1 for HLG, of the display in `WHITE` for PQ."""
    signal = np.linspace(0, 1, _TOP + 1)[None]
    if transfer == "HLG":
        a = 0.17883277
        b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
        return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = signal ** (1 / m2)
    return (10_000 / WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)).astype(np.float32)


@cache
def _shown() -> np.ndarray:
    """(1,65536) uint8: what shows light of (i / 65535)^2 _BRIGHTEST on a usual screen, whose white is 1."""
    light = np.linspace(0, np.sqrt(_BRIGHTEST), _TOP + 1)[None] ** 2
    above = 1 - np.exp(-np.maximum(light - _KNEE, 0) / (1 - _KNEE))
    return np.rint(255 * np.where(light < _KNEE, light, _KNEE + (1 - _KNEE) * above) ** (1 / 2.4)).astype(np.uint8)


class Deinterlacer:
    """Makes one progressive frame of each interlaced one, with its time; `used` tells whether there was any."""

    def __init__(self) -> None:
        self.used = False
        self._filter: av.filter.Graph | None = None
        self._made_for: tuple[int, int, str] | None = None
        self._stamps: deque[tuple[int | None, Fraction | None]] = deque()

    def __call__(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Yield as many frames as come; those before the first interlaced one as they are, which costs nothing."""
        for frame in frames:
            self.used = self.used or frame.interlaced_frame
            if not self.used:
                yield frame
                continue
            kind = (frame.width, frame.height, frame.format.name)
            if self._filter is None or kind != self._made_for:
                yield from self._finished()
                self._filter, self._made_for = _bwdif(frame), kind
            self._stamps.append((frame.pts, frame.time_base))
            self._filter.push(frame)
            yield from self._made()
        yield from self._finished()

    def _made(self) -> Iterator[av.VideoFrame]:
        """What the filter has ready: it needs the next frame for each."""
        assert self._filter is not None
        while True:
            try:
                frame = self._filter.vpull()
            except (BlockingIOError, EOFError):
                return
            frame.pts, stamp_base = self._stamps.popleft()
            if stamp_base is not None:
                frame.time_base = stamp_base
            yield frame

    def _finished(self) -> Iterator[av.VideoFrame]:
        """The last frames of a filter."""
        if self._filter is not None:
            self._filter.push(None)
            yield from self._made()


def _bwdif(frame: av.VideoFrame) -> av.filter.Graph:
    """A filter that makes one picture of each frame which says that it is interlaced."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    filtered = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(filtered)
    filtered.link_to(sink)
    graph.configure()
    return graph
