"""The commands as a user types them, in the running process."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from selftrack.cli import batch, character, evaluate, export, rig, track, train

MAINS = {
    "track": track.main,
    "track-batch": batch.main,
    "track-character": character.main,
    "track-eval": evaluate.main,
    "track-export": export.main,
    "track-range": rig.main_range,
    "track-train": train.main,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> Callable:
    """`run("track", "clip.mp4", ...)` in an empty folder -> (exit status, stdout, stderr)."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def run(name: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            MAINS[name]()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run
