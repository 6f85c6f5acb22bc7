"""Live Link Face CSV: the app's header and time base, importers' rules, signs, lost frames."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.export import write
from selftrack.tracker.results.track_file import Track

HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
    "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
    "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,"
    "MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,"
    "MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,"
    "BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)


def export(track: Track, folder: Path) -> list[list[str]]:
    """The rows of the file, header first."""
    path = write(track, "livelink", folder / "take.csv")
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def seconds(code: str) -> float:
    """How importers read a timecode: 60 frames in a second, whatever the take's rate."""
    hours, minutes, rest, frames = code.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(rest) + float(frames) / 60


def read_by_index(rows: list[list[str]]) -> dict[str, np.ndarray]:
    """Faceit's rule (EpicMocapImporter): rows with count 0 skipped, shapes in 2..53, pitch 55, yaw 54, roll 56."""
    kept = [row for i, row in enumerate(rows) if i and float(row[1]) != 0]
    first = seconds(kept[0][0])
    return {
        "times": np.array([seconds(row[0]) - first for row in kept]),
        "shapes": np.array([[float(v) for v in row[2:54]] for row in kept]),
        "head": np.array([[-float(row[55]), -float(row[54]), -float(row[56])] for row in kept]),
        "eyes": np.array([[float(row[58]), float(row[57]), float(row[61]), float(row[60])] for row in kept]),
    }


def read_by_name(rows: list[list[str]]) -> dict[str, dict[str, float]]:
    """The MotionBuilder rule (LiveLinkFace-CSV-Retarget): per column a key for each timecode without its fraction."""
    assert rows[0][:2] == ["Timecode", "BlendShapeCount"]
    return {n: {r[0][:-4]: float(r[i]) for r in rows[1:]} for i, n in enumerate(rows[0]) if i > 1}


def test_header_and_shape_of_the_file(wink: Track, tmp_path: Path) -> None:
    rows = export(wink, tmp_path)
    assert (tmp_path / "take.csv").read_text().splitlines()[0] == HEADER
    assert [len(row) for row in rows] == [63] * 6
    assert all(row[1] == "61" for row in rows[1:])
    assert all(len(value.split(".")[1]) == 10 for row in rows[1:] for value in row[2:])


def test_round_trip(performance: Track, tmp_path: Path) -> None:
    rows = export(performance, tmp_path)
    times = np.array([seconds(row[0]) for row in rows[1:]])
    assert times[0] == 0 and (np.diff(times) > 0).all()
    assert all(float(row[0].split(":")[3]) < 60 and int(row[0].split(":")[2]) < 60 for row in rows[1:])
    own = slice(len(times) - len(performance), None)  # before them, rows from the clip's start on
    np.testing.assert_allclose(times[own], performance.times, atol=0.5 / 60_000 + 1e-9)  # half a tick
    read = read_by_index(rows)
    found = np.flatnonzero(performance.ok)
    assert len(read["times"]) == 1 + len(found) and [r[1] for r in rows[1:]][own].count("0") == 3
    np.testing.assert_allclose(read["times"][1:], performance.times[found], atol=0.5 / 60_000 + 1e-9)
    curves = performance.curves()
    for j, name in enumerate(rows[0][2:54]):
        expected = curves[name[0].lower() + name[1:]]
        np.testing.assert_allclose(read["shapes"][1:, j], expected[found], atol=1e-6, err_msg=name)
        assert read["shapes"][0, j] == pytest.approx(expected[0], abs=1e-6)


def test_motionbuilder_has_a_key_for_each_row_up_to_60_a_second(performance: Track, tmp_path: Path) -> None:
    rows = export(performance, tmp_path)
    by_name = read_by_name(rows)
    assert list(by_name) == HEADER.split(",")[2:]
    rate = (len(performance) - 1) / np.ptp(performance.times)
    assert all(len(keys) == len(rows) - 1 for keys in by_name.values()) == (rate < 61), "two frames on one key"


@pytest.mark.parametrize(
    ("code", "rate", "first", "later"),
    [
        ("10:00:00:12", 24.0, "10:00:00:30.000", "10:00:02:30.000"),
        ("01:00:59;20", 30000 / 1001, "01:00:59:40.000", "01:01:01:40.000"),
        ("00:59:59:00", 24000 / 1001, "00:59:59:00.000", "01:00:01:00.000"),
        ("23:59:59:00", 25.0, "23:59:59:00.000", "24:00:01:00.000"),  # later is more, so that no key goes back
    ],
)
def test_rows_begin_at_the_clips_timecode(
    make_track: Callable[..., Track], tmp_path: Path, code: str, rate: float, first: str, later: str
) -> None:
    track = replace(make_track([2.0, 2.5]), timecode=code, timecode_rate=rate)
    rows = export(track, tmp_path)
    assert (rows[1][0], rows[-2][0]) == (first, later)
    np.testing.assert_allclose(read_by_index(rows)["times"], [0, 2, 2.5], atol=1e-4)


def read_by_factory(rows: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Unreal's Live Link Face Importer (FactoryCreateText): a key of all columns for every row, whatever its count, in
    whole ticks of 1/24000 s; playback begins at the first one."""
    ticks = np.array([int(seconds(row[0]) * 24_000 + 1e-6) for row in rows[1:]])
    return ticks / 24_000, np.array([[float(value) for value in row[2:]] for row in rows[1:]])


def read_by_whole_frames(rows: list[list[str]]) -> list[int]:
    """aronamao's Maya plug-in (csvImport::get_frame): whole frames of 60 a second, from 1, without minutes."""
    fields = [[int(float(field)) for field in row[0].split(":")] for row in rows[1:]]
    _, _, first_second, first_frame = fields[0]
    return [frame + 60 * (second - first_second) - first_frame + 1 for _, _, second, frame in fields]


def test_whole_sixtieths_are_early_by_less_than_one(
    clock: np.ndarray, make_track: Callable[..., Track], tmp_path: Path
) -> None:
    times = clock[:100] - clock[0]
    frames = np.array(read_by_whole_frames(export(make_track(times), tmp_path))) - 1
    early = times - frames / 60
    assert early.min() > -1e-5 and early.max() < 1 / 60
    rate = 1 / np.diff(times).max()
    if np.isclose(rate, [30, 60]).any():
        assert early.max() < 1e-5
    assert (len(set(frames)) == len(times)) == (rate < 61), "two frames on one key"


def test_times_are_kept_in_unreal(performance: Track, tmp_path: Path) -> None:
    times, values = read_by_factory(export(performance, tmp_path))
    assert times[0] == 0 and (values[: len(times) - len(performance)] == values[-len(performance)]).all()
    lag = performance.times - times[-len(performance) :]
    assert lag.min() > -0.5 / 60_000 - 1e-6 and lag.max() < 1 / 24_000 + 0.5 / 60_000 + 1e-6


@pytest.mark.parametrize("lost", [[], [0, 1, 2]])
@pytest.mark.parametrize("start", [0.0, 2.0])
def test_importers_begin_at_the_clips_time_0(
    make_track: Callable[..., Track], tmp_path: Path, start: float, lost: list[int]
) -> None:
    """With `--start`, and where no face is seen at first, the performance stands at its own time all the same."""
    times = start + np.arange(10) / 25
    rows = export(make_track(times, {"jawOpen": 0.5 + np.maximum(np.arange(10), 3) / 100}, lost=lost), tmp_path)
    first = len(rows) - 1 - len(times)
    assert first == round(25 * start) and [row[1] for row in rows[1:]].count("61") == 10 - len(lost) + bool(
        start or lost
    )
    by_index = read_by_index(rows)
    jaw = HEADER.split(",").index("JawOpen") - 2
    np.testing.assert_allclose(by_index["times"][-7:], times[3:], atol=1e-5)
    assert by_index["times"][0] == 0 and by_index["shapes"][0, jaw] == pytest.approx(0.53)
    keys, values = read_by_factory(rows)
    np.testing.assert_allclose(keys[-10:], times, atol=1e-4)
    np.testing.assert_allclose(values[: first + 4, jaw], 0.53, atol=1e-6)
    frames = read_by_whole_frames(rows)
    assert frames[0] == 1
    np.testing.assert_allclose((np.array(frames[-10:]) - 1) / 60, times, atol=1 / 60)


def test_the_maya_plug_in_has_no_minutes(make_track: Callable[..., Track], tmp_path: Path) -> None:
    """Why the page sends longer clips to the script for Maya."""
    frames = read_by_whole_frames(export(make_track([0.0, 59.5, 60.5]), tmp_path))
    assert frames == [1, 1 + 3570, 1 + 30]


def test_lost_frames_keep_their_rows(make_track: Callable[..., Track], tmp_path: Path) -> None:
    rows = export(make_track(np.arange(6) / 30, {"jawOpen": 0.5}, lost=[0, 3]), tmp_path)
    assert [row[1] for row in rows[1:]] == ["61", "61", "61", "0", "61", "61"]  # the first one is the start
    assert rows[4][0] == "00:00:00:06.000"


def test_left_stays_left(wink: Track, tmp_path: Path) -> None:
    rows = export(wink, tmp_path)
    columns = {name: [float(r[i]) for r in rows[1:]] for i, name in enumerate(rows[0]) if i > 1}
    assert columns["EyeBlinkLeft"] == [0, 0, 0.75, 0, 0] and max(columns["EyeBlinkRight"]) == 0
    assert columns["JawLeft"] == [0, 0, 0.5, 0, 0] and max(columns["JawRight"]) == 0


@pytest.mark.parametrize(
    "pose,column,value",
    [
        ({"ry": -0.2}, "HeadYaw", -0.2),  # turned to the subject's left, the image's right
        ({"rx": -0.2}, "HeadPitch", 0.2),  # chin up
        ({"rz": 0.2}, "HeadRoll", 0.2),  # ear to the left shoulder
    ],
)
def test_signs_of_the_head(
    make_track: Callable[..., Track], tmp_path: Path, pose: dict[str, float], column: str, value: float
) -> None:
    track, rest = make_track([0.0], **pose), make_track([0.0])
    nose = int(rest.vertices()[0, :, 2].argmin())
    top = int(rest.vertices()[0, :, 1].argmin())
    nose_by, top_by = ((track.vertices() - rest.vertices())[0, i, :2] for i in (nose, top))
    seen = {"HeadYaw": nose_by[0] > 1, "HeadPitch": nose_by[1] < -1, "HeadRoll": top_by[0] > 1}
    assert seen[column], "the made-up head does not do what it should"
    rows = export(track, tmp_path)
    assert float(rows[1][rows[0].index(column)]) == pytest.approx(value, abs=1e-6)
    # Faceit: Euler (x, -z, y) on a head that looks along -y, with its left at +x and its crown at +z
    x, y, z = read_by_index(rows)["head"][0]
    turned = euler_xyz(x, -z, y)
    nose_to, crown_to = turned @ [0, -1, 0], turned @ [0, 0, 1]
    assert {"HeadYaw": nose_to[0] > 0.1, "HeadPitch": nose_to[2] > 0.1, "HeadRoll": crown_to[0] > 0.1}[column]


def euler_xyz(x: float, y: float, z: float) -> np.ndarray:
    """Blender's Euler "XYZ": about x first, then y, then z."""
    about = []
    for axis, angle in enumerate((x, y, z)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        matrix = np.eye(3)
        matrix[i, i] = matrix[j, j] = np.cos(angle)
        matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
        about.append(matrix)
    return about[2] @ about[1] @ about[0]


@pytest.mark.parametrize(
    "curves,kind,axis,sign",
    [
        ({"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8}, "Yaw", 0, 1),  # to the subject's left, the image's right
        ({"eyeLookUpLeft": 0.8, "eyeLookUpRight": 0.8}, "Pitch", 1, -1),
    ],
)
def test_signs_and_size_of_the_eyes(
    make_track: Callable[..., Track], tmp_path: Path, curves: dict[str, float], kind: str, axis: int, sign: int
) -> None:
    """As in a recorded take: EyeLookOutLeft 0.505 and EyeLookInRight 0.599 stand beside yaws of -0.36 and -0.30, and
    EyeLookUp 0.425 beside pitches of -0.19. The size is that of an eye of 10 mm whose iris goes as the mesh's."""
    track, rest = make_track([0.0], curves), make_track([0.0])
    rows, points = export(track, tmp_path), track.model().landmarks478
    weights, corners = points.weights.numpy(), points.triangles.numpy()
    by = (track.vertices() - rest.vertices())[0] / track.pose()["scale"][0]
    for side, iris in (("Left", 473), ("Right", 468)):
        moved = float((weights[iris] @ by[corners[iris]])[axis])
        assert moved * sign > 0.001, "the made-up eyes do not look where they should"
        angle = float(rows[1][rows[0].index(f"{side}Eye{kind}")])
        assert angle == pytest.approx(-np.arcsin(abs(moved) / 0.01), rel=0.02)
    assert -0.6 < angle < -0.15


def test_still_eyes_have_no_angles(wink: Track, tmp_path: Path) -> None:
    np.testing.assert_allclose([[float(v) for v in row[57:]] for row in export(wink, tmp_path)[1:]], 0, atol=1e-6)


def test_a_time_before_the_start_is_refused(make_track: Callable[..., Track], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no timecode"):
        write(make_track([-1.0, 0.0]), "livelink", tmp_path / "take.csv")
    assert list(tmp_path.iterdir()) == []
