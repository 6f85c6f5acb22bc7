"""The contact sheet: which frames are chosen, and the mesh in the crops."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.tracker.results.contact_sheet import (
    EXPRESSIONS,
    NAME,
    STRONG,
    TURNED,
    Shot,
    strongest,
    worst,
    write_contact_sheet,
)
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
MakeTrack = Callable[..., Track]


def bump(at: int, height: float, count: int = 40) -> np.ndarray:
    """A curve (T,) whose largest value is in one frame."""
    return height * np.exp(-0.5 * ((np.arange(count) - at) / 2.0) ** 2)


def performed(make_track: MakeTrack, **changes: object) -> Track:
    """Forty frames at 10 a second; each expression is strongest in another one."""
    curves = {names[-1]: bump(5 * number + 2, 0.5 + number / 20) for number, names in enumerate(EXPRESSIONS)}
    curves["jawForward"] = np.full(40, 0.3)
    curves["jawForward"][38] = 0
    return replace(make_track(np.arange(40) / 10, curves, ry=np.radians(bump(37, -20.0))), **changes)


def test_the_strongest_frame_of_each_expression(make_track: MakeTrack) -> None:
    expected = [Shot(38, "least active")]
    expected += [Shot(5 * i + 2, f"{names[-1]} {0.5 + i / 20:.2f}") for i, names in enumerate(EXPRESSIONS)]
    assert strongest(performed(make_track)) == [*expected, Shot(37, "yaw -20 degrees")]


def test_what_is_hardly_moved_is_no_expression(make_track: MakeTrack) -> None:
    times, curves = np.arange(40) / 10, {"jawOpen": bump(5, STRONG - 0.01), "mouthPucker": bump(9, STRONG + 0.01)}
    calm = make_track(times, curves, ry=np.radians(bump(20, TURNED - 0.5)))
    assert [shot.why for shot in strongest(calm)][1:] == [f"mouthPucker {STRONG + 0.01:.2f}"]
    turned = make_track(times, {}, ry=np.radians(bump(20, TURNED + 0.5)))
    assert [shot.row for shot in strongest(turned)][1:] == [20]


def test_frames_without_a_face_are_not_chosen(make_track: MakeTrack) -> None:
    ok = np.ones(40, bool)
    ok[[2, 37, 38]] = False
    chosen = strongest(performed(make_track, ok=ok))
    assert not {2, 37, 38} & {shot.row for shot in chosen}
    assert chosen[1].row in (1, 3) and chosen[1].why == f"jawOpen {0.5 * np.exp(-1 / 8):.2f}"


def test_the_worst_frames_lie_apart(make_track: MakeTrack) -> None:
    """Half a second at least, ten frames a second; a lost frame has no confidence and is none of them."""
    confidence = np.full(40, 0.9)
    confidence[[10, 11, 12, 20, 30]] = 0.1, 0.05, 0.2, 0.3, 0.0
    ok = np.arange(40) != 30
    track = performed(make_track, confidence=confidence, ok=ok)
    assert [shot.row for shot in worst(track)] == [11, 20, 0]
    short = make_track([0.0, 0.1])
    assert [shot.row for shot in worst(short)] == [0]


def test_other_decoders_have_the_turn_of_the_head_alone(make_track: MakeTrack, monkeypatch: pytest.MonkeyPatch) -> None:
    track = make_track([0, 0.1, 0.2], ry=np.array([0, 0.3, -0.2]))
    foreign = replace(track, curve_names=("width", "height"), curve_values=np.zeros((3, 2)))
    monkeypatch.setattr(type(HEAD), "curve_names", ("width", "height"))
    assert strongest(foreign) == [Shot(1, "yaw 17 degrees")]


def test_each_crop_stands_beside_itself_with_the_mesh(make_clip: Callable[..., Path], make_track: MakeTrack) -> None:
    """Where the crop has the mesh's nose, the left picture is the frame's grey and the right one the lit mesh."""
    grey = [np.full((360, 640, 3), 60, np.uint8)] * 2
    track = replace(make_track([0, 0.04], tx=np.array([250, 300])), clip=str(make_clip("grey.mp4", grey, crf="1")))
    points = HEAD.landmarks478(torch.from_numpy(track.vertices()))[..., :2].numpy()
    track = replace(track, landmarks=points)
    path = write_contact_sheet(track, Path(track.clip).parent)
    assert path.name == NAME
    sheet = cv2.imread(str(path)).astype(int)
    pictures = np.abs(sheet - 60).max(2) < 4
    rows, columns = np.flatnonzero(pictures.sum(1) > 300), np.flatnonzero(pictures.sum(0) > 200)
    top, left, side = rows.min(), columns.min(), 224
    one = points[0]
    low, high = one.min(0), one.max(0)
    scale = side / (1.28 * (high - low).max())
    for point in (1, 50, 280):  # nose and cheeks
        x, y = np.rint((one[point] - (low + high) / 2) * scale + side / 2).astype(int)
        assert np.abs(sheet[top + y, left + x] - 60).max() < 4
        assert sheet[top + y, left + side + x].min() > 90
    corner = sheet[top : top + 10, left : left + 10], sheet[top : top + 10, left + side : left + side + 10]
    np.testing.assert_array_equal(*corner)
    assert (sheet[:5] == 255).all() and (sheet[:, :10] == 255).all()


def test_a_clip_that_is_gone_is_one_line(make_track: MakeTrack, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="put it back, or track it again"):
        write_contact_sheet(make_track([0, 0.04]), tmp_path)
    assert not list(tmp_path.iterdir())
