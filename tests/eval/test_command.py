"""`track-eval` as a user types it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.cli import evaluate
from selftrack.command import run as run_command
from selftrack.eval.checks import damping
from selftrack.tracker import load


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable:
    """`run(...)` -> (exit status, stdout, stderr) of track-eval."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["track-eval", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            evaluate.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


def test_one_folder_gets_a_report(run: Callable, plain_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain_folder, tmp_path / "track"))
    status, out, _ = run(folder)
    assert status == 0 and "verdict  This track was not adapted" in out and str(folder / "report.html") in out
    figures = [line for line in out.splitlines() if line.startswith("figure ")]
    assert len(figures) == 8 and all(" pixels " in line for line in figures[:5]) and "Weakest" in out
    assert {"report.html", "report.json"} <= {path.name for path in folder.iterdir()}
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".selftrack"]  # the manifest


def test_a_track_named_by_its_file_gets_the_report_of_its_folder(
    run: Callable, plain_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(plain_folder, tmp_path / "track"))
    status, out, _ = run(folder / "track.npz")
    assert status == 0 and f"report   {folder / 'report.html'}" in out and (folder / "report.json").exists()


def test_trackers_side_by_side(run: Callable, plain_folder: Path, smile: Path, tmp_path: Path) -> None:
    track = load(plain_folder)
    verts, faces = track.vertices(), track.model().faces.numpy()
    corner = faces[track.model().skin_faces.numpy()]  # another topology, without eyes and teeth
    np.savez(tmp_path / "other.npz", verts=verts, faces=corner[::-1], ok=track.ok)
    status, out, _ = run(plain_folder, tmp_path / "other.npz", "--json", tmp_path / "scores.json")
    lines = out.strip().splitlines()
    assert status == 0 and len(lines) == 4 and all(line.startswith("| ") or line.startswith("|-") for line in lines)
    figures = json.loads((tmp_path / "scores.json").read_text())
    mine, other = (figures[str(path)] for path in (plain_folder, tmp_path / "other.npz"))
    assert mine["stability"]["screen"] == pytest.approx(other["stability"]["screen"])
    assert mine["skin"]["mean"] == pytest.approx(other["skin"]["mean"], rel=0.05)
    assert other["landmarks"]["mean"] is None and mine["lost"] == 0


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["LOST"], "what to score?"),
        (["nowhere.npz", "nowhere.npz"], "no such file"),
        (["EMPTY"], "no such file"),
        (["EMPTY", "--filters"], "--filters goes with several tracks"),
        (["EMPTY", "--json", "a.json"], "--json goes with several tracks"),
        (["EMPTY", "EMPTY", "--annotate"], "--annotate goes with one folder"),
        (["TRACK", "--annotate", "--points", "a.csv"], "--points is for a report, and --annotate writes none"),
        (["TRACK", "--points", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["TRACK", "--before", "EMPTY"], "no such file"),
        (["LOST", "TRACK"], "is not the clip of the tracks"),
    ],
)
def test_bad_input_is_one_line(
    run: Callable, plain_folder: Path, tmp_path: Path, smile: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"EMPTY": tmp_path / "empty", "TRACK": plain_folder, "LOST": smile.with_name("lost.mp4")}
    status, out, err = run(*(names.get(argument, argument) for argument in arguments))
    lines = err.splitlines()
    assert status == 2 and out == "" and len(lines) == 1, err
    assert lines[0].startswith("track-eval: ") and words in lines[0]
    assert not list((tmp_path / "empty").iterdir()) and not (plain_folder / "report.html").exists()


def test_modules_run_as_commands_end_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    """`python -m selftrack.eval.checks.damping nowhere there`, and two commands under one name."""
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "nowhere"), "there"])
    with pytest.raises(SystemExit) as stop:
        run_command("python -m selftrack.eval.checks.damping", damping=damping.main)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1
    assert said.startswith("python -m selftrack.eval.checks.damping: ")
    assert "nowhere: no such file" in said
    seen = []
    monkeypatch.setattr(sys, "argv", ["x", "second"])
    with pytest.raises(SystemExit) as stop:
        run_command("x", "Two of them.", first=lambda: seen.append(1), second=lambda: seen.append(2))
    assert not stop.value.code and seen == [2]
