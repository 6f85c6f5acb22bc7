"""OpenFace-style CSV and the pinhole camera behind it."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.landmarks import IBUG_68
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.geometry import pose
from selftrack.tracker.geometry.camera import camera_pose, focal_length
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.track_file import Track

COLUMNS = [
    *("frame", "face_id", "timestamp", "confidence", "success"),
    *(f"gaze_{eye}_{axis}" for eye in "01" for axis in "xyz"),
    *("gaze_angle_x", "gaze_angle_y", "pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"),
    *(f"{axis}_{i}" for axis in "xyXYZ" for i in range(68)),
    *(f"AU{n}_r" for n in "01 02 04 05 06 07 09 10 12 14 15 17 20 25 26 45".split()),
    *(f"AU{n}_c" for n in "01 02 04 05 06 07 09 10 12 14 15 17 20 25 26 28 45".split()),
]


def read(track: Track, folder: Path, focal: float | None = None) -> dict[str, np.ndarray]:
    """Columns by name."""
    path = write(track, "openface", folder / "take.csv", ExportOptions(focal=focal))
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, np.array(rows, float).T, strict=True))


def openface_rotation(x: float, y: float, z: float) -> np.ndarray:
    """Euler2RotationMatrix of OpenFace's RotationHelpers.h, entry by entry."""
    (s1, s2, s3), (c1, c2, c3) = np.sin([x, y, z]), np.cos([x, y, z])
    return np.array(
        [
            [c2 * c3, -c2 * s3, s2],
            [c1 * s3 + c3 * s1 * s2, c1 * c3 - s1 * s2 * s3, -c2 * s1],
            [s1 * s3 - c1 * c3 * s2, c3 * s1 + c1 * s2 * s3, c1 * c2],
        ]
    )


def test_columns_and_times(performance: Track, tmp_path: Path) -> None:
    table = read(performance, tmp_path)
    assert list(table) == COLUMNS
    np.testing.assert_array_equal(table["frame"], np.arange(1, len(performance) + 1))
    np.testing.assert_allclose(table["timestamp"], performance.times, atol=1e-6)
    np.testing.assert_array_equal(table["success"], performance.ok)
    assert (table["confidence"][~performance.ok] == 0).all() and (table["face_id"] == 0).all()


def test_a_pinhole_camera_sees_the_landmarks(make_track: Callable[..., Track], tmp_path: Path) -> None:
    """The file's own rotation and translation, by OpenFace's formula, put the 68 points where the file has them."""
    track = make_track([0.0], {"jawOpen": 0.5}, rx=0.2, ry=-0.4, rz=0.3, f=6.0, tx=420.0, ty=150.0)
    focal = 20_000.0  # so far away that weak perspective holds
    table = {name: values[0] for name, values in read(track, tmp_path, focal).items()}
    turn = openface_rotation(*(table[f"pose_R{axis}"] for axis in "xyz"))
    place = np.array([table[f"pose_T{axis}"] for axis in "xyz"])
    head = track.model()
    shape = head.mean + 0.5 * head.shapes[60 + head.expression_names.index("jawOpen")]
    points = 1000 * head.landmarks478(shape[None])[0].numpy()[list(IBUG_68)] @ turn.T + place
    seen = focal * points[:, :2] / points[:, 2:] + (np.array(track.size) - 1) / 2
    np.testing.assert_allclose(seen, np.array([[table[f"x_{i}"], table[f"y_{i}"]] for i in range(68)]), atol=0.5)
    assert table["pose_Tz"] == pytest.approx(1000 * focal / np.exp(6.0), rel=1e-5)


def test_points_in_space(make_track: Callable[..., Track], tmp_path: Path) -> None:
    """The pinhole camera sees the 3-D points where the 2-D ones are, as far apart as on the head, in millimetres."""
    focal = 20_000.0  # so far away that weak perspective holds
    track = make_track([0.0], {"jawOpen": 0.5}, rx=0.2, ry=-0.4, rz=0.3, f=6.0, tx=420.0, ty=150.0)
    table = {name: values[0] for name, values in read(track, tmp_path, focal).items()}
    flat, deep = (np.array([[table[f"{axis}_{i}"] for axis in axes] for i in range(68)]) for axes in ("xy", "XYZ"))
    np.testing.assert_allclose(focal * deep[:, :2] / deep[:, 2:] + [319.5, 179.5], flat, atol=0.5)
    shape = track.model().geometry(torch.from_numpy(track.z))
    points = 1000 * track.model().landmarks(68)(shape)[0].numpy()
    np.testing.assert_allclose(
        np.linalg.norm(deep - deep[0], axis=1), np.linalg.norm(points - points[0], axis=1), atol=1e-2
    )
    front = deep[30, 2] < deep[[0, 16], 2]
    assert front.all(), "the tip of the nose is nearer than the ears"


def test_action_units_are_those_of_the_curves(make_track: Callable[..., Track], tmp_path: Path) -> None:
    """Rows: rest; a smile with raised inner brows; one eye shut; an open jaw with open, then with closed lips."""
    rows = {
        "mouthSmileLeft": [0, 0.8, 0, 0, 0],
        "mouthSmileRight": [0, 0.6, 0, 0, 0],
        "browInnerUp": [0, 0.1, 0, 0, 0],
        "eyeBlinkLeft": [0, 0, 1, 0, 0],
        "jawOpen": [0, 0, 0, 0.6, 0.6],
        "mouthClose": [0, 0, 0, 0, 0.6],
        "mouthRollLower": [0, 0, 0, 0, 0.5],
    }
    table = read(make_track(np.arange(5) / 25, {name: np.array(row) for name, row in rows.items()}), tmp_path)
    expected = {
        "AU12_r": [0, 3.5, 0, 0, 0],
        "AU12_c": [0, 1, 0, 0, 0],
        "AU01_r": [0, 0.5, 0, 0, 0],
        "AU01_c": [0, 0, 0, 0, 0],
        "AU45_r": [0, 0, 2.5, 0, 0],
        "AU45_c": [0, 0, 1, 0, 0],
        "AU26_r": [0, 0, 0, 3, 3],
        "AU25_r": [0, 0, 0, 3, 0],
        "AU28_c": [0, 0, 0, 0, 1],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, atol=1e-5, err_msg=name)
    others = [name for name in COLUMNS if name.startswith("AU") and name[:4] not in {e[:4] for e in expected}]
    assert len(others) == 2 * 11 and not any(table[name].any() for name in others)


def test_action_units_stay_within_their_range(performance: Track, tmp_path: Path) -> None:
    table = read(performance, tmp_path)
    for name in (name for name in COLUMNS if name.endswith("_r")):
        present = table[f"{name[:4]}_c"].astype(bool)
        assert table[name].min() >= 0 and table[name].max() <= 5
        assert set(table[f"{name[:4]}_c"]) <= {0, 1}
        assert (table[name][present] >= 1 - 1e-5).all() and (table[name][~present] < 1 + 1e-5).all()


def test_a_near_head_beside_the_centre_lies_where_the_track_has_it(make_track: Callable[..., Track]) -> None:
    """Turned with the line of sight, the front of the head is half as far off as it would be unturned."""
    track, focal = make_track([0.0], tx=480.0), 768.0
    turn, place = camera_pose(track, focal)
    vertices = track.model().mean.numpy()[np.unique(track.model().faces[track.model().skin_faces])]
    weak = np.exp(6.5) * vertices[:, :2] + track.H_image[0, 4:]
    width = np.ptp(weak[:, 0])

    def error(rotation: np.ndarray) -> float:
        points = vertices @ rotation.T + place[0]
        seen = focal * points[:, :2] / points[:, 2:] + (np.array(track.size) - 1) / 2
        face = vertices[:, 2] < np.quantile(vertices[:, 2], 0.3)  # the front, which the clip shows
        return np.abs((seen - weak)[face].mean(0)).max() / width

    assert error(turn[0]) < 0.01 < 0.015 < error(np.eye(3))


@pytest.mark.parametrize(
    "pose,column,sign",
    [
        ({"ry": 0.3}, "pose_Ry", 1),  # the face to the image's left
        ({"rx": 0.3}, "pose_Rx", 1),  # nods down
        ({"rz": 0.3}, "pose_Rz", 1),  # clockwise on the screen
        ({"tx": 400.0}, "pose_Tx", 1),  # to the image's right
        ({"ty": 300.0}, "pose_Ty", 1),  # below the middle
        ({"ry": 0.3}, "gaze_angle_x", -1),  # the eyes go with the head
        ({"rx": 0.3}, "gaze_angle_y", 1),
    ],
)
def test_signs(
    make_track: Callable[..., Track], tmp_path: Path, pose: dict[str, float], column: str, sign: int
) -> None:
    value = read(make_track([0.0], **pose), tmp_path)[column][0]
    assert value * sign > 0.05


def test_gaze(make_track: Callable[..., Track], tmp_path: Path) -> None:
    """Only the subject's left eye looks, to the subject's left: eye 1, the image's right, and gaze_angle_x grows."""
    table = read(make_track([0.0], {"eyeLookOutLeft": 0.6}), tmp_path)
    rest = [table[f"gaze_0_{axis}"][0] for axis in "xyz"]
    np.testing.assert_allclose(rest, [0, 0, -1], atol=1e-5)
    left = np.array([table[f"gaze_1_{axis}"][0] for axis in "xyz"])
    assert left[0] > 0.2 and np.linalg.norm(left) == pytest.approx(1, abs=1e-4)
    assert table["gaze_angle_x"][0] == pytest.approx(np.arctan2(left[0] / 2, (1 - left[2]) / 2), abs=1e-4)
    down = read(make_track([0.0], {"eyeLookDownLeft": 0.6, "eyeLookDownRight": 0.6}), tmp_path)
    assert down["gaze_angle_y"][0] > 0.15


def test_left_stays_left(wink: Track, tmp_path: Path) -> None:
    """300-W: 37, 41 and 43, 47 are upper and lower lid points; 42..47 the subject's left eye; 8 the chin."""
    table = read(wink, tmp_path)
    left, right = (table[f"y_{low}"] - table[f"y_{up}"] for low, up in ((47, 43), (41, 37)))
    assert left[2] < 0.6 * left[0] and right[2] == pytest.approx(right[0], abs=1e-3)
    assert table["x_8"][2] > table["x_8"][0] + 1 and table["x_45"][0] > table["x_36"][0]


def test_focal_length(make_track: Callable[..., Track]) -> None:
    track = make_track([0.0, 1.0], size=(480, 800), f=np.log([800.0, 1000.0]))
    assert focal_length(track, 500.0) == 500
    assert focal_length(track) == pytest.approx(30 * 900), "without perspective, as seen from 30 m away"
    fitted = replace(track, inverse_distance=2.0)  # half a metre away at 900 pixels a metre
    assert focal_length(fitted) == pytest.approx(450)
    for wrong in (0.0, -3.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="focal length must be a number of pixels above 0"):
            ExportOptions(focal=wrong)


def test_points_of_a_long_track_are_placed_in_pieces(
    make_track: Callable[..., Track], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie where the decoder's whole geometry has them; those of an hour took half a gigabyte."""
    count, asked = 1100, list[int]()
    track = make_track(np.arange(count) / 30, {"jawOpen": np.linspace(0, 1, count)}, ry=0.2)

    def counted(points: torch.Tensor, *more: object) -> torch.Tensor:
        asked.append(len(points))
        return project(points, *more)

    monkeypatch.setattr(pose, "project", counted)
    columns = read(track, tmp_path, focal=1000.0)
    monkeypatch.undo()
    assert asked == [1024, count - 1024] and columns["frame"].tolist() == list(range(1, count + 1))
    some = [0, 1023, 1024, count - 1]
    points = track.model().landmarks(68)(torch.from_numpy(track.vertices()[some]))
    np.testing.assert_allclose(columns["x_30"][some], points[:, 30, 0], atol=1e-2)
    np.testing.assert_allclose(columns["y_8"][some], points[:, 8, 1], atol=1e-2)
