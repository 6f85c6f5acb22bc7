"""Everyone in a clip's frames: a detector of drawn faces, whose places are known also where it was not asked."""

from collections.abc import Callable, Container, Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from selftrack.tracker.landmarks import everyone
from selftrack.tracker.landmarks.base import Detection, Follower, LandmarkSource, Places
from selftrack.tracker.landmarks.cast import find_cast
from selftrack.tracker.landmarks.everyone import EVERY, Sighting, sightings
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.sources.base import Frame, FrameSource, SourceInfo, Window

SIDE, TOP = 60, 70
SHAPE = np.random.default_rng(0).random((478, 2))
SHAPE[:2] = (0, 0), (1, 1)  # a face's box is all of its square
PALE, DARK = (250, 215, 190), (45, 20, 10)
Face = tuple[float, tuple[int, int, int]]
"""The left edge of a square, and its colour."""
Scene = Callable[[float], list[Face]]
"""Who is there at a second."""


class Drawn(LandmarkSource):
    """Finds the faces of a scene in its frames, and keeps the numbers of these."""

    points = 478

    def __init__(self, scene: Scene, rate: int) -> None:
        self._scene, self._rate = scene, rate
        self.searched: list[int] = []

    def follower(self, config: DetectConfig, places: Places | None = None) -> Follower:
        raise NotImplementedError

    def faces(self, frame: np.ndarray, config: DetectConfig) -> list[Detection]:
        index = int(frame[0, 0, 0]) + 256 * int(frame[0, 0, 1])
        self.searched.append(index)
        places = [(SIDE * SHAPE + (left, TOP)).astype(np.float32) for left, _ in self._scene(index / self._rate)]
        return [Detection(points, np.zeros(478, np.float32), 1.0) for points in places]


class Played(FrameSource):
    """A scene as a clip, whose frames bear their number in the first pixel."""

    def __init__(self, scene: Scene, rate: int, seconds: float) -> None:
        super().__init__()
        self.info = SourceInfo("played", None, 500, 200, Fraction(rate), seconds, Fraction(1, rate))
        self.window, self._scene, self._count = Window(), scene, round(seconds * rate)

    def count(self) -> int:
        return self._count

    def fingerprint(self) -> str:
        return ""

    def _read(self, only: Container[int] | None) -> Iterator[Frame]:
        for index in range(self._count):
            time = index / int(self.info.rate)
            image = np.full((200, 500, 3), 100, np.uint8)
            for left, colour in self._scene(time):
                image[TOP : TOP + SIDE, round(left) : round(left) + SIDE] = colour
            image[0, 0, :2] = index % 256, index // 256
            if only is None or index in only:
                yield Frame(index, time, image)


def alone(time: float) -> list[Face]:
    return [(100, PALE)]


def watched(scene: Scene, rate: int = 30, seconds: float = 4, stride: int = 4) -> tuple[list[Sighting], list[int]]:
    """What is seen of a scene, and the frames that were searched for that."""
    detector = Drawn(scene, rate)
    with Played(scene, rate, seconds) as source:
        seen = list(sightings(source.frames(), detector, DetectConfig(), stride))
    times = [time for sighting in seen for time in (*sighting.passed, sighting.frame.time)]
    assert times == [index / rate for index in range(round(seconds * rate))]  # each frame, once
    searched = sorted(detector.searched)
    assert searched == [sighting.frame.index for sighting in seen]
    return seen, searched


@pytest.mark.parametrize(("rate", "stride"), [(15, 2), (30, 4), (60, 8)])
@pytest.mark.parametrize("scene", [alone, lambda time: []])
def test_while_nothing_changes_only_the_stride_is_searched(rate: int, stride: int, scene: Scene) -> None:
    _, searched = watched(scene, rate, stride=stride)
    assert searched == sorted({*range(0, 4 * rate, stride), 4 * rate - 1})


@pytest.mark.parametrize("first", range(33, 38))
def test_who_comes_and_goes_does_so_in_the_very_frame(first: int) -> None:
    def scene(time: float) -> list[Face]:
        return [(20, PALE), *([(250, DARK)] if first <= round(30 * time) < first + 30 else [])]

    seen, searched = watched(scene)
    both = [sighting.frame.index for sighting in seen if len(sighting.faces) == 2]
    assert (both[0], both[-1]) == (first, first + 29) and {first - 1, first + 30} <= set(searched)
    assert len(searched) < 45


def test_who_moves_fast_is_searched_for_until_he_is_where_he_was() -> None:
    """Between neighbours that were searched he moves by a third of himself at most: half of both is shared."""

    def scene(time: float) -> list[Face]:
        return [(20 + 600 * min(max(time - 1, 0), 0.5), PALE)]

    _, searched = watched(scene)
    assert max(abs(scene(b / 30)[0][0] - scene(a / 30)[0][0]) for a, b in pairwise(searched)) <= SIDE / 3 + 1e-6
    assert len(searched) < 60


def test_another_one_at_the_same_place_comes_in_the_very_frame() -> None:
    _, searched = watched(lambda time: [(100, PALE if time < 1.5 else DARK)])
    assert {44, 45} <= set(searched) and len(searched) < 40


def test_both_sides_of_a_cut_are_searched() -> None:
    detector = Drawn(alone, 30)
    with Played(alone, 30, 3) as source:
        frames = list(source.frames())
    for frame in frames:
        frame.image[:, 200:] = 20 if frame.index < 47 else 230
    seen = list(sightings(frames, detector, DetectConfig(), 4))
    assert [sighting.frame.index for sighting in seen if sighting.cut] == [47]
    assert {46, 47} <= set(detector.searched) and len(seen) < 30


def test_no_gap_of_frames_is_passed_over() -> None:
    """Where a clip has 5 frames a second, all are searched, whatever its mean rate asks for."""
    with Played(alone, 30, 1) as source:
        slow = [Frame(frame.index, 6 * frame.time, frame.image) for frame in source.frames()]
    assert len(list(sightings(slow, Drawn(alone, 30), DetectConfig(), 4))) == len(slow) and 6 / 30 > EVERY


def test_large_pictures_are_not_held_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are searched more often instead, and the same is found."""
    monkeypatch.setattr(everyone, "_HELD", 3 * 200 * 500 * 3)
    seen, searched = watched(lambda time: alone(time) if time < 2.03 else [], rate=60, stride=8)
    assert max(b - a for a, b in pairwise(searched)) == 3
    assert [sighting.frame.index for sighting in seen if sighting.faces][-1] == 121


@pytest.mark.parametrize("rate", [15, 30, 60])
def test_places_between_searches_are_on_the_way(rate: int) -> None:
    """Two who swing to and fro have a place in each frame, to a twentieth of a face, and are searched for as often as
    at any rate; each frame was searched once."""
    seconds = 12

    def scene(time: float) -> list[Face]:
        swing = round(40 * np.sin(2 * time))  # whole pixels, so that they look the same
        return [(120 + swing, PALE), (340 - swing, DARK)]

    detector = Drawn(scene, rate)
    with Played(scene, rate, seconds) as source:
        faces = find_cast(source, detector, DetectConfig())
    assert len(faces) == 2
    for face, (start, _) in zip(sorted(faces, key=lambda face: face.places.boxes[0, 0]), scene(0), strict=True):
        places = face.places
        np.testing.assert_allclose(places.times, np.arange(seconds * rate) / rate, atol=1e-9)
        truth = np.array([scene(time)[int(start > 200)][0] for time in places.times])
        np.testing.assert_allclose(places.boxes[:, 0], truth, atol=SIDE / 20)
        np.testing.assert_allclose(places.boxes[:, 2] - places.boxes[:, 0], SIDE, atol=1e-3)
        assert face.seen == pytest.approx(seconds) and 24 <= len(face.samples) < 48
    assert len(detector.searched) == pytest.approx(24 + seconds * 7.5, abs=2)
