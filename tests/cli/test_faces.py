"""Several faces, covered faces and faces that are not there, by command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from selftrack.adapt import clips as adaptation
from selftrack.adapt.run import load_preset, read
from selftrack.cli.track import _one_or_several
from selftrack.errors import TooLittleError
from selftrack.tracker import load
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.model import Model
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import TrackerConfig

MakeClip = Callable[..., Path]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """A man who begins to smile: every third of 48 frames."""
    clip = Path(__file__).parents[1] / "data" / "smile.mp4"
    with open_source(clip) as source:
        return [frame.image for frame in source.frames(only=set(range(8, 56, 3)))]


def with_picture(frame: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The frame beside a larger picture of a man of another colour."""
    blue = (255 * (picture[:, ::-1, ::-1] / 255.0) ** 0.5).astype(np.uint8)
    wide = np.concatenate([frame[:, 100:460], cv2.resize(blue[10:340, 120:470], (420, 360))], 1)
    return np.ascontiguousarray(wide)


def test_faces_are_shown_with_their_numbers(run: Callable, make_clip: MakeClip, frames: list[np.ndarray]) -> None:
    clip = make_clip("two.mp4", [with_picture(frame, frames[0]) for frame in frames[:8]])
    status, out, err = run("track", clip, "--thumbnails")
    assert status == 0, err
    assert out.splitlines()[0].startswith("face 0   0.0 to 0.3 s") and "still as a picture" in out.splitlines()[1]
    assert [file.name for file in Path("two_track").iterdir() if file.is_file()] == ["faces.png"]
    assert cv2.imread("two_track/faces.png").shape == (2 * 188, 800, 3)
    status, _, err = run("track", "two_track")
    assert (status, err) == (2, "track: two_track: holds results (faces.png) and no footage; name the clip itself\n")
    status, out, _ = run("track", clip, "-o", "first", "--no-overlay")
    assert status == 0 and "2 faces were found; face 0" in out and "faces.png" in out
    first = load("first")
    assert "2 faces" in first.notes[0] and first.landmarks[:, :, 0].max() < 360
    status, _, err = run("track", clip, "--thumbnails", "--adapt", "-o", "third")
    assert status == 2 and "leave --adapt" in err.splitlines()[-1]


def test_all_faces_by_one_command(
    run: Callable, make_clip: MakeClip, frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is adapted to in turn; of one there is too little, so it is tracked as it would be without."""
    asked: list[tuple] = []

    def adapt_clip(clip: str, folder: Path, track: Any, config: Any, model: Any, show: Any, say: Any, face: Any) -> Any:
        asked.append((folder.name, track.detect.face, face.still))
        if track.detect.face == 1:
            raise TooLittleError("a face in 7 frames is too little")
        adaptation._checkpoint(folder).parent.mkdir(parents=True)
        adaptation._checkpoint(folder).write_text("not needed when the results are there")
        return model, "held-out frames: better", lambda *_: None

    monkeypatch.setattr(adaptation, "adapt_clip", adapt_clip)
    clip = make_clip("two.mp4", [with_picture(frame, frames[0]) for frame in frames[:8]])
    every = ("track", clip, "--faces", "all", "--adapt", "--overlay", "mesh", "--export", "csv", "-o", "out")
    status, out, err = run(*every)
    assert status == 0, err
    assert asked == [("face0", 0, False), ("face1", 1, True)]
    lines = out.splitlines()
    assert lines[0].startswith("face 0   8 frames, lost 0") and lines[1].startswith("face 1   8 frames, lost 0")
    assert "results  out: config.yaml, face0, face1, faces.png, overlay.mp4" in lines
    assert "adapted  face 0: held-out frames: better" in lines and "adapted  face 1: no, the un-adapted" in lines[-1]
    written = {"track.npz", "curves.csv", "contact_sheet.png", "config.yaml", "two.csv", ".selftrack"}
    assert {path.name for path in Path("out/face0").iterdir()} == written
    assert [path.name for path in Path("out/face0/.selftrack").iterdir()] == ["manifest.json"]
    assert run("track", clip, "--face", 1, "--no-overlay", "-o", "alone")[0] == 0
    picture, alone = load("out/face1"), load("alone")
    np.testing.assert_array_equal(picture.z, alone.z)
    np.testing.assert_array_equal(picture.H_image, alone.H_image)
    assert picture.notes == alone.notes and "still as a picture" in picture.notes[0]
    assert picture.landmarks[:, :, 0].min() > 360 > load("out/face0").landmarks[:, :, 0].max()
    assert run("track-export", "out/face1", "--to", "livelink")[0] == 0
    status, _, err = run(*every)
    assert status == 2 and "results of an earlier run" in err.splitlines()[-1]


def test_an_option_counts_more_than_a_file_for_who_is_tracked() -> None:
    several, one = {"faces": "all", "track.detect.face": 0}, {"track.detect.face": 1}
    assert _one_or_several(several, {}) == several
    assert _one_or_several(several, one) == {"faces": None, "track.detect.face": 1}
    assert _one_or_several(one, {"faces": "0,2"}) == {"faces": [0, 2], "track.detect.face": 0}
    assert _one_or_several({}, one) == one | {"faces": None}
    photo = {"track.person.photo": "me.jpg"}
    assert _one_or_several(photo, one) == _one_or_several({}, one)
    assert _one_or_several(photo, {"faces": "0,2"}) == {"faces": [0, 2], "track.detect.face": 0}
    assert _one_or_several(several, photo) == {"faces": None, "track.detect.face": 0} | photo


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (["--faces", "3"], 3, "two.mp4 are 0 ("),
        (["--faces", "0,2"], 3, "195 pixels wide); name these, or all"),
        (["--faces", "both"], 2, "--faces takes all, how many of the first ones (2), or two numbers or more (0,2)"),
        (["--set", "faces=0"], 2, "--faces takes all"),
        (["--faces", "all", "--face", "1"], 2, "--face 1 tracks one face and --faces all several; leave one of them"),
        (["--faces", "all", "--thumbnails"], 2, "leave --adapt, --export, --report and --faces out"),
        (["--faces", "all", "--decoder", "me.safetensors"], 2, "me.safetensors: is of one person"),
    ],
)
def test_faces_that_are_not_there_and_options_that_do_not_go_together(
    run: Callable, make_clip: MakeClip, frames: list[np.ndarray], arguments: list[str], status: int, words: str
) -> None:
    clip = make_clip("two.mp4", [with_picture(frame, frames[0]) for frame in frames[:3]])
    refused, out, err = run("track", clip, "-q", *arguments)
    assert (refused, out) == (status, "") and len(err.splitlines()) == 1 and words in err
    assert not list(Path().iterdir())


def test_a_number_without_a_face_replaces_nothing(run: Callable, make_clip: MakeClip, frames: list[np.ndarray]) -> None:
    clip = make_clip("one.mp4", frames[:4])
    assert run("track", clip, "--no-overlay")[0] == 0
    before = Path("one_track/track.npz").read_bytes()
    status, _, err = run("track", clip, "--no-overlay", "--overwrite", "--face", 1)
    assert status == 3 and f"--face 1: the faces of {clip} are 0 (" in err.splitlines()[-1]
    assert Path("one_track/track.npz").read_bytes() == before
    assert run("track", make_clip("none.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 3), "--thumbnails")[0] == 3


def test_a_mask_hides_the_mouth(run: Callable, make_clip: MakeClip, frames: list[np.ndarray]) -> None:
    """From the seventh frame on: what it does is not made up, and the table says so."""
    masked = [frame.copy() for frame in frames]
    for frame in masked[6:]:
        cv2.ellipse(frame, (297, 262), (62, 48), 0, 0, 360, (120, 170, 205), -1, cv2.LINE_AA)
    assert run("track", make_clip("bare.mp4", frames), "--no-overlay")[0] == 0
    assert run("track", make_clip("mask.mp4", masked), "--no-overlay")[0] == 0
    bare, mask = load("bare_track"), load("mask_track")
    assert not any(held.any() for held in bare.held().values())
    held = mask.held()
    assert held["mouth"][7:].all() and not held["mouth"][:6].any() and not held["eyes"].any()
    smile = mask.curves()["mouthSmileLeft"]
    np.testing.assert_allclose(smile[7:], smile[6], atol=1e-6)
    assert mask.regions()["mouth"][7:].max() < 0.5 < 0.8 < bare.regions()["mouth"].mean()
    with open("mask_track/curves.csv") as file:
        columns = file.readline().strip().split(",")
        rows = [line.strip().split(",") for line in file]
    assert [row[columns.index("held_mouth")] for row in rows] == ["1" if value else "0" for value in held["mouth"]]


@pytest.fixture
def two(make_clip: MakeClip, frames: list[np.ndarray], drawn_person: Callable) -> Path:
    """A drawn person beside the man, and larger than he is."""
    large = cv2.resize(drawn_person(4)[0], (480, 480))[:360]
    sides = [(np.roll(large, 2 * (row % 3), 1), frame[:, 100:460]) for row, frame in enumerate(frames[:8])]
    return make_clip("two.mp4", [np.ascontiguousarray(np.concatenate(both, 1)) for both in sides])


@pytest.fixture
def photos(drawn_person: Callable, tmp_path: Path) -> dict[str, Path]:
    """Of the man, from another clip; of her who is drawn beside him, from another side; and of nobody there."""
    with open_source(Path(__file__).parents[1] / "data" / "lost.mp4") as source:
        (me,) = source.frames(only={2})
    pictures = {"me": me.image, "her": drawn_person(4)[0], "nobody": drawn_person(6)[0]}
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture[..., ::-1])
    return {name: tmp_path / f"{name}.png" for name in pictures}


def test_the_person_of_a_photo(run: Callable, two: Path, photos: dict[str, Path]) -> None:
    """Is followed, whatever the number of the face; a number given later ends that."""
    short = ("track", two, "--duration", 0.3, "--no-overlay")
    status, out, err = run(*short, "--face", photos["me"], "-o", "found")
    assert status == 0, err
    note = next(line for line in out.splitlines() if line.startswith("note"))
    assert f"{two}: distances from {photos['me']} are 0 (" in note
    assert load("found").landmarks[:, :, 0].min() > 450
    again = (*short, "--config", "found/config.yaml", "--overwrite")
    status, out, err = run(*again, "-o", "found")
    assert status == 0 and note in out, err
    number = note.partition("; face ")[2].partition(" ")[0]
    status, out, err = run(*again, "--face", 1 - int(number), "-o", "other")
    assert status == 0 and load("other").landmarks[:, :, 0].mean() < 450, err


def test_photos_of_nobody_in_the_clip(run: Callable, two: Path, photos: dict[str, Path]) -> None:
    for options, expected, said in (
        (["--face", photos["nobody"]], 3, f"nobody.png: nobody in {two} looks like this; the nearest is at 0."),
        (["--face", "you.jpg"], 2, "--face takes the number of a face, see --thumbnails, or a photo; there is no file"),
        (["--face", photos["me"], "--faces", "all"], 2, "me.png tracks one face and --faces all several"),
        (["--set", f"track.person.photo={two}"], 2, "not a picture"),
    ):
        status, _, err = run("track", two, "--no-overlay", "-o", "refused", *options)
        assert status == expected and said in err.splitlines()[-1] and not Path("refused").exists(), err


def test_an_adaptation_knows_the_number_of_the_photos_face(two: Path, photos: dict[str, Path]) -> None:
    """Its weights are then those of that face, also for a run with the number."""
    model, numbers = Model.load(device="cpu"), []
    for name in ("me", "her"):
        person = PersonConfig(photo=str(photos[name]), samples=4)
        with open_source(two) as source:
            numbers.append(read(model, source, load_preset(), TrackerConfig(), person).number)
    assert sorted(numbers) == [0, 1]
