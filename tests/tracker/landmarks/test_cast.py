"""Who is in a clip: made-up clips of one man as himself, recoloured and as a picture, whose places are known."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.errors import NoFaceError
from selftrack.tracker.clips.subjects import PersonConfig, find_face
from selftrack.tracker.landmarks.base import Places
from selftrack.tracker.landmarks.cast import CastFace, _joined, _Path, find_cast
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.everyone import appearance
from selftrack.tracker.landmarks.search import DetectConfig, bounding_box
from selftrack.tracker.model import Model
from selftrack.tracker.progress import FINDING, FOLLOWING
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import TrackerConfig

DATA = Path(__file__).parents[2] / "data"
MESH = AttentionMesh(torch.device("cpu"))
LENGTH, WIDTH, HEIGHT = 16, 800, 300
MakeClip = Callable[..., Path]


@pytest.fixture(scope="module")
def man() -> list[np.ndarray]:
    """Pictures (220,220,3) of a man who begins to smile."""
    with open_source(DATA / "smile.mp4") as source:
        frames = [frame.image[20:330, 140:450] for frame in source.frames(only=set(range(10, 10 + 3 * LENGTH, 3)))]
    return [cv2.resize(frame, (220, 220), interpolation=cv2.INTER_AREA) for frame in frames]


@pytest.fixture(scope="module")
def other(man: list[np.ndarray]) -> list[np.ndarray]:
    """Another man: blue and pale, mirrored, and he stops smiling."""
    return [(255 * (picture[:, ::-1, ::-1] / 255.0) ** 0.45).astype(np.uint8) for picture in reversed(man)]


@pytest.fixture(scope="module")
def stranger(drawn_person: Callable) -> np.ndarray:
    """Somebody else, drawn: to the descriptor the other man above is the same man."""
    return cv2.resize(drawn_person(4)[0], (220, 220))


def with_face_of(picture: np.ndarray, stranger: np.ndarray) -> np.ndarray:
    """The picture with somebody else's face, in its own colours: hair, clothes and all around stay as they are."""
    (own,), (his,) = (MESH.faces(image, DetectConfig()) for image in (picture, stranger))
    onto, _ = cv2.estimateAffine2D(his.points[:468], own.points[:468])
    face = cv2.warpAffine(stranger, onto, picture.shape[1::-1]).astype(float)
    mask = np.zeros(picture.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(own.points[:468].astype(np.int32)), 1.0)
    here, there = picture[mask > 0], face[mask > 0]
    face = (face - there.mean(0)) / there.std(0) * here.std(0) + here.mean(0)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
    return (picture * (1 - mask) + face * mask).clip(0, 255).astype(np.uint8)


def scene(*actors: tuple[np.ndarray, int, int]) -> np.ndarray:
    """A frame with pictures at columns, each of a side; later ones are in front."""
    out = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    for picture, left, side in actors:
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        low, high = max(left, 0), min(left + side, WIDTH)
        if high > low:
            out[20 : 20 + side, low:high] = small[:, low - left : high - left]
    return out


def cast_of(clip: Path, everyone: bool = False) -> tuple[CastFace, ...]:
    with open_source(clip) as source:
        return find_cast(source, MESH, DetectConfig(), samples=6, everyone=everyone)


def left_of(face: CastFace, row: int) -> float:
    """Where a face is in a frame, the left edge of its box; NaN where it is not."""
    assert face.places is not None
    rows = np.flatnonzero(np.abs(face.places.times - row / 25) < 1e-3)
    return float(face.places.boxes[rows[0]][0]) if len(rows) else np.nan


def test_a_clip_of_one(make_clip: MakeClip, man: list[np.ndarray]) -> None:
    """The samples suffice, and nothing is to be kept apart; asked for everyone, it is the same one."""
    clip = make_clip("one.mp4", [scene((picture, 100, 220)) for picture in man])
    (face,) = cast_of(clip)
    assert face.places is None and len(face.samples) == 6 and not face.still
    (again,) = cast_of(clip, everyone=True)
    assert again.places is None and again.times == pytest.approx((0, 15 / 25), abs=1e-3)
    assert again.size == pytest.approx(face.size, rel=0.05)


def test_a_clip_of_none(make_clip: MakeClip) -> None:
    assert cast_of(make_clip("none.mp4", [scene()] * 5)) == ()


def test_a_picture_on_the_wall_is_not_the_default(make_clip: MakeClip, man: list[np.ndarray], other: list) -> None:
    """However large it is."""
    clip = make_clip("wall.mp4", [scene((other[3], 420, 270), (picture, 100, 190)) for picture in man])
    live, still = cast_of(clip)
    assert live.times[0] == 0 and left_of(live, 5) < 300 < left_of(still, 5)
    assert (live.still, still.still) == (False, True) and "still as a picture" in str(still)
    with open_source(clip) as source:
        tracking = TrackerConfig(detect=DetectConfig(face=1))
        face, everyone, (note,), number = find_face(source, Model.load(device="cpu"), tracking, PersonConfig(samples=4))
    assert number == 1 and face is not None and face.still and len(everyone) == 2
    assert note.startswith(f"{clip}: 2 faces were found; face 1 (") and "--face 0 (" in note


def test_who_comes_later_is_the_next_however_large(make_clip: MakeClip, man: list[np.ndarray], other: list) -> None:
    """Samples of the first show him alone: his identity was once mixed with that of the larger one."""
    frames = [
        scene((a, 60, 170), (b, 420 if row >= 6 else WIDTH, 270))
        for row, (a, b) in enumerate(zip(man, other, strict=True))
    ]
    first, second = cast_of(make_clip("later.mp4", frames))
    assert first.size < second.size and second.times[0] == pytest.approx(6 / 25, abs=0.05)
    blue = [image[100:150, 100:150].astype(int) for image, _ in (*first.samples, *second.samples)]
    assert [bool((part[..., 2] > part[..., 0]).mean() > 0.5) for part in blue] == (
        [False] * len(first.samples) + [True] * len(second.samples)
    )


def test_two_who_cross_are_kept_apart(make_clip: MakeClip, man: list[np.ndarray], other: list) -> None:
    """The one behind is seen again on the other side, under his own number."""
    frames = []
    for row, (a, b) in enumerate(zip(man, other, strict=True)):
        step = 33 * row
        frames.append(scene((b, 560 - step, 210), (a, 20 + step, 220)))
    clip = make_clip("cross.mp4", frames)
    faces = cast_of(clip)
    assert len(faces) == 2
    front = next(face for face in faces if left_of(face, 0) < 300)
    behind = next(face for face in faces if face is not front)
    assert left_of(front, 15) > 450 and left_of(behind, 0) > 500 and left_of(behind, 15) < 250
    assert len(behind.places.times) < len(front.places.times) == LENGTH
    follower = MESH.follower(DetectConfig(), behind.places)
    with open_source(clip) as source:
        for frame in source:
            found = follower(frame.image, frame.time)
            seen = left_of(behind, frame.index)
            assert found is not None or np.isnan(seen)
            if found is not None and np.isfinite(seen):
                assert abs(bounding_box(found.points)[0] - seen) < 12
            elif found is not None:  # half of him is seen still
                assert abs(bounding_box(found.points)[0] - left_of(front, frame.index)) > 60


def test_after_a_cut_another_one_is_another_one(make_clip: MakeClip, man: list, stranger: np.ndarray) -> None:
    """At the same place, and the first again: he was once taken for the other, without a word."""
    frames = [scene((stranger if 4 <= row < 12 else picture, 100, 220)) for row, picture in enumerate(man)]
    for frame in frames[4:12]:
        frame[:, 400:] = 235
    first, second = cast_of(make_clip("cut.mp4", frames))
    np.testing.assert_allclose(second.places.times, np.arange(4, 12) / 25, atol=1e-3)
    np.testing.assert_allclose(first.places.times, [*np.arange(4) / 25, *np.arange(12, 16) / 25], atol=1e-3)


@pytest.mark.parametrize("many", [40, 1])
def test_after_cuts_the_same_one_is_the_same(
    many: int, make_clip: MakeClip, man: list, other: list, stranger: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In other colours, mirrored, smaller and elsewhere, with somebody else between: he once got a number a shot. All
    the same whether stretches are joined at the end or meanwhile, as in a long film."""
    monkeypatch.setattr("selftrack.tracker.landmarks.cast._MANY", many)
    shots = [
        *[scene((picture, 100, 220)) for picture in man[:9]],
        *[scene((picture, 520, 150)) for picture in other[:9]],
        *[scene((stranger, 100, 220))] * 9,
        *[scene((picture, 300, 120)) // 2 for picture in man[:9]],
    ]
    first, second = cast_of(make_clip("cuts.mp4", shots), everyone=True)
    assert len(first.samples) < 12  # of 6 that are asked for, although of three stretches
    np.testing.assert_allclose(first.places.times, np.array([*range(18), *range(27, 36)]) / 25, atol=1e-3)
    np.testing.assert_allclose(second.places.times, np.arange(18, 27) / 25, atol=1e-3)


def test_who_looks_alike_is_another_one_by_his_face(make_clip: MakeClip, man: list, drawn_person: Callable) -> None:
    """After a cut, and in the same shot after the first has gone: hair, clothes and colours once made him the first."""
    alike, nearly = (with_face_of(man[0], cv2.resize(drawn_person(seed)[0], (220, 220))) for seed in (10, 9))
    before = [scene((picture, 100, 220)) for picture in man[:9]]
    after = scene((alike, 100, 220))
    after[:, 400:] = 235
    assert len(cast_of(make_clip("cut.mp4", [*before, *[after] * 9]), everyone=True)) == 2
    shot = [*before, *[scene()] * 5, *[scene((nearly, 180, 220))] * 9]
    assert len(cast_of(make_clip("shot.mp4", shot), everyone=True)) == 2


def test_who_comes_back_from_behind_a_hand_is_the_same(
    make_clip: MakeClip, man: list, other: list, stranger: np.ndarray
) -> None:
    """However he looks; but not in another shot, nor elsewhere."""
    before = [scene((man[0], 300, 220))] * 8
    hand, blue = before[0].copy(), np.full_like(before[0], (0, 40, 160))
    hand[60:220, 340:480] = 120, 80, 60
    after = {"the same": (other[0], 310, 200), "elsewhere": (stranger, 20, 200), "another": (stranger, 310, 200)}
    found = {
        name: len(cast_of(make_clip("hand.mp4", [*before, *[hidden] * 10, *[scene(place)] * 8])))
        for name, hidden, place in (
            ("the same", hand, after["the same"]),
            ("elsewhere", hand, after["elsewhere"]),
            ("another shot", blue, after["another"]),
        )
    }
    assert found == {"the same": 1, "elsewhere": 2, "another shot": 2}


def test_who_is_uncovered_again_is_the_same(make_clip: MakeClip, man: list[np.ndarray], other: list) -> None:
    """He comes back covered, beside another one: what was followed meanwhile was once left as a third person."""
    beside = (man[0], 20, 200)
    clean = scene(beside, (other[0], 420, 200))
    covered = clean.copy()
    covered[20:220, 555:620] = 250, 200, 20
    frames = [*[clean] * 3, *[scene(beside)] * 6, *[covered] * 9, *[clean] * 3]
    faces = cast_of(make_clip("uncovered.mp4", frames))
    assert sorted(len(face.places.times) for face in faces) == [15, 21]


def test_who_somebody_is_is_told_by_what_is_seen_of_him(make_clip: MakeClip, man: list[np.ndarray]) -> None:
    """Behind a mask, for half of the clip, nobody is seen."""
    frames = [scene((picture, 100, 220)) for picture in man]
    for frame in frames[:8]:
        cv2.ellipse(frame, (211, 190), (60, 45), 0, 0, 360, (120, 170, 205), -1, cv2.LINE_AA)
    with open_source(make_clip("mask.mp4", frames)) as source:
        (face,) = find_cast(source, MESH, DetectConfig(), samples=14)
    assert 6 <= len(face.samples) <= 8
    assert all(np.abs(image.astype(int) - (120, 170, 205)).sum(-1).min() > 20 for image, _ in face.samples)


def test_places_by_time() -> None:
    times, boxes = np.array([0.0, 0.5, 1.0]), np.array([[0, 0, 10, 10], [5, 0, 15, 10], [40, 0, 50, 10]], float)
    regions = np.arange(18.0).reshape(3, 2, 3)
    places = Places(times, boxes, regions, ((np.array([1.0]), np.array([[0.0, 0, 10, 10]])),))
    assert np.array_equal(places.region(0.5 + 1e-7), regions[1]) and places.region(0.6) is None
    assert places.is_other(1.0, np.array([1, 0, 11, 10.0])) and not places.is_other(1.0, np.array([41, 0, 51, 10.0]))
    assert not places.is_other(0.5, np.array([1, 0, 11, 10.0]))  # the other one is not there


def test_appearance_hardly_depends_on_light_and_expression(man: list[np.ndarray], other: list[np.ndarray]) -> None:
    def look(picture: np.ndarray) -> np.ndarray:
        (face,) = MESH.faces(picture, DetectConfig())
        return appearance(picture, face.points)

    first = look(man[0])
    assert np.linalg.norm(look(man[-1]) - first) < 0.4
    assert np.linalg.norm(look((0.7 * man[0]).astype(np.uint8)) - first) < 0.4
    assert np.linalg.norm(look(other[0]) - first) > 0.6


def test_the_number_of_a_face_that_is_not_there(make_clip: MakeClip, man: list[np.ndarray]) -> None:
    clip = make_clip("one.mp4", [scene((picture, 100, 220)) for picture in man])
    model = Model.load(device="cpu")
    words = rf"--face 3: the faces of {clip} are 0 \(0.0 to"
    with open_source(clip) as source, pytest.raises(NoFaceError, match=words):
        find_face(source, model, TrackerConfig(detect=DetectConfig(face=3)), PersonConfig(samples=4))


def test_joining_equals_its_slow_twin() -> None:
    """The most alike first; never two that are there at the same time."""
    rng = np.random.default_rng(0)
    people = rng.normal(size=(4, 3))
    paths = []
    for number in range(14):
        path = _Path(4)
        path.times = sorted(rng.choice(40, 3, replace=False).tolist())
        path.boxes, path.regions = [np.zeros(4)] * 3, [np.zeros((2, 3))] * 3
        path.looks = [people[number % 4] + rng.normal(0, 0.15, 3) for _ in range(2)]
        paths.append(path)

    def apart(a: _Path, b: _Path) -> float:
        return min(float(np.linalg.norm(x - y)) for x in a.looks for y in b.looks)

    slow = list(paths)
    while True:
        pairs = [
            (apart(a, b), i, j)
            for i, a in enumerate(slow)
            for j, b in enumerate(slow[:i])
            if not set(a.times) & set(b.times)
        ]
        if not pairs or min(pairs)[0] >= 0.55:
            break
        _, i, j = min(pairs)
        slow[j] = slow[j].joined(slow.pop(i))
    fast = _joined(paths)
    assert 4 <= len(fast) < 14
    assert sorted(tuple(path.times) for path in fast) == sorted(tuple(path.times) for path in slow)


def test_no_pass_over_the_clip_goes_by_the_name_of_another(
    make_clip: MakeClip, man: list[np.ndarray], other: list[np.ndarray]
) -> None:
    """Sampled frames, and all where several are seen there, or everyone is asked for at once."""
    clip = make_clip("two.mp4", [scene((a, 60, 200), (b, 420, 270)) for a, b in zip(man, other, strict=True)])
    for everyone in (False, True):
        steps: dict[str, list[tuple[int, int]]] = {}
        with open_source(clip) as source:
            find_cast(
                source,
                MESH,
                DetectConfig(),
                lambda stage, done, total, steps=steps: steps.setdefault(stage, []).append((done, total)),
                samples=6,
                everyone=everyone,
            )
        assert all(done == sorted(set(done)) for done in steps.values()), steps
        assert list(steps) == ([FOLLOWING] if everyone else [FINDING, FOLLOWING])
