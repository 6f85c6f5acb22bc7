"""`python -m selftrack.eval.characters`."""

from pathlib import Path

import cv2
import pytest

from selftrack.command import run
from selftrack.eval.characters import __main__ as command
from selftrack.tracker.sources.opening import open_source

MISTAKES = {
    "no real people": (("--measure", "60"), "name them with --real"),
    "nothing measured": (("--real", "photo.png"), "add --measure N"),
    "too few drawn": (("--measure", "3", "--real", "photo.png"), "greater than or equal to 60"),
    "too few real": (("--measure", "60", "--real", "photo.png"), "name more clips"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_found_before_people_are_drawn(
    smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str
) -> None:
    arguments, words = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "draw_all", lambda *_: pytest.fail("drew somebody"))
    with open_source(smile) as source:
        (frame,) = source.frames(only={0})
    cv2.imwrite("photo.png", frame.image[..., ::-1])
    with pytest.raises(SystemExit) as stop:
        run("characters", None, ["out", *arguments], main=command.main)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and words in err and len(err.strip().splitlines()) == 1
