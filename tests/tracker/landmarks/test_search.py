"""All faces of a frame: known pictures turned, cut off and beside each other; boxes that are no faces."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.landmarks import MIRRORED
from selftrack.tracker.geometry import crop
from selftrack.tracker.landmarks.attention_mesh import SIZE, LandmarkNet
from selftrack.tracker.landmarks.base import Detection
from selftrack.tracker.landmarks.boxes import BoxConfig, BoxDetector, FaceBoxes
from selftrack.tracker.landmarks.search import FaceSearch, bounding_box, compose

DATA = Path(__file__).parents[2] / "data" / "landmarks"
FACE = np.ascontiguousarray(cv2.imread(str(DATA / "crop_0.png"))[..., ::-1])


class MadeUpBoxes(BoxDetector):
    """Finds what it is told to, level by level."""

    def __init__(self, *levels: list[tuple[float, float, float, float]]) -> None:
        super().__init__()
        self._levels = levels
        self.asked = 0

    def levels(self, frame: np.ndarray, config: BoxConfig | None = None) -> Iterator[FaceBoxes]:
        for corners in self._levels:
            self.asked += 1
            boxes = np.array(corners, float).reshape(-1, 4)
            eyes = np.stack([boxes[:, [0, 1]], boxes[:, [2, 1]]], 1)
            points = np.concatenate([eyes, np.zeros((len(boxes), 4, 2))], 1)
            yield FaceBoxes(boxes, points, np.full(len(boxes), 0.6))


@pytest.fixture(scope="module")
def net() -> LandmarkNet:
    return LandmarkNet().eval()


@pytest.fixture(scope="module")
def search(net: LandmarkNet) -> FaceSearch:
    return FaceSearch(net, BoxDetector())


def frame_with(*faces: tuple[int, int, int], height: int = 480, width: int = 640) -> np.ndarray:
    """A grey frame with the face at (left, top) of a side, cut off where it reaches beyond the frame."""
    out = np.full((height, width, 3), 110, np.uint8)
    for left, top, side in faces:
        picture = cv2.resize(FACE, (side, side), interpolation=cv2.INTER_AREA)
        x, y = max(left, 0), max(top, 0)
        part = picture[y - top : y - top + height - y, x - left : x - left + width - x]
        out[y : y + len(part), x : x + part.shape[1]] = part
    return out


def apart(found: Detection, expected: np.ndarray) -> float:
    """Mean distance in % IOD."""
    distance = np.linalg.norm(found.points - expected, axis=1).mean()
    return float(100 * distance / np.linalg.norm(expected[33] - expected[263]))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_in_any_turn_has_its_points_turned(search: FaceSearch, quarters: int) -> None:
    """An upside-down face used to get an upright mesh."""
    frame = frame_with((200, 100, 288))
    (upright,) = search(frame)
    turned = np.ascontiguousarray(np.rot90(frame, quarters))
    x, y = upright.points.T
    expected = {1: (y, 639 - x), 2: (639 - x, 479 - y), 3: (479 - y, x)}[quarters]
    (found,) = search(turned)
    assert apart(found, np.stack(expected, 1)) < 2


def test_half_a_face_at_the_edge_is_found(search: FaceSearch) -> None:
    whole, half = frame_with((200, 100, 288)), frame_with((200, 100, 288))[:, :352]
    (expected,), (found,) = search(whole), search(np.ascontiguousarray(half))
    inside = expected.points[:, 0] < 330
    distance = np.linalg.norm((found.points - expected.points)[inside], axis=1).mean()
    assert distance < 0.12 * np.linalg.norm(expected.points[33] - expected.points[263])


def test_a_false_box_does_not_end_the_search(net: LandmarkNet) -> None:
    """The next level has the face."""
    boxes = MadeUpBoxes([(10, 10, 120, 120)], [(270, 150, 420, 300)])
    (found,) = FaceSearch(net, boxes)(frame_with((200, 100, 288)))
    box = bounding_box(found.points)
    assert 250 < box[0] < 300 and 370 < box[2] < 440


def test_a_pattern_is_no_face_however_sure_the_landmarks_are(
    net: LandmarkNet, search: FaceSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (face,) = search(frame_with((200, 100, 288)))
    rng = np.random.default_rng(0)
    pattern = cv2.resize(rng.integers(0, 255, (30, 40, 3), np.uint8), (640, 480))
    made_up = FaceSearch(net, MadeUpBoxes([(270, 150, 420, 300)]))
    monkeypatch.setattr(FaceSearch, "read", lambda *_: face)
    monkeypatch.setattr(FaceSearch, "_glance", lambda *_: face.points)
    with monkeypatch.context() as once:
        scores = [0.9]  # a pattern may pass by chance, but not twice
        once.setattr(FaceSearch, "score", lambda *_, **__: scores.pop() if scores else 0.5)
        assert made_up(pattern) == []
    assert made_up(pattern) == []
    assert made_up(frame_with((200, 100, 288))) == [face]


def test_the_score_tells_people_from_patterns(search: FaceSearch) -> None:
    frame = frame_with((200, 100, 288))
    (face,) = search(frame)
    assert search.score(frame, face.points) > 0.85
    assert search.score(frame, face.points, 2) < 0.8
    assert search.score(frame, face.points + (250, 0)) < 0.5
    turned = np.ascontiguousarray(frame[::-1, ::-1])
    assert search.score(turned, (639, 479) - face.points) == pytest.approx(search.score(frame, face.points), abs=0.03)


def test_a_mirror_shows_the_mirrored_points(search: FaceSearch) -> None:
    """The landmark network alone differs by 0.9 percent of the IOD."""
    frame = frame_with((200, 100, 288))
    (face,) = search(frame)
    region = crop.face_similarity(face.points, SIZE)
    across = np.array([[-1.0, 0, 639], [0, 1, 0]])
    other = compose(np.array([[-1.0, 0, SIZE - 1], [0, 1, 0]]), compose(region, across))
    found, mirrored = search.read(frame, region, 0.5), search.read(np.ascontiguousarray(frame[:, ::-1]), other, 0.5)
    assert found is not None and mirrored is not None
    assert apart(mirrored, crop.apply(across, found.points)[np.array(MIRRORED)]) < 0.05


def test_two_faces_the_largest_first(search: FaceSearch) -> None:
    frame = frame_with((10, 20, 200), (330, 20, 300))
    large, small = search.all(frame)
    assert large.points[:, 0].mean() > 320 > small.points[:, 0].mean()
    assert len(search(frame, 1)) >= 1


def test_one_face_found_twice_is_one(net: LandmarkNet) -> None:
    """By overlapping boxes of one level, and again on the next."""
    boxes = MadeUpBoxes([(270, 150, 420, 300), (280, 160, 430, 310)], [(265, 150, 415, 300)])
    assert len(FaceSearch(net, boxes).all(frame_with((200, 100, 288)))) == 1
    assert boxes.asked == 2


def test_a_level_is_searched_only_where_it_is_needed(net: LandmarkNet) -> None:
    boxes = MadeUpBoxes([(270, 150, 420, 300)], [], [])
    FaceSearch(net, boxes)(frame_with((200, 100, 288)))
    assert boxes.asked == 1


@pytest.mark.parametrize("side,levels", [(128, 3), (1920, 3), (2560, 3), (2561, 4), (3840, 4), (7680, 5)])
def test_huge_frames_are_searched_more_finely(side: int, levels: int) -> None:
    """A pixel of the finest copy spans five of the frame at most."""
    assert BoxConfig().levels_of(side) == levels
    assert side / (128 << (levels - 1)) <= 5


def test_compose_is_one_after_the_other() -> None:
    rng = np.random.default_rng(0)
    first, second, points = rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(5, 2))
    once = points @ first[:, :2].T + first[:, 2]
    np.testing.assert_allclose(
        points @ compose(second, first)[:, :2].T + compose(second, first)[:, 2], once @ second[:, :2].T + second[:, 2]
    )


def test_the_search_has_no_memory(search: FaceSearch) -> None:
    frame = frame_with((200, 100, 288))
    first = search(frame)[0].points
    search(np.full((480, 640, 3), 110, np.uint8))
    assert torch.equal(torch.from_numpy(search(frame)[0].points), torch.from_numpy(first))
