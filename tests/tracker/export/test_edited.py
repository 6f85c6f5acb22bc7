"""Tables that come back: what was changed moves curves, mesh and head, and nothing else does."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import Head
from selftrack.errors import UserError
from selftrack.tracker.export import export
from selftrack.tracker.export.edited import with_table
from selftrack.tracker.results.curves import write_curves
from selftrack.tracker.results.smoothing import CleanConfig
from selftrack.tracker.results.track_file import Track

MakeTrack = Callable[..., Track]


@pytest.fixture
def take(make_track: MakeTrack) -> Track:
    """Five frames of an act, of which one is lost, while the head turns."""
    time = np.arange(5) / 25
    return make_track(time, {"jawOpen": time / 0.3 + 1e-7, "eyeBlinkLeft": 1 / 3}, lost=[3], ry=time, f=6.6 + time)


def edited(path: Path, **columns: list[object]) -> Path:
    """The table at a path with other columns, in place of its own."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_what_was_not_changed_stays_to_the_bit(take: Track, tmp_path: Path) -> None:
    again = with_table(take, write_curves(take, tmp_path))
    np.testing.assert_array_equal(again.z, take.z)
    np.testing.assert_array_equal(again.H_image, take.H_image)


def test_curves_and_head_move_the_mesh(take: Track, make_track: MakeTrack, tmp_path: Path) -> None:
    """As in a track that was so from the beginning."""
    smile, yaw, scale = [0, 0.25, 0.5, 0.75, 1], [-10, 0, 10, 20, 30], np.exp(6.8)
    path = edited(write_curves(take, tmp_path), mouthSmileLeft=smile, yaw=yaw, scale=[scale] * 5, tx=[200] * 5)
    track = with_table(take, path)
    like = make_track(
        take.times, take.curves() | {"mouthSmileLeft": np.array(smile)}, lost=[3], ry=np.radians(yaw), f=6.8, tx=200
    )
    np.testing.assert_allclose(track.vertices(), like.vertices(), atol=2e-3)
    np.testing.assert_allclose(track.curve_values, like.curve_values, atol=1e-6)
    np.testing.assert_array_equal(track.ok, take.ok)
    np.testing.assert_allclose(track.H, like.H, atol=1e-5, err_msg="the crop is the image here")


def test_a_few_columns_will_do(take: Track, tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("\ufeffjawOpen,roll\n" + "0.9,5\n" * 5, encoding="utf-8")
    track = with_table(take, path)
    np.testing.assert_allclose(track.curves()["jawOpen"], 0.9)
    np.testing.assert_allclose(track.pose()["roll"], 5, atol=1e-4)
    np.testing.assert_array_equal(track.curves()["eyeBlinkLeft"], take.curves()["eyeBlinkLeft"])
    np.testing.assert_array_equal(track.pose()["yaw"], take.pose()["yaw"])


def test_a_table_as_spreadsheets_save_it(take: Track, tmp_path: Path) -> None:
    """Semicolons and decimal commas, spaces about names, empty columns at the end."""
    path = tmp_path / "few.csv"
    path.write_text("time; jawOpen ;roll;;\n" + "".join(f"0,{4 * row:02d};0,9;-5,25;;\n" for row in range(5)))
    track = with_table(take, path)
    np.testing.assert_allclose(track.curves()["jawOpen"], 0.9)
    np.testing.assert_allclose(track.pose()["roll"], -5.25, atol=1e-4)


def test_all_columns_that_tables_of_a_track_have_may_stay(take: Track, tmp_path: Path) -> None:
    """Those that are not read, too: timecode, trust, and what was tracked beside what was cleaned."""
    clocked = replace(take, timecode="10:00:00:00", timecode_rate=25.0)
    clocked.save(tmp_path)
    for path in (write_curves(clocked, tmp_path), export(tmp_path, "csv", cleaning=CleanConfig())):
        assert "timecode" in path.read_text().splitlines()[0]
        with_table(clocked, path)


def test_angles_go_on_beyond_half_a_turn(make_track: MakeTrack, tmp_path: Path) -> None:
    """The track's own are continuous; those of a table may begin anew at -180."""
    roll = np.array([170.0, 176, 182, 188, -184])
    track = make_track(np.arange(5) / 25, rz=np.radians(roll))
    added = roll + [10, 10, 0, -2, -10]
    path = edited(write_curves(track, tmp_path), roll=(added + 180) % 360 - 180)
    np.testing.assert_allclose(with_table(track, path).pose()["roll"], added, atol=2e-3)


def test_an_export_has_what_was_tracked_beside_it(take: Track, tmp_path: Path) -> None:
    take.save(tmp_path)
    path = edited(write_curves(take, tmp_path), jawOpen=[0.2] * 5)
    header, *rows = csv.reader(export(tmp_path, "csv", tmp_path / "a.csv", edited=path).read_text().splitlines())
    table = dict(zip(header, np.array(rows, float).T, strict=True))
    np.testing.assert_allclose(table["jawOpen"], 0.2, atol=1e-6)
    np.testing.assert_allclose(table["jawOpen_raw"], take.curves()["jawOpen"], atol=5.1e-6)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"jawOpen": [0, 0, 1.2, 0, 0]}, "row 2: jawOpen must be from 0 to 1; got 1.2"),
        ({"jawOpen": [0, "wide", 0, 0, 0]}, "row 1: jawOpen must be from 0 to 1; got nan"),
        ({"yaw": ["", 0, 0, 0, 0]}, r"row 0: yaw must be a number from -1e\+06 to 1e\+06; got nan"),
        ({"scale": [1, 1, 1, 1, 0]}, r"row 4: scale must be a number from 0.01 to 1e\+06; got 0"),
        ({"scale": [1, 1, 1e-320, 1, 1]}, "row 2: scale must be"),
        ({"scale": [1, 1, 1e300, 1, 1]}, "row 2: scale must be"),
        ({"tx": [0, 1e39, 0, 0, 0]}, "row 1: tx must be"),
        ({"roll": [0, 0, 0, 0, "-inf"]}, "row 4: roll must be"),
        ({"time": [0, 0.04, 0.08, 0.12, 0.2]}, "row 4: time must be that of the track's row; got 0.2"),
    ],
)
def test_values_that_cannot_be_are_refused(
    take: Track, tmp_path: Path, columns: dict[str, list[object]], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        with_table(take, edited(write_curves(take, tmp_path), **columns))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jawOpen\n0\n", "has 1 rows, and the track 5; name a table with the rows of its curves.csv"),
        ("time,ok\n" + "0,1\n" * 5, "has no column of curves.csv, such as yaw or eyeBlinkLeft; add one"),
        ("yaw, JawOpen\n" + "1,0\n" * 5, "JawOpen is no column of curves.csv; did you mean jawOpen"),
        ("yaw,jawopn\n" + "1,0\n" * 5, "jawopn is no column of curves.csv; did you mean jawOpen"),
        ("yaw,mood\n" + "1,0\n" * 5, "mood is no column of curves.csv; leave it out"),
        ("yaw,jawOpen, yaw\n" + "1,0,2\n" * 5, "has 2 columns yaw; leave one"),
        ("jawOpen\n" + "0,5\n" * 5, "row 0: has 2 cells, and the header 1; .* put semicolons between the cells"),
        ("jawOpen\n", "has 0 rows"),
        ("yaw,jawOpen\n" + "0\n" * 5, "row 0: jawOpen must be from 0 to 1; got nan"),
        ("", "has no column of curves.csv"),
    ],
)
def test_other_tables_are_refused(take: Track, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        with_table(take, path)
    with pytest.raises(UserError, match="cannot be read as CSV"):
        with_table(take, tmp_path / "nowhere.csv")


def test_it_needs_weights_of_shapes(take: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Head, "has_blendshapes", False)
    with pytest.raises(UserError, match="--curves moves the mesh by curves that are weights of shapes"):
        with_table(take, write_curves(take, tmp_path))
