"""Face boxes against slow twins and the original runtime; following on pictures whose motion is known."""

import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch

from selftrack.errors import UserError
from selftrack.tracker.geometry import crop
from selftrack.tracker.landmarks.base import Detection
from selftrack.tracker.landmarks.boxes import (
    SIZE,
    BoxDetector,
    FaceBoxes,
    anchors,
    decode,
    drop_nested,
    merge_boxes,
    overlaps,
)
from selftrack.tracker.landmarks.detectors import AttentionMesh, Fan
from selftrack.tracker.landmarks.follower import FaceFollower
from selftrack.tracker.landmarks.search import DetectConfig, bounding_box
from selftrack.tracker.model import Model

CPU = torch.device("cpu")
MESH = AttentionMesh(CPU)
DATA = Path(__file__).parents[2] / "data" / "landmarks"
EXPECTED = np.load(DATA / "expected.npz")


def picture(name: str) -> np.ndarray:
    """A picture of the test data, (S, S, 3) uint8 RGB."""
    return np.ascontiguousarray(cv2.imread(str(DATA / f"{name}.png"))[..., ::-1])


NEUTRAL, SMILE = picture("crop_0"), picture("crop_3")


def place(canvas: np.ndarray, face: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A copy of the canvas with a picture of a face in it, `side` pixels large."""
    out = canvas.copy()
    method = cv2.INTER_AREA if side < len(face) else cv2.INTER_CUBIC
    out[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=method)
    return out


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 110, np.uint8)


def iod(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[33] - points[263]))


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean distance in % IOD."""
    return 100 * float(np.linalg.norm(found - expected, axis=-1).mean()) / iod(expected)


def expected_points(number: int, left: int, top: int, side: int) -> np.ndarray:
    """Where the original runtime sees the points of a crop that was placed in a frame.

    The smile's crop is turned, off its centre and wide, which costs the original some percent of the IOD.
    """
    return EXPECTED["points"][number, :, :2] * (side / 192) + (left, top) - 0.5


@pytest.fixture(scope="module")
def boxes() -> BoxDetector:
    return BoxDetector()


@pytest.fixture(scope="module")
def shared() -> FaceFollower:
    return MESH.follower(DetectConfig())


@pytest.fixture
def follower(shared: FaceFollower) -> FaceFollower:
    """A follower of the largest face that has seen nothing yet."""
    shared.reset()
    return shared


def test_decode_equals_its_slow_twin() -> None:
    rng = np.random.default_rng(0)
    raw, logits = rng.normal(0, 20, (896, 16)), rng.normal(0, 200, 896)
    fast = decode(raw, logits)
    row = 0
    for cells, repeats in ((16, 2), (8, 6)):
        for y in range(cells):
            for x in range(cells):
                centre = np.array([(x + 0.5) / cells, (y + 0.5) / cells])
                for _ in range(repeats):
                    middle, size = raw[row, :2] + SIZE * centre, raw[row, 2:4]
                    assert np.allclose(anchors()[row], centre)
                    assert np.allclose(fast.corners[row], [*(middle - size / 2), *(middle + size / 2)])
                    for k in range(6):
                        expected = raw[row, 4 + 2 * k : 6 + 2 * k] + SIZE * centre
                        assert np.allclose(fast.points[row, k], expected)
                    clipped = max(min(logits[row], 100), -100)
                    assert np.isclose(fast.scores[row], 1 / (1 + np.exp(-clipped)))
                    row += 1
    assert row == 896


def test_overlaps_of_known_boxes() -> None:
    corners = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [0, 0, 1, 4], [5, 5, 4, 4]], float)
    assert np.allclose(overlaps(corners, corners[0]), [1, 1 / 7, 0, 2 / 6, 0])


def test_merging_averages_by_score() -> None:
    corners = np.array([[0, 0, 10, 10], [40, 0, 50, 10], [1, 0, 11, 10]], float)
    points = np.repeat(corners[:, None, :2], 6, axis=1)
    faces = merge_boxes(FaceBoxes(corners, points, np.array([0.9, 0.7, 0.6])), 0.3)
    assert np.allclose(faces.corners, [[0.4, 0, 10.4, 10], [40, 0, 50, 10]])
    assert np.allclose(faces.points[:, 3], [[0.4, 0], [40, 0]])
    assert np.allclose(faces.scores, [0.9, 0.7])


def test_a_box_inside_a_surer_one_is_the_same_face() -> None:
    """Three faces: a sure one with a part of itself, and a neighbour that overlaps it a little."""
    corners = np.array([[0, 0, 10, 10], [2, 2, 7, 7], [8, 0, 18, 10], [1, 1, 12, 12]], float)
    faces = drop_nested(FaceBoxes(corners, np.zeros((4, 6, 2)), np.array([0.9, 0.95, 0.7, 0.6])))
    assert faces.corners.tolist() == [[2, 2, 7, 7], [8, 0, 18, 10]]
    assert len(drop_nested(faces.take(np.zeros(0, int))).scores) == 0


def test_boxes_equal_the_original_runtime(boxes: BoxDetector) -> None:
    for number in range(2):
        faces = next(boxes.levels(picture(f"box_{number}")))
        assert len(faces.scores) == 1
        assert np.abs(faces.corners[0] + 0.5 - EXPECTED["box_corners"][number]).max() < 0.01
        assert np.abs(faces.points[0] + 0.5 - EXPECTED["box_points"][number]).max() < 0.01
        assert abs(faces.scores[0] - EXPECTED["box_scores"][number]) < 1e-3


def test_points_lie_where_the_original_runtime_sees_them(follower: FaceFollower) -> None:
    """The follower chooses its own region; the answer hardly depends on it. Depth is in the same unit."""
    found = follower.detect_once(place(grey(480, 640), NEUTRAL, 200, 100, 288))
    assert found is not None and found.confidence > 0.95
    assert found.points.shape == (478, 2) and found.points.dtype == np.float32
    assert apart(found.points, expected_points(0, 200, 100, 288)) < 2
    depth = EXPECTED["points"][0, :, 2] * (288 / 192)
    assert found.depth.shape == (478,)
    assert np.abs(found.depth - depth).mean() < 0.06 * iod(found.points)
    assert found.depth[4] < found.depth[234] and found.depth[4] < found.depth[454]  # the nose is nearer


@pytest.mark.parametrize("side", [100, 160, 700])
def test_small_and_large_faces_in_a_large_frame(follower: FaceFollower, side: int) -> None:
    """A face of 55 pixels in 1920 is found in the tiles only."""
    found = follower.detect_once(place(grey(1080, 1920), NEUTRAL, 1150, 330, side))
    assert found is not None
    assert apart(found.points, expected_points(0, 1150, 330, side)) < 4


def test_a_huge_frame_is_read_as_a_large_one(follower: FaceFollower) -> None:
    """Where every step-th pixel is read, points stay in the frame's own pixels."""
    frame = place(grey(1080, 1920), NEUTRAL, 500, 100, 800)
    huge = cv2.resize(frame, (5760, 3240), interpolation=cv2.INTER_CUBIC)
    small, large = follower.detect_once(frame), follower.detect_once(huge)
    assert small is not None and large is not None
    assert apart(large.points, 3 * (small.points + 0.5) - 0.5) < 1


def test_follows_turning_zooming_and_drifting(follower: FaceFollower) -> None:
    """The points move as the picture does."""
    face = place(grey(480, 640), NEUTRAL, 180, 90, 288)
    reference = follower.detect_once(face)
    assert reference is not None
    for step in range(24):
        move = cv2.getRotationMatrix2D((320, 240), 1.2 * step, 1 - 0.015 * step)
        move[:, 2] += (4 * step, -1.5 * step)
        found = follower(cv2.warpAffine(face, move, (640, 480), borderValue=(110, 110, 110)))
        assert found is not None
        assert apart(found.points, crop.apply(move, reference.points)) < 4


def test_a_fast_zoom_is_not_lagged_behind(follower: FaceFollower) -> None:
    """The network half believes that a face fills its region: one that lags would lag more and more."""
    for side in range(180, 320, 14):
        frame = place(grey(480, 800), SMILE, 420, 60, side)
        found, afresh = follower(frame), follower.detect_once(frame)
        assert found is not None and afresh is not None
        assert apart(found.points, afresh.points) < 2.5


def test_the_region_stands_still_under_noise(follower: FaceFollower, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise moves the points, but not the region that the network sees, so nothing feeds back."""
    regions = []
    warp = crop.warp

    def record(frame: np.ndarray, region: np.ndarray, size: int) -> np.ndarray:
        if size == 192:  # what the landmark network sees
            regions.append(region)
        return warp(frame, region, size)

    monkeypatch.setattr(crop, "warp", record)
    rng = np.random.default_rng(0)
    face = place(grey(480, 640), NEUTRAL, 180, 90, 288).astype(float)
    tracks = []
    for _ in range(8):
        found = follower(np.clip(face + rng.normal(0, 6, face.shape), 0, 255).astype(np.uint8))
        assert found is not None
        tracks.append(found.points)
    followed = np.stack(regions[3:])  # behind the two looks of the search, and the first of the following
    assert np.allclose(followed, followed[0], atol=1e-9)
    assert np.stack(tracks).std(0).max() > 0


def test_lost_and_found_again(follower: FaceFollower) -> None:
    face, empty = place(grey(240, 320), NEUTRAL, 60, 20, 192), grey(240, 320)
    seen = [follower(frame) is not None for frame in (empty, face, face, empty, empty, face)]
    assert seen == [False, True, True, False, False, True]


def test_a_cut_to_a_face_elsewhere(follower: FaceFollower) -> None:
    """In the very frame of the cut, also when the new face is partly in the old region."""
    assert follower(place(grey(480, 640), NEUTRAL, 0, 20, 240)) is not None
    for left, top, side in ((390, 230, 240), (300, 150, 300), (20, 20, 120)):
        found = follower(place(grey(480, 640), SMILE, left, top, side))
        assert found is not None
        assert apart(found.points, expected_points(3, left, top, side)) < 10


def test_two_faces(follower: FaceFollower) -> None:
    """The largest is taken and kept when the other becomes larger; `face=1` takes the other and keeps it."""
    second = MESH.follower(DetectConfig(face=1))
    assert second(place(grey(480, 800), NEUTRAL, 40, 60, 300)) is None  # only one so far
    for step in range(9):
        sides = (300 - 15 * step, 180 + 15 * step)
        frame = place(grey(480, 800), NEUTRAL, 40, 60, sides[0])
        frame = place(frame, SMILE, 420, 60, sides[1])
        for track, number, left, side in ((follower, 0, 40, sides[0]), (second, 3, 420, sides[1])):
            found = track(frame)
            assert found is not None
            assert apart(found.points, expected_points(number, left, 60, side)) < 10
    assert sides[0] < sides[1]


def test_a_returning_face_is_preferred_where_it_was(follower: FaceFollower) -> None:
    small = place(grey(480, 800), SMILE, 520, 60, 180)
    assert follower(small) is not None
    assert follower(grey(480, 800)) is None
    found = follower(place(small, NEUTRAL, 40, 60, 300))
    assert found is not None
    assert apart(found.points, expected_points(3, 520, 60, 180)) < 10


def test_a_single_look_leaves_no_trace(follower: FaceFollower) -> None:
    left, right = place(grey(240, 500), NEUTRAL, 10, 20, 192), place(grey(240, 500), SMILE, 280, 20, 192)
    first = follower(left)
    plain = follower(left)
    follower.reset()
    assert first is not None and plain is not None
    assert np.array_equal(follower(left).points, first.points)
    assert follower.detect_once(right).points.mean(0)[0] > 280
    assert np.array_equal(follower(left).points, plain.points)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (15, 400), (16, 16), (33, 17)])
def test_tiny_frames_have_no_face(follower: FaceFollower, shape: tuple[int, int]) -> None:
    assert follower(grey(*shape)) is None
    assert follower.detect_once(grey(*shape)) is None


def test_wrong_frames_are_refused(follower: FaceFollower, boxes: BoxDetector) -> None:
    for frame in (np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3), np.float32), np.zeros((48, 64, 4), np.uint8)):
        for call in (follower, follower.detect_once, lambda frame: next(boxes.levels(frame))):
            with pytest.raises(ValueError, match="expected a frame"):
                call(frame)
    with pytest.raises(ValueError, match="got -1"):
        MESH.follower(DetectConfig(face=-1))


def fake_library(failure: Exception | None = None) -> SimpleNamespace:
    """Stands in for face-alignment: its points are the corners of the box that it is given."""

    class FaceAlignment:
        def __init__(self, kind: int, **settings: object) -> None:
            if failure is not None:
                raise failure

        def get_landmarks_from_image(self, frame: np.ndarray, faces: list[np.ndarray]) -> list[np.ndarray]:
            return [np.tile(np.reshape(faces[0], (2, 2)), (34, 1))]

    return SimpleNamespace(FaceAlignment=FaceAlignment, LandmarksType=SimpleNamespace(TWO_D=1))


def test_fan_is_given_the_followed_face(follower: FaceFollower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", fake_library())
    fan = Fan(CPU).follower(DetectConfig())
    frame = place(grey(240, 320), NEUTRAL, 60, 20, 192)
    for found, dense in ((fan(frame), follower(frame)), (fan.detect_once(frame), follower.detect_once(frame))):
        assert isinstance(found, Detection) and dense is not None
        assert found.points.shape == (68, 2) and found.depth.shape == (68,)
        assert np.allclose(found.points[:2].reshape(4), bounding_box(dense.points))
        assert found.confidence == dense.confidence
    assert fan(grey(240, 320)) is None


@pytest.mark.parametrize("failure", [URLError("no route to host"), RuntimeError("invalid hash value")])
def test_fan_without_its_weights(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", fake_library(failure))
    with pytest.raises(ValueError, match="FAN landmarks cannot be downloaded") as caught:
        Fan(CPU)
    assert "\n" not in str(caught.value)


def test_fan_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"face_alignment.*pip install 'selftrack\[paper\]'$") as caught:
        Model.load(landmarks="fan", device="cpu")
    assert "\n" not in str(caught.value)
