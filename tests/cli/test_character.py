"""`track-character`, as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.tracker.sources.opening import open_source


@pytest.fixture(scope="module")
def photo(smile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture of a man."""
    path = tmp_path_factory.mktemp("photo") / "me.png"
    with open_source(smile) as source:
        (frame,) = source.frames(only={0})
    cv2.imwrite(str(path), frame.image[..., ::-1])
    return path


def test_a_photo_becomes_a_character_once(run: Callable, photo: Path) -> None:
    status, out, err = run("track-character", photo, "-o", "me")
    assert status == 0, err
    facts = json.loads(Path("me/character.json").read_text())
    assert facts["name"] == "me" and facts["pictures"] == 1
    assert "of 120 were seen" in out and "±" in out
    assert {file.suffix for file in Path("me").glob("character.*")} == {".json", ".mhm", ".glb", ".png"}
    status, _, err = run("track-character", photo, "-o", "me")
    assert status == 2 and "--overwrite" in err.splitlines()[-1]


def test_a_clip_and_its_track_give_the_same_character(run: Callable, smile: Path) -> None:
    part = ("--duration", 0.1)
    assert run("track-character", smile, *part, "-o", "clip", "-q")[0] == 0
    assert run("track", smile, *part, "-o", "tracked", "--no-overlay", "-q")[0] == 0
    assert run("track-character", "tracked", "-o", "again", "-q")[0] == 0
    one, other = (json.loads(Path(folder, "character.json").read_text()) for folder in ("clip", "again"))
    assert one["sliders"] == other["sliders"] and one["skin"] == other["skin"]
    assert one["pictures"] == 3
    status, _, err = run("track-character", "tracked", "--face", 1, "-o", "third")
    assert status == 2 and "leave that out" in err.splitlines()[-1]


def test_several_faces_have_to_be_chosen_from(run: Callable, photo: Path) -> None:
    image = cv2.imread(str(photo))
    cv2.imwrite("two.png", np.concatenate([image[:, 100:460], image[:, ::-1][:, 180:540]], 1))
    status, _, err = run("track-character", "two.png", "-o", "out")
    assert status == 2 and "--face N" in err.splitlines()[-1]
    assert not Path("out").exists() or not list(Path("out").glob("character.*"))
    assert run("track-character", "two.png", "--face", 1, "-o", "out")[0] == 0
    status, _, err = run("track-character", "two.png", "--face", 7, "-o", "other")
    assert status == 3 and "--face 7" in err.splitlines()[-1]


@pytest.mark.parametrize(("name", "status", "words"), [("grey.png", 3, "no face"), ("words.txt", 2, "words.txt")])
def test_what_shows_nobody_is_refused(run: Callable, name: str, status: int, words: str) -> None:
    cv2.imwrite("grey.png", np.full((240, 320, 3), 128, np.uint8))
    Path("words.txt").write_text("hello")
    found, _, err = run("track-character", name, "-o", "out", "-q")
    assert found == status and words in err.splitlines()[-1] and len(err.strip().splitlines()) == 1
    assert not list(Path(".").glob("out/character.*"))
