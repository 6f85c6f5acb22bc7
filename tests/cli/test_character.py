"""`track-character`, as a user types it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.decoders.makehuman.sliders import SLIDERS, population
from selftrack.io import OutputFolder
from selftrack.tracker.makehuman.files import FILES
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
    facts = json.loads(Path("me/makehuman.json").read_text())
    assert facts["name"] == "me" and facts["pictures"] == 1
    usual = dict(zip([slider.name for slider in SLIDERS], population()[0], strict=True))
    told = {name: row for name, row in facts["sliders"].items() if abs(row["value"] - usual[name]) > row["deviation"]}
    assert len(facts["sliders"]) == 120 and f"{len(told)} of 120 are told by the pictures" in out
    assert f"of {f'the other {120 - len(told)}' if told else 'all'} they tell no more" in out
    assert {line.split()[1] for line in out.splitlines() if "±" in line} == set(told)
    assert {file.suffix for file in Path("me").glob("makehuman.*")} == {".json", ".mhm", ".glb", ".png"}
    status, _, err = run("track-character", photo, "-o", "me")
    assert status == 2 and "--overwrite" in err.splitlines()[-1]


def test_a_clip_and_its_track_give_the_same_character(run: Callable, smile: Path) -> None:
    part = ("--duration", 0.1)
    assert run("track-character", smile, *part, "-o", "clip", "-q")[0] == 0
    assert run("track", smile, *part, "-o", "tracked", "--no-overlay", "-q")[0] == 0
    assert run("track-character", "tracked", "-o", "again", "-q")[0] == 0
    one, other = (json.loads(Path(folder, "makehuman.json").read_text()) for folder in ("clip", "again"))
    assert one["sliders"] == other["sliders"] and one["skin"] == other["skin"]
    assert one["pictures"] == 1
    assert run("track-character", "tracked/track.npz", "-o", "file", "-q")[0] == 0
    assert Path("file/makehuman.json").read_bytes() == Path("again/makehuman.json").read_bytes()


OPTIONS = [("--face", 0), ("--start", 0), ("--duration", 1), ("--device", "cpu")]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option[0])
def test_options_of_a_clip_are_refused_with_a_track(run: Callable, make_track: Callable, option: tuple) -> None:
    make_track().save(Path("."))
    status, _, err = run("track-character", ".", *option, "-o", "out")
    assert status == 2 and f"leave {option[0]} out" in err and len(err.strip().splitlines()) == 1


def test_a_folder_of_several_faces_is_no_folder_of_pictures(run: Callable, photo: Path, make_track: Callable) -> None:
    for face in ("face0", "face1"):
        Path("party", face).mkdir(parents=True)
        make_track().save(Path("party", face))
    shutil.copy(photo, "party/faces.png")
    status, _, err = run("track-character", "party", "-o", "out")
    assert status == 2 and "several faces; name party/face0 or party/face1" in err
    assert len(err.strip().splitlines()) == 1 and not Path("out").exists()


def test_files_of_a_users_own_character_stay(run: Callable, photo: Path) -> None:
    """`track --character` writes character.csv and character.glb, perhaps into the same folder."""
    out = OutputFolder("me")
    with out.writing(["character.glb"]) as results:
        (results / "character.glb").write_bytes(b"mine")
    assert run("track-character", photo, "-o", "me", "--overwrite", "-q")[0] == 0
    assert Path("me/character.glb").read_bytes() == b"mine"


MISTAKES = {
    "missing": (("missing.jpg", "-o", "out"), "no such file"),
    "window": (("words.txt", "-o", "out", "--duration", "nan"), "--duration nan"),
    "results": (("words.txt", "-o", "done"), "--overwrite"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_found_before_torch_is_loaded(run: Callable, name: str) -> None:
    arguments, words = MISTAKES[name]
    Path("words.txt").write_text("hello")
    with OutputFolder("done").writing(FILES) as results:
        (results / FILES[0]).touch()
    code = (
        "import sys; sys.argv = ['track-character', *sys.argv[1:]]\n"
        "from selftrack.cli.character import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout.strip() == "False"
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_stage_ends_once(run: Callable, photo: Path) -> None:
    """Looking for everyone, all is read once."""
    _, _, err = run("track-character", photo, "--face", 1, "-o", "out")
    assert [line for line in err.splitlines() if "1/1" in line] == ["following faces     1/1"]


def test_several_faces_have_to_be_chosen_from(run: Callable, photo: Path) -> None:
    image = cv2.imread(str(photo))
    cv2.imwrite("two.png", np.concatenate([image[:, 100:460], image[:, ::-1][:, 180:540]], 1))
    status, _, err = run("track-character", "two.png", "-o", "out")
    assert status == 2 and "two.png: 2 faces were found" in err and "--face N" in err.splitlines()[-1]
    assert not Path("out").exists() or not list(Path("out").glob("makehuman.*"))
    assert run("track-character", "two.png", "--face", 1, "-o", "out")[0] == 0
    status, _, err = run("track-character", "two.png", "--face", 7, "-o", "other")
    assert status == 3 and "--face 7" in err.splitlines()[-1]


@pytest.mark.parametrize(("name", "status", "words"), [("grey.png", 3, "no face"), ("words.txt", 2, "words.txt")])
def test_what_shows_nobody_is_refused(run: Callable, name: str, status: int, words: str) -> None:
    cv2.imwrite("grey.png", np.full((240, 320, 3), 128, np.uint8))
    Path("words.txt").write_text("hello")
    found, _, err = run("track-character", name, "-o", "out", "-q")
    assert found == status and words in err.splitlines()[-1] and len(err.strip().splitlines()) == 1
    assert not list(Path(".").glob("out/makehuman.*"))
