"""Everyone in the frames of a clip: searched for now and then, and in between wherever the faces do not stay the same.

A search costs several times what following one face costs, and people rarely come and go. Image frame: pixels of the
displayed frame, x right, y down, centre of the top-left pixel at (0, 0).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from selftrack.tracker.geometry import crop
from selftrack.tracker.landmarks.base import Detection, LandmarkSource
from selftrack.tracker.landmarks.boxes import overlaps
from selftrack.tracker.landmarks.search import DetectConfig, bounding_box
from selftrack.tracker.sources.base import Frame

EVERY = 0.18
"""Seconds between two searches at most: who is seen for less is no one, and who is where he was before is the same."""
_AT_A_TIME = 2
"""Stretches of frames that are worked on at a time, while the next one is read: so many threads, and so much memory."""
_HELD = 64_000_000
"""Bytes of pictures after which a stretch ends: they are held until it is known whether they must be searched."""
_CUT = 20.0
"""Grey levels by which a small picture of the frame changes at a cut, brightness left out."""
_SAME_PLACE = 0.5
"""Intersection over union above which the faces of two searches may be one that was there all the time."""
_SAME_LOOK = 0.3
"""Difference of appearances below which they are."""
_SIDE = 12
"""Pixels along a side of what is compared of two faces."""
_GREY, _CHROMA = 0.6, 0.4
"""What two people differ by at least, of grey levels and of colours; of one, half of that between frames."""


class Sighting(NamedTuple):
    """Everyone in one frame that was searched."""

    frame: Frame
    faces: list[Detection]
    looks: list[np.ndarray]
    """The `appearance` of each."""
    cut: bool
    """Whether the picture changed before this frame, as at a cut."""
    passed: tuple[float, ...]
    """Times of the frames since the sighting before, in which the same faces are, or none."""


class _Found(NamedTuple):
    faces: list[Detection]
    looks: list[np.ndarray]


class _Stretch(NamedTuple):
    """Frames of one shot, the last of which is searched; the first frame of a shot is a stretch of its own."""

    frames: list[Frame]
    cut: bool
    """Whether the first one, then the only one, comes after a cut."""


def sightings(
    frames: Iterable[Frame], landmarks: LandmarkSource, config: DetectConfig, stride: int = 1
) -> Iterator[Sighting]:
    """Search frames for all their faces, in threads while the next ones are decoded.

    Args:
        frames: of a clip, in order.
        landmarks: what finds faces.
        config: detection.
        stride: of the frames that are searched in any case, by their indices. Further ones are around a cut and where
            somebody comes, goes, moves fast or looks otherwise than at the search before, and where more than `EVERY`
            seconds would pass.
    """

    def search(frame: Frame) -> _Found:
        faces = landmarks.faces(frame.image, config)
        return _Found(faces, [appearance(frame.image, face.points) for face in faces])

    waiting: deque[Future[list[Sighting]]] = deque()
    before: Future[_Found] | None = None
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for stretch in _stretches(frames, stride):
            last = pool.submit(search, stretch.frames[-1])
            waiting.append(pool.submit(_completed, stretch, before, last, search))
            before = last
            if len(waiting) == _AT_A_TIME:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _stretches(frames: Iterable[Frame], stride: int) -> Iterator[_Stretch]:
    """Divide frames at cuts, behind multiples of the stride, and before `EVERY` seconds have passed."""
    held: list[Frame] = []
    since, before = 0.0, None
    for frame in frames:
        small = thumbnail(frame.image)
        cut = before is not None and float(np.abs(small - before).mean()) > _CUT
        begins = cut or before is None
        full = len(held) * frame.image.nbytes >= _HELD
        if held and (begins or full or held[-1].index % stride == 0 or frame.time > since + EVERY):
            yield _Stretch(held, False)
            held, since = [], held[-1].time
        if begins:
            yield _Stretch([frame], cut)
            since = frame.time
        else:
            held.append(frame)
        before = small
    if held:
        yield _Stretch(held, False)


def _completed(
    stretch: _Stretch, before: Future[_Found] | None, last: Future[_Found], search: Callable[[Frame], _Found]
) -> list[Sighting]:
    """The sightings of a stretch: that of its last frame, and those that are needed before it."""
    *frames, _ = stretch.frames
    found = [*(_between(frames, before.result(), last.result(), search) if before else ()), last.result()]
    sighted, passed = list[Sighting](), list[float]()
    for frame, seen in zip(stretch.frames, found, strict=True):
        if seen is None:
            passed.append(frame.time)
        else:
            sighted.append(Sighting(frame, seen.faces, seen.looks, stretch.cut, tuple(passed)))
            passed = []
    return sighted


def _between(
    frames: Sequence[Frame], first: _Found, last: _Found, search: Callable[[Frame], _Found]
) -> list[_Found | None]:
    """Search the frames between two others until neighbours show the same faces; None for those that need no search."""
    if not frames or _same(first, last):
        return [None] * len(frames)
    middle = len(frames) // 2
    found = search(frames[middle])
    left, right = _between(frames[:middle], first, found, search), _between(frames[middle + 1 :], found, last, search)
    return [*left, found, *right]


def _same(first: _Found, last: _Found) -> bool:
    """Whether the faces of two frames are the same, at about the same places."""
    if len(first.faces) != len(last.faces):
        return False
    boxes = np.array([bounding_box(face.points) for face in last.faces]).reshape(-1, 4)
    taken = set()
    for face, look in zip(first.faces, first.looks, strict=True):
        shared = overlaps(boxes, bounding_box(face.points))
        nearest = int(shared.argmax())
        if shared[nearest] < _SAME_PLACE or np.linalg.norm(last.looks[nearest] - look) > _SAME_LOOK:
            return False
        taken.add(nearest)
    return len(taken) == len(last.faces)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A small picture (32,32,3) float32 without its mean brightness, by which cuts are found: exposure may jump without
    one."""
    step = max(min(image.shape[:2]) // 256, 1)  # of a large frame every step-th pixel says enough
    small = cv2.resize(image[::step, ::step], (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small - small.mean()


def appearance(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """What a face with landmarks (L,2) looks like, coarsely, hair and neck included: a vector whose distances are about
    1 between people and 0.5 between distant frames of one."""
    picture = crop.warp(image, _filled(points, 4 * _SIDE), 4 * _SIDE)
    lab = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    grey, chroma = lab[..., 0].astype(float), lab[..., 1:] / 255.0
    grey = (grey - grey.mean()) / (grey.std() + 3) / _SIDE
    return np.concatenate([grey.ravel() / _GREY, chroma.ravel() / _CHROMA]) / np.sqrt(2)


def _filled(points: np.ndarray, side: int) -> np.ndarray:
    """The affine transform (2,3), image -> crop of a side, that puts a face with landmarks (L,2) upright, as wide and
    as tall as all faces are: neither a turn of the head nor a picture that was squeezed counts."""
    upright = crop.face_similarity(points, side)
    box = bounding_box(crop.apply(upright, points))
    middle, scale = (side - 1) / 2, side / crop.SIDE_PER_FACE / np.maximum(box[2:] - box[:2], 1e-3)
    return np.diag(scale) @ upright + np.concatenate([np.zeros((2, 2)), (middle - scale * middle)[:, None]], 1)
