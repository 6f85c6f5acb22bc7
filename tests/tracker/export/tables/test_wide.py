"""Plain tables and arrays: names, times, values, left and right, found frames; Unreal's long CSV."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.export import ExportOptions, export, known, write
from selftrack.tracker.export.timing import frame_rate
from selftrack.tracker.results.curves import write_curves
from selftrack.tracker.results.smoothing import CleanConfig
from selftrack.tracker.results.track_file import Track


def read_wide(path: Path) -> dict[str, np.ndarray]:
    """Columns by name."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, np.array(rows, float).T, strict=True))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows as they are written."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_unreal(path: Path) -> dict[str, dict[int, float]]:
    """Rig Mapper's rule: the first line is skipped, three fields a line, a key per whole frame number."""
    curves: dict[str, dict[int, float]] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "curve_name,frame_number,value"
    for line in lines[1:]:
        name, number, value = line.split(",")
        assert int(number) not in curves.setdefault(name, {}), "two values for one frame"
        curves[name][int(number)] = float(value)
    return curves


def test_csv_round_trip(performance: Track, tmp_path: Path) -> None:
    read = read_wide(write(performance, "csv", tmp_path / "take.csv"))
    assert list(read)[:10] == "frame,time,ok,confidence,yaw,pitch,roll,scale,tx,ty".split(",") and len(read) == 69
    np.testing.assert_allclose(read["time"], performance.times, atol=1e-6)
    np.testing.assert_array_equal(read["ok"], performance.ok)
    for name, values in (performance.curves() | performance.pose()).items():
        decimals = 3 if name in performance.pose() else 5
        np.testing.assert_allclose(read[name], values, atol=0.51 * 10.0**-decimals, err_msg=name)


def test_csv_and_the_tracks_own_table_are_one(performance: Track, wink: Track, tmp_path: Path) -> None:
    """To the byte: numbers of one track are the same in every table; after a clean-up, those of the raw track, too."""
    for track in (performance, replace(wink, timecode="09:59:59:23", timecode_rate=25.0)):
        assert write(track, "csv", tmp_path / "take.csv").read_bytes() == write_curves(track, tmp_path).read_bytes()
    cleaned = read_rows(write(wink, "csv", tmp_path / "clean.csv", ExportOptions(raw=wink)))
    own = read_rows(write_curves(wink, tmp_path))
    for name in ("jawOpen", "yaw", "scale", "ok"):
        assert [row[f"{name}_raw"] for row in cleaned] == [row[name] for row in own], name


def test_parquet_holds_the_same_as_csv(performance: Track, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    wide = read_wide(write(performance, "csv", tmp_path / "take.csv"))
    table = parquet.read_table(write(performance, "parquet", tmp_path / "take.parquet"))
    assert table.column_names == list(wide)
    for name in wide:
        np.testing.assert_allclose(table[name].to_numpy(), wide[name], atol=5.1e-4, err_msg=name)


def test_parquet_without_pyarrow_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selftrack.tracker.export.registry.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs pyarrow; install it with: pip install 'selftrack\[parquet\]'"):
        known(["csv", "parquet"])
    assert known(["csv", "livelink", "csv"]) == ("csv", "livelink")


def test_npz_needs_neither_pickle_nor_decoder(performance: Track, tmp_path: Path) -> None:
    with np.load(write(performance, "npz", tmp_path / "take.npz"), allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    count = len(performance)
    assert arrays["curves"].shape == (count, 52) and arrays["R"].shape == (count, 3, 3)
    np.testing.assert_array_equal(arrays["times"], performance.times)
    np.testing.assert_array_equal(arrays["ok"], performance.ok)
    for name, column in zip(arrays["names"].tolist(), arrays["curves"].T, strict=True):
        np.testing.assert_array_equal(column, performance.curves()[name])
    np.testing.assert_array_equal(arrays["yaw"], performance.pose()["yaw"])
    assert arrays["focal"] == pytest.approx(30 * np.exp(6.5))


def test_timecode_where_the_clip_has_it(wink: Track, tmp_path: Path) -> None:
    coded = replace(wink, timecode="09:59:59:23", timecode_rate=25.0)
    expected = ["09:59:59:23", "09:59:59:24", "10:00:00:00", "10:00:00:01", "10:00:00:02"]
    options = ExportOptions(raw=coded)
    header, *rows = csv.reader(write(coded, "csv", tmp_path / "coded.csv", options).read_text().splitlines())
    assert [row[header.index("timecode")] for row in rows] == expected and "timecode_raw" not in header
    bare, *plain = csv.reader(write(wink, "csv", tmp_path / "a.csv", ExportOptions(raw=wink)).read_text().splitlines())
    assert bare == [name for name in header if name != "timecode"]
    with np.load(write(coded, "npz", tmp_path / "coded.npz"), allow_pickle=False) as data:
        assert (str(data["timecode"]), float(data["timecode_rate"])) == ("09:59:59:23", 25)
    with np.load(write(wink, "npz", tmp_path / "a.npz"), allow_pickle=False) as data:
        assert "timecode" not in data.files
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    table = parquet.read_table(write(coded, "parquet", tmp_path / "coded.parquet"))
    assert table["timecode"].to_pylist() == expected


def test_unreal_round_trip(performance: Track, clock: np.ndarray, tmp_path: Path) -> None:
    read = read_unreal(write(performance, "unreal", tmp_path / "take.csv"))
    assert len(read) == 61 and {"EyeBlinkLeft", "TongueOut", "HeadYaw", "RightEyeRoll"} <= set(read)
    rate, jaw = frame_rate(clock), performance.curves()["jawOpen"]
    start, numbers = next(iter(read["JawOpen"])), np.array(list(read["JawOpen"])[1:])
    assert start == 0 and (np.diff(numbers) > 0).all()
    rows = np.array([np.flatnonzero(performance.ok & (np.rint(clock * rate) == n))[0] for n in numbers])
    assert np.abs(numbers / rate - clock[rows]).max() <= 0.5 / rate + 1e-9
    np.testing.assert_allclose(list(read["JawOpen"].values()), jaw[[0, *rows]], atol=1e-6)
    if np.ptp(np.diff(clock)) < 1e-6:  # a steady rate: a number per frame
        np.testing.assert_array_equal(numbers - numbers[0], np.flatnonzero(performance.ok))


@pytest.mark.parametrize("lost", [[], [0, 1, 2]])
@pytest.mark.parametrize("start", [0.0, 2.0])
def test_unreal_begins_at_the_clips_time_0(
    make_track: Callable[..., Track], tmp_path: Path, start: float, lost: list[int]
) -> None:
    """Rig Mapper's rule (AddCurveValuesToAnimSequence): the smallest frame number is at the sequence's start."""
    times = start + np.arange(10) / 25
    track = make_track(times, {"jawOpen": 0.5 + np.maximum(np.arange(10), 3) / 100}, lost=lost)
    keys = read_unreal(write(track, "unreal", tmp_path / "take.csv"))["JawOpen"]
    placed = np.array(list(keys)) - min(keys)
    np.testing.assert_allclose(placed[-7:] / 25, times[3:], atol=1e-9)
    assert list(keys.values())[0] == pytest.approx(0.53)
    assert len(keys) == 10 - len(lost) + bool(start or lost)


def test_left_stays_left(wink: Track, tmp_path: Path) -> None:
    shut, jaw = [0, 0, 0.75, 0, 0], [0, 0, 0.5, 0, 0]
    wide = read_wide(write(wink, "csv", tmp_path / "take.csv"))
    long = {n: list(v.values()) for n, v in read_unreal(write(wink, "unreal", tmp_path / "u.csv")).items()}
    with np.load(write(wink, "npz", tmp_path / "take.npz"), allow_pickle=False) as data:
        arrays = dict(zip(data["names"].tolist(), data["curves"].T.tolist(), strict=True))
    for read in (wide, arrays):
        assert [*read["eyeBlinkLeft"]] == shut and [*read["jawLeft"]] == jaw
        assert max(read["eyeBlinkRight"]) == max(read["jawRight"]) == 0
    assert long["EyeBlinkLeft"] == shut and long["JawLeft"] == jaw
    assert max(long["EyeBlinkRight"]) == max(long["JawRight"]) == 0


def test_without_o_the_file_lies_in_the_folder(wink: Track, tmp_path: Path) -> None:
    wink.save(tmp_path)
    assert export(tmp_path, "livelink") == tmp_path / "take {1}_livelink.csv"
    assert export(tmp_path, "csv") == tmp_path / "take {1}.csv"
    names = {"track.npz", "take {1}_livelink.csv", "take {1}.csv", ".selftrack"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_cleaned_tables_keep_the_raw_columns(make_track: Callable[..., Track], tmp_path: Path) -> None:
    noise = 0.3 + np.random.default_rng(0).normal(0, 0.005, 300)
    track = make_track(np.arange(300) / 30, {"jawOpen": noise}, lost=[40])
    track.save(tmp_path)
    read = read_wide(export(tmp_path, "csv", cleaning=CleanConfig()))
    assert len(read) == 69 + 59 and "time_raw" not in read
    np.testing.assert_allclose(read["jawOpen_raw"], track.curves()["jawOpen"], atol=5.1e-6)
    assert np.std(read["jawOpen"]) < np.std(read["jawOpen_raw"]) / 2
    assert read["ok_raw"][40] == 0 and read["ok"][40] == 1 and read["confidence"][40] == 0
    with np.load(export(tmp_path, "npz", cleaning=CleanConfig()), allow_pickle=False) as data:
        np.testing.assert_allclose(data["curves_raw"][:, 17], track.curves()["jawOpen"])
        np.testing.assert_allclose(data["curves"][:, 17], read["jawOpen"], atol=5.1e-6)


@pytest.mark.parametrize(("problem", "raised"), [(OSError("disk full"), UserError), (KeyError("defect"), KeyError)])
def test_nothing_half_written(
    problem: Exception,
    raised: type[Exception],
    make_track: Callable[..., Track],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A write that fails midway leaves the folder, and an earlier file, as they were."""
    track, earlier = make_track([0.0, 0.1]), tmp_path / "earlier.csv"
    earlier.write_text("of an earlier run")

    class Full:
        def writerow(self, row: object) -> None:
            raise problem

    def half(file: TextIO, **settings: object) -> Full:
        file.write("frame,time\n")
        file.flush()
        return Full()

    monkeypatch.setattr("selftrack.tracker.export.tables.wide.csv.writer", half)
    for path in (tmp_path / "take.csv", earlier):
        with pytest.raises(raised, match=str(problem.args[0])):
            write(track, "csv", path)
        assert list(tmp_path.iterdir()) == [earlier] and earlier.read_text() == "of an earlier run"


def test_a_folder_that_is_not_there_is_one_line(make_track: Callable[..., Track], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/take\.csv: cannot be written \(No such file"):
        write(make_track([0.0, 0.1]), "csv", tmp_path / "nowhere" / "take.csv")
