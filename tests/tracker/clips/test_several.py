"""Several faces of one clip, by a made-up detector that knows who is where: each is tracked as it would be alone."""

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from selftrack.decoders.head.model import load_head
from selftrack.errors import NoFaceError, UserError
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.several import track_faces
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.geometry.crop import face_similarity
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.landmarks.base import Detection, Follower, LandmarkSource, Places
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Model
from selftrack.tracker.results.painter import OverlayConfig
from selftrack.tracker.results.track_file import Track, load
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.sources.video import VideoFile

HEAD = load_head()
POINTS = HEAD.landmarks478(HEAD.mean[None])
WIDTH, HEIGHT, COUNT = 240, 100, 60
QUICK = TrackConfig(overlay=False, person=PersonConfig(samples=6))
RED, BLUE = np.array([30, 0, -30]), np.array([-30, 0, 30])
Scene = Callable[[int], dict[str, float]]
"""Where the heads of "red" and "blue" are in a frame of that number: x in pixels."""


def both(number: int) -> dict[str, float]:
    """Red moves to the right, blue is larger and goes after frame 44."""
    return {"blue": 180.0, "red": 40.0 + 0.5 * number} if number < 45 else {"red": 40.0 + 0.5 * number}


def in_turns(number: int) -> dict[str, float]:
    """After a cut, blue is where red was."""
    return {"red": 60.0} if number < 30 else {"blue": 60.0}


def crossing(number: int) -> dict[str, float]:
    """Red goes to the right before blue, who goes to the left and is hidden meanwhile."""
    red, blue = 40.0 + 2.5 * number, 200.0 - 2.5 * number
    return {"red": red} if abs(red - blue) < 50 else {"red": red, "blue": blue}


def found(who: str, x: float) -> Detection:
    """The mean head, upright; blue's is larger."""
    pose = torch.tensor([[5.4 if who == "red" else 5.7, 0.0, 0.0, 0.0, x, 50.0]])
    points = project(POINTS, pose)[0].numpy()
    return Detection(points[:, :2], points[:, 2], 0.9)


class Seer(LandmarkSource):
    """Sees who is in a frame, whose number its middle row tells: level 60 + 2 number."""

    points = 478

    def __init__(self, scene: Scene, follows: tuple[str, ...] = ("red", "blue")) -> None:
        self.scene, self.follows = scene, follows

    def at(self, frame: np.ndarray, whom: tuple[str, ...] = ("red", "blue")) -> list[Detection]:
        number = round((float(frame[-8:].mean()) - 60) / 2)
        return [found(who, x) for who, x in self.scene(number).items() if who in whom]

    def faces(self, frame: np.ndarray, config: DetectConfig) -> list[Detection]:
        return self.at(frame)

    def follower(self, config: DetectConfig, places: Places | None = None) -> "Eye":
        return Eye(self, places)


class Eye(Follower):
    """Finds the face that is at its places."""

    def __init__(self, seer: Seer, places: Places | None) -> None:
        self.seer, self.places = seer, places

    def __call__(self, frame: np.ndarray, time: float | None = None) -> Detection | None:
        seen = self.seer.at(frame, self.seer.follows)
        if self.places is None:
            return seen[0] if seen else None
        region = self.places.region(time)
        alike = [one for one in seen if region is not None and np.allclose(face_similarity(one.points), region)]
        return alike[0] if alike else None

    def detect_once(self, frame: np.ndarray) -> Detection | None:
        return self(frame)

    def reset(self) -> None:
        """There is nothing to forget."""


@pytest.fixture
def seeing(fake_model: Callable[..., Model]) -> Callable[[Scene], Model]:
    """`seeing(both)`: a model whose detector sees that."""
    return lambda scene: replace(fake_model(), landmarks=Seer(scene))


@pytest.fixture
def film(make_clip: Callable[..., Path]) -> Callable[[Scene], Path]:
    """`film(both)`: a clip of it, at 25 frames/s; around each head is its colour."""

    def make(scene: Scene) -> Path:
        images, around = [], WIDTH if scene is in_turns else 40
        for number in range(COUNT):
            image = np.full((HEIGHT, WIDTH, 3), 60 + 2 * number)
            for who, x in scene(number).items():
                tint = RED if who == "red" else BLUE
                image[:-10, max(int(x) - around, 0) : int(x) + around] += tint
            images.append(image.clip(0, 255).astype(np.uint8))
        return make_clip(f"{scene.__name__}.mkv", images, codec="ffv1", pix_fmt="bgr0")

    return make


def differing(one: Track, other: Track) -> list[str]:
    """Names of the fields that are not the same, bit for bit."""
    pairs = {field.name: (getattr(one, field.name), getattr(other, field.name)) for field in fields(Track)}
    return [
        name
        for name, (a, b) in pairs.items()
        if not np.array_equal(a, b, equal_nan=isinstance(a, np.ndarray) and a.dtype.kind == "f")
    ]


@pytest.mark.parametrize("scene", [both, in_turns, crossing])
def test_each_is_tracked_as_it_would_be_alone(scene: Scene, film: Callable, seeing: Callable, tmp_path: Path) -> None:
    """Who stands beside another, who follows him after a cut, and who crosses him."""
    clip, model = film(scene), seeing(scene)
    summary = track_faces(clip, tmp_path / "all", "all", QUICK, model=model)
    assert list(summary.faces) == [0, 1] and summary.names == ("config.yaml", "face0", "face1", "faces.png")
    for number in (0, 1):
        config = replace(QUICK, detect=replace(QUICK.detect, face=number))
        track_clip(clip, tmp_path / f"alone{number}", config, model=model)
        track = load(tmp_path / "all" / f"face{number}")
        assert differing(track, load(tmp_path / f"alone{number}")) == []
        assert track.settings()["detect"]["face"] == number and track.ok.sum() >= 30
    tracks = [load(tmp_path / "all" / f"face{number}") for number in (0, 1)]
    for number in range(COUNT):
        there = scene(number)
        for track in tracks:
            who = "red" if track.H_image[track.ok, 0].mean() < 5.55 else "blue"
            assert track.ok[number] == (who in there)
            if who in there:
                assert track.H_image[number, 4] == pytest.approx(there[who], abs=0.1)


def test_who_leaves_holds_what_was_seen_last(film: Callable, seeing: Callable, tmp_path: Path) -> None:
    summary = track_faces(film(both), tmp_path / "out", "all", QUICK, model=seeing(both))
    blue, red = (load(tmp_path / "out" / f"face{number}") for number in (0, 1))  # the larger is the first
    assert red.ok.all() and blue.ok[:45].all() and not blue.ok[45:].any()
    np.testing.assert_array_equal(blue.z[45:], np.tile(blue.z[44], (15, 1)))
    assert (summary.faces[0].frames, summary.faces[0].lost, summary.faces[1].lost) == (60, 15, 0)
    assert (summary.frames, summary.lost) == (60, 15)
    assert summary.trusted == pytest.approx((red.trusted() + blue.trusted()) / 2)
    with pytest.raises(UserError, match="has a track for each of several faces; name .*face0 or .*face1"):
        load(tmp_path / "out")
    lines = str(summary).splitlines()
    assert lines[0].startswith("face 0   60 frames, lost 15, ") and lines[1].startswith("face 1   60 frames, lost 0, ")
    assert lines[2].startswith("speed    ") and lines[3].startswith("results  ") and "2 faces were found" in lines[4]


def test_the_clip_is_read_once_for_all(
    film: Callable, seeing: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    frames = VideoFile.frames
    monkeypatch.setattr(VideoFile, "frames", lambda self, *a, **k: (passes.append(1), frames(self, *a, **k))[1])
    clip = film(both)
    counts = []
    for choice in ([1], 2):
        passes.clear()
        track_faces(clip, tmp_path / str(choice), choice, QUICK, model=seeing(both))
        counts.append(len(passes))
    assert counts[0] == counts[1] > 0


def test_settings_give_the_same_again(film: Callable, seeing: Callable, tmp_path: Path) -> None:
    track_faces(film(both), tmp_path / "out", [0, 1], QUICK, model=seeing(both))
    of_all, of_one = (yaml.safe_load((tmp_path / "out" / p / "config.yaml").read_text()) for p in ("", "face1"))
    assert of_all["faces"] == [0, 1] and of_all["track"] == asdict(QUICK) | {
        "overlay_style": of_all["track"]["overlay_style"]
    }
    assert "faces" not in of_one and of_one["track"]["detect"]["face"] == 1


def test_an_export_of_each_face_is_a_stage_of_its_own(film: Callable, seeing: Callable, tmp_path: Path) -> None:
    """Else the second would begin where the first has ended."""
    seen: dict[str, list[int]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        seen.setdefault(stage, []).append(done)

    config = replace(QUICK, duration=0.2)
    track_faces(film(both), tmp_path / "out", "all", config, model=seeing(both), exports=["glb"], progress=progress)
    assert {"face0: glb", "face1: glb"} <= set(seen)
    assert all(done == sorted(done) for done in seen.values())


def test_one_overlay_shows_all_with_their_numbers(film: Callable, seeing: Callable, tmp_path: Path) -> None:
    style = OverlayConfig(mode="mesh")
    clip, config = film(both), replace(QUICK, overlay=True, overlay_style=style)
    track_faces(clip, tmp_path / "out", "all", config, model=seeing(both))
    assert not (tmp_path / "out" / "face0" / "overlay.mp4").exists()
    assert (tmp_path / "out" / "face0" / "contact_sheet.png").exists()
    with open_source(tmp_path / "out" / "overlay.mp4") as drawn, open_source(clip) as bare:
        pairs = [(a.image.astype(int), b.image.astype(int)) for a, b in zip(drawn, bare, strict=True)]
    assert len(pairs) == COUNT
    for number in (10, 50):
        shown, plain = pairs[number]
        changed, white = np.abs(shown - plain).max(2) > 12, shown.min(2) > 225
        for who, x in {"blue": 180.0, "red": 40.0 + 0.5 * number}.items():
            place = slice(round(x) - 8, round(x) + 8)
            assert (changed[40:60, place].mean() > 0.9) == (who in both(number))
            assert white[:30, place].any() == (who in both(number))  # the number, above the mesh


def test_faces_of_an_earlier_run_go_with_its_results(film: Callable, seeing: Callable, tmp_path: Path) -> None:
    """But nothing of the user's does."""
    clip, out, model = film(both), tmp_path / "out", seeing(both)
    track_faces(clip, out, 2, QUICK, model=model)
    (out / "face0" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="results of an earlier run"):
        track_faces(clip, out, 1, QUICK, model=model)
    track_faces(clip, out, [1], QUICK, model=model, overwrite=True)
    assert [path.name for path in (out / "face0").iterdir()] == ["mine.txt"]
    assert load(out / "face1").settings()["detect"]["face"] == 1
    track_clip(clip, out, QUICK, model=model, overwrite=True)
    assert not (out / "face1").exists() and (out / "face0" / "mine.txt").exists() and load(out).ok.sum() == 45
    track_faces(clip, out, 2, QUICK, model=model, overwrite=True)
    assert not (out / "track.npz").exists() and load(out / "face0").ok.sum() == 45
    (out / "face1" / "curves.csv").write_text("changed")
    with pytest.raises(UserError, match=r"face1: has a file curves.csv that this program did not write"):
        track_clip(clip, out, QUICK, model=model, overwrite=True)
    assert (out / "face1" / "curves.csv").read_text() == "changed"


def test_results_of_another_clip_or_of_nobody_know_are_refused(
    film: Callable, seeing: Callable, tmp_path: Path
) -> None:
    out, model = tmp_path / "out", seeing(both)
    (out / "face1").mkdir(parents=True)
    (out / "face1" / "track.npz").write_text("mine")
    with pytest.raises(UserError, match=r"face1: has a file track.npz that this program did not write"):
        track_faces(film(both), out, "all", QUICK, model=model)
    assert [path.name for path in out.iterdir()] == ["face1"] and model.network.frames == 0
    track_faces(film(both), tmp_path / "first", 2, QUICK, model=model)
    with pytest.raises(UserError, match=r"holds the results of another clip, .*both.mkv"):
        track_faces(film(in_turns), tmp_path / "first", 2, QUICK, model=seeing(in_turns))


@pytest.mark.parametrize(
    "choice, config, words",
    [
        (3, {}, r"--faces 3: the faces of .*both.mkv are 0 \(.*, 1 \(.*; name these, or all"),
        ("none", {}, "--faces takes all"),
        (2, {"decoder": "me.safetensors"}, "--decoder me.safetensors: is of one person"),
        (2, {"person": PersonConfig(calibration="other.mp4")}, "--calibration other.mp4: is of one person"),
    ],
)
def test_what_cannot_be_leaves_nothing(
    choice: Any, config: dict, words: str, film: Callable, seeing: Callable, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        track_faces(film(both), tmp_path / "out", choice, replace(QUICK, **config), model=seeing(both))
    assert caught.value.status == (3 if choice == 3 else 2) and not (tmp_path / "out").exists()


def test_who_is_in_no_frame_found_again_is_left_out(
    film: Callable, fake_model: Callable[..., Model], tmp_path: Path
) -> None:
    model = replace(fake_model(), landmarks=Seer(both, follows=("red",)))
    summary = track_faces(film(both), tmp_path / "out", "all", QUICK, model=model)
    assert list(summary.faces) == [1] and not (tmp_path / "out" / "face0").exists()
    assert summary.notes[-1] == "face 0 was in no frame found again; it was left out"


def test_nobody_is_there(film: Callable, seeing: Callable, tmp_path: Path) -> None:
    def empty(number: int) -> dict[str, float]:
        return {}

    with pytest.raises(NoFaceError, match="no face was found in any of .* frames; nothing was written; take footage, "):
        track_faces(film(empty), tmp_path / "out", "all", QUICK, model=seeing(empty))
    assert not (tmp_path / "out").exists()


def test_models_of_the_faces_are_made_one_after_the_other(film: Callable, seeing: Callable, tmp_path: Path) -> None:
    """The adapter gets each face with the settings of its track, and what it gives is used for that one."""
    base, asked = seeing(both), []
    models = {number: seeing(both) for number in (0, 1)}

    def adapter(number: int, face: Any, config: TrackConfig, model: Model) -> tuple[Model, Any]:
        assert model is base and config.detect.face == number and face.places is not None
        asked.append(number)
        return models[number], lambda track, used, folder: (folder / "adaptation.json").write_text(f"{number}")

    summary = track_faces(film(both), tmp_path / "out", "all", QUICK, model=base, adapter=adapter)
    assert asked == [0, 1] and "adapt" in summary.seconds
    assert base.network.frames == 0  # the crops of the subject, then a frame at a time
    assert models[0].network.frames >= 45 and models[1].network.frames >= 60
    assert [(tmp_path / "out" / f"face{n}" / "adaptation.json").read_text() for n in (0, 1)] == ["0", "1"]
