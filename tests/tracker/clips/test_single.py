"""One face of a clip, on a made-up tracker whose answers are known in closed form."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from selftrack.decoders.head.model import load_head
from selftrack.errors import NoFaceError, UserError
from selftrack.io import file_hash
from selftrack.tracker.clips import run
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.model import Model
from selftrack.tracker.results.confidence import StreamConfidence
from selftrack.tracker.results.overlay import write_overlay
from selftrack.tracker.results.painter import OverlayConfig
from selftrack.tracker.results.track_file import Track, load
from selftrack.tracker.sources.opening import open_source

HEAD = load_head()
QUICK = TrackConfig(overlay=False)
FakeModel = Callable[..., Model]


def truth(number: int) -> np.ndarray:
    """Pose (6,) in the image of the made-up frame `number`."""
    return np.array([5.5 + 0.01 * number, 0.0, 0.0, 0.02 * number, 60.0 + number, 50.0])


def test_what_is_tracked_is_what_was_there(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    summary = track_clip(numbered_clip, tmp_path / "out", QUICK, model=fake_model())
    track = load(tmp_path / "out")
    assert summary.frames == 20 and summary.lost == 0 and summary.notes == () and summary.fps > 0
    assert {"load", "identity", "decode", "detect", "crop", "network", "refine", "write"} == set(summary.seconds)
    np.testing.assert_allclose(track.times, np.arange(20) / 25, atol=1e-9)
    assert track.ok.all() and track.size == (120, 100)
    np.testing.assert_allclose(track.H_image, [truth(i) for i in range(20)], atol=2e-3)
    points = track.landmarks[7]
    head = HEAD.mean[None] + torch.tensordot(torch.full((60,), 0.5), HEAD.shapes[:60], 1)
    head = head + 0.25 * HEAD.shapes[60 + HEAD.expression_names.index("mouthSmileLeft")]
    expected = project(head, torch.from_numpy(truth(7)[None]).float())[0]
    np.testing.assert_allclose(track.vertices()[7], expected, atol=0.02)
    seen = project(HEAD.landmarks478(HEAD.mean[None]), torch.from_numpy(truth(7)[None]).float())[0, :, :2]
    np.testing.assert_allclose(points, seen, atol=1e-3)
    np.testing.assert_array_equal(track.identity, np.full(60, 0.5, np.float32))
    assert track.clip == str(numbered_clip.resolve()) and track.clip_hash == file_hash(numbered_clip)


def test_settings_lie_beside_the_results(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    config = TrackConfig(start=0.2, duration=0.4, overlay=False, person=PersonConfig(samples=3))
    track_clip(numbered_clip, tmp_path / "out", config, model=fake_model())
    track = load(tmp_path / "out")
    np.testing.assert_allclose(track.times, np.arange(5, 15) / 25, atol=1e-9)
    np.testing.assert_allclose(track.H_image[:, 4], 60 + np.arange(5, 15), atol=0.02)
    assert yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["track"] == track.settings()
    assert track.settings()["person"]["samples"] == 3 and track.settings()["crop"]["size"] == 256


def test_lost_frames_hold_the_last_good_values(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    lost = {0, 1, 8, 9, 10, 19}
    summary = track_clip(numbered_clip, tmp_path / "out", QUICK, model=fake_model(lost))
    track = load(tmp_path / "out")
    assert summary.lost == 6
    np.testing.assert_array_equal(np.flatnonzero(~track.ok), sorted(lost))
    held = [2, 2, 2, 3, 4, 5, 6, 7, 7, 7, 7, 11, 12, 13, 14, 15, 16, 17, 18, 18]
    np.testing.assert_allclose(track.H_image[:, 4], [60 + i for i in held], atol=0.02)
    assert (track.confidence[~track.ok] == 0).all() and (track.confidence[track.ok] > 0).all()
    assert (track.presence[~track.ok] == 0).all() and (track.presence[track.ok] > 0.8).all()
    assert np.isnan(track.landmarks[8:11]).all() and np.isfinite(track.landmarks[track.ok]).all()
    rows = [line.split(",") for line in (tmp_path / "out" / "curves.csv").read_text().splitlines()[1:]]
    assert len(rows) == 20 and rows[9][4:62] == rows[7][4:62] and (rows[9][2], rows[7][2]) == ("0", "1")


def test_no_face_anywhere(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    """Nothing is written, and the status is one of its own."""
    model = fake_model(lost=set(range(20)))
    words = "no face was found in any of 20 frames; nothing was written; take footage, .* that shows the face larger"
    with pytest.raises(NoFaceError, match=words) as caught:
        track_clip(numbered_clip, tmp_path / "out", TrackConfig(), model=model)
    assert caught.value.status == 3 and not (tmp_path / "out").exists() and model.network.frames == 0


def test_per_frame_identity(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    model, config = fake_model(), TrackConfig(identity="per-frame", overlay=False)
    track_clip(numbered_clip, tmp_path / "out", config, model=model)
    assert model.network.heads.pooled == []
    assert (load(tmp_path / "out").z[:, HEAD.identity] == -0.5).all()


def test_identity_of_a_face_that_the_sample_missed(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    model = fake_model(lost=set(range(20)) - {12, 14})
    track_clip(numbered_clip, tmp_path / "out", TrackConfig(overlay=False, person=PersonConfig(samples=1)), model=model)
    assert model.network.heads.pooled == []
    assert (load(tmp_path / "out").z[:, HEAD.identity] == 0.5).all()


def test_exports_of_an_earlier_track_are_named(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    """They stay, but they are not of this track; what is exported again, and the user's, are no such files."""
    out, config = tmp_path / "out", TrackConfig(overlay=False)
    first = track_clip(numbered_clip, out, config, model=fake_model(), exports=["csv", "livelink"])
    (out / "notes.txt").write_text("mine")
    again = track_clip(numbered_clip, out, config, model=fake_model(), exports=["csv"], overwrite=True)
    assert not any("earlier track" in note for note in first.notes)
    (note,) = [note for note in again.notes if "earlier track" in note]
    assert note == f"{numbered_clip.stem}_livelink.csv: of an earlier track; export again, or delete them"


def test_results_are_refused_or_replaced(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    track_clip(numbered_clip, out, TrackConfig(duration=0.2), model=fake_model())
    pictures = {"overlay.mp4", "contact_sheet.png"}
    names = {"track.npz", "curves.csv", "config.yaml", "notes.txt", ".selftrack"} | pictures
    assert {p.name for p in out.iterdir()} == names
    with pytest.raises(ValueError, match="--overwrite"):
        track_clip(numbered_clip, out, QUICK, model=fake_model())
    assert len(load(out)) == 5
    track_clip(numbered_clip, out, QUICK, overwrite=True, model=fake_model())
    assert len(load(out)) == 20
    assert {p.name for p in out.iterdir()} == names - pictures  # they would be of the earlier run


@pytest.mark.parametrize("existing", [False, True])
def test_an_error_leaves_nothing_behind(
    numbered_clip: Path, tmp_path: Path, fake_model: FakeModel, existing: bool
) -> None:
    folder = tmp_path / "deep" / "out"
    if existing:
        folder.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    model = fake_model()
    model.network.frames = None  # breaks at the first frame
    with pytest.raises(TypeError):
        track_clip(numbered_clip, folder, QUICK, model=model)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unwritable_folder_is_said_before_tracking(
    numbered_clip: Path, tmp_path: Path, fake_model: FakeModel
) -> None:
    (tmp_path / "file").write_text("in the way")
    model = fake_model()
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(ValueError, match="cannot write there|is not a folder"):
            track_clip(numbered_clip, folder, QUICK, model=model)
    assert model.network.frames == 0


def test_overlay_has_the_clips_times_and_both_pictures(
    numbered_clip: Path, tmp_path: Path, fake_model: FakeModel
) -> None:
    track_clip(numbered_clip, tmp_path / "out", model=fake_model(lost={5}))
    with open_source(tmp_path / "out" / "overlay.mp4") as reader:
        frames = list(reader)
    np.testing.assert_allclose([f.time for f in frames], np.arange(20) / 25, atol=1e-6)
    vertices = load(tmp_path / "out").vertices()
    for frame in frames:
        left, right = frame.image[:, :120].astype(int), frame.image[:, 120:].astype(int)
        np.testing.assert_allclose(left, 5 * frame.index + 5, atol=8)
        if frame.index == 5:
            np.testing.assert_allclose(right, 30, atol=8)
        else:
            nose = vertices[frame.index, HEAD.landmarks478.triangles[1, 0]].round().astype(int)
            assert right[nose[1], nose[0]].mean() > 90  # the lit mesh
            np.testing.assert_allclose(right[-5:, :20], 5 * frame.index + 5, atol=8)  # beside it


def test_overlay_of_a_large_frame_is_shrunk(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = make_clip("tall.mkv", [np.zeros((90, 61, 3), np.uint8)] * 2, codec="ffv1", pix_fmt="bgr0")
    pose = np.tile(np.array([5.2, 0, 0, 0, 30, 45], np.float32), (2, 1))
    track = Track(
        *(np.arange(2) / 25, np.ones(2, bool), *np.ones((3, 2)), np.zeros((2, 128), np.float32), pose),
        *(np.zeros((2, 2, 3)), pose, np.zeros((2, 478, 2)), HEAD.curve_names, np.zeros((2, 52)), np.zeros(60), 0.0),
        *((61, 90), str(clip), file_hash(clip)),
        *(HEAD.name, HEAD.hash, "", '{"start": 0.0, "duration": null}'),
    )
    write_overlay(track, tmp_path, OverlayConfig(max_height=45))
    with open_source(tmp_path / "overlay.mp4") as reader:
        image = next(iter(reader)).image
    assert image.shape == (46, 60, 3)
    mesh = np.argwhere(image[:45, 30:].sum(axis=-1) > 150)
    np.testing.assert_allclose(mesh.mean(axis=0), [22, 15], atol=4)


def test_a_truncated_clip_is_tracked_as_far_as_it_goes(
    make_clip: Callable[..., Path], tmp_path: Path, fake_model: FakeModel
) -> None:
    rng = np.random.default_rng(0)
    clip = make_clip("cut.mp4", [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(40)], g="5")
    raw = clip.read_bytes()
    clip.write_bytes(raw[: len(raw) * 2 // 3])
    summary = track_clip(clip, tmp_path / "out", model=fake_model(lost=set(range(24)) | set(range(25, 50))))
    assert 10 < summary.frames < 40 and "cut.mp4" in summary.notes[0]
    assert load(tmp_path / "out").notes == summary.notes  # also those of the end of the clip
    with open_source(tmp_path / "out" / "overlay.mp4") as reader:
        assert len(list(reader)) == summary.frames


def test_what_is_to_be_trusted_is_said(
    numbered_clip: Path, tmp_path: Path, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share of frames with a confidence of 0.5 or more; a note where that is less than half of them."""
    of_frame = StreamConfidence.__call__
    monkeypatch.setattr(StreamConfidence, "__call__", lambda *frame: 0.9 if of_frame(*frame) else 0.0)
    lost = set(range(5, 20))
    summary = track_clip(numbered_clip, tmp_path / "a", QUICK, model=fake_model())
    assert "frames   20, lost 0, 100 % to be trusted (confidence >= 0.5)" in str(summary) and summary.notes == ()
    summary = track_clip(numbered_clip, tmp_path / "b", QUICK, model=fake_model(lost))
    assert summary.trusted == 0.25 and "only 25 % of the frames are to be trusted" in summary.notes[-1]
    assert load(tmp_path / "b").notes == summary.notes and "note     only 25 %" in str(summary)
    assert "speed" in str(summary) and "adaptation" not in str(summary)
    assert "all other files, after 61 s of adaptation" in str(replace(summary, adaptation=61.2))


@pytest.mark.parametrize("name", ["numbered.mov", "other.mp4"])
def test_results_of_another_clip_are_named(
    numbered_clip: Path, tmp_path: Path, fake_model: FakeModel, name: str
) -> None:
    """Which the default folder of a clip of the same name may hold; those of the same clip are an earlier run's."""
    other, out = shutil.copy(numbered_clip, tmp_path / name), tmp_path / "out"
    track_clip(numbered_clip, out, QUICK, model=fake_model())
    with pytest.raises(UserError, match=rf"holds the results of another clip, .*{numbered_clip.name}; name .* with -o"):
        track_clip(other, out, QUICK, model=fake_model())
    with pytest.raises(UserError, match="results of an earlier run; replace them with --overwrite"):
        track_clip(numbered_clip, out, QUICK, model=fake_model())
    track_clip(other, out, QUICK, model=fake_model(), overwrite=True)
    assert load(out).clip == str(Path(other).resolve())


def test_bad_settings_and_clips(tmp_path: Path, numbered_clip: Path, fake_model: FakeModel) -> None:
    with pytest.raises(ValueError, match="identity must be one of clip, per-frame; got 'both'"):
        TrackConfig(identity="both")
    with pytest.raises(ValueError, match="landmarks must be one of"):
        load_model(TrackConfig(landmarks="dlib"))
    with pytest.raises(ValueError, match="device must be cpu, cuda or auto"):
        load_model(TrackConfig(device="tpu"))
    with pytest.raises(UserError, match="the clip runs from 0.00 to 0.80 s"):
        track_clip(numbered_clip, tmp_path / "out", TrackConfig(start=5), model=fake_model())
    assert not (tmp_path / "out").exists()


def test_progress_counts_up_to_the_total(numbered_clip: Path, tmp_path: Path, fake_model: FakeModel) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    track_clip(
        numbered_clip,
        tmp_path / "out",
        progress=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)),
        model=fake_model(),
    )
    assert list(seen) == ["finding faces", "tracking", "drawing the overlay"]
    for steps in seen.values():
        assert steps == [(i + 1, len(steps)) for i in range(len(steps))]
    assert len(seen["tracking"]) == len(seen["drawing the overlay"]) == 20


def test_the_speed_that_is_told_has_the_overlay_in_it(
    numbered_clip: Path, tmp_path: Path, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten made-up seconds go by while the overlay is drawn, and none elsewhere."""
    now = [0.0]
    monkeypatch.setattr(run.time, "perf_counter", lambda: now[0])
    write, save = run.overlay.write_overlay, Track.save

    def slowly(function: Callable, seconds: float) -> Callable:
        def called(*arguments: object) -> object:
            now[0] += seconds
            return function(*arguments)

        return called

    monkeypatch.setattr(run.overlay, "write_overlay", slowly(write, 8.0))
    monkeypatch.setattr(Track, "save", slowly(save, 2.0))
    with_it = track_clip(numbered_clip, tmp_path / "a", model=fake_model())
    assert "speed    10.0 frames/s from clip to track.npz, 2.0 with the overlay and all other files" in str(with_it)
    without = track_clip(numbered_clip, tmp_path / "b", QUICK, model=fake_model())
    assert "speed    10.0 frames/s from clip to track.npz, 10.0 with all other files" in str(without)


def test_exports_name_the_clip_from_where_they_will_lie(
    numbered_clip: Path, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Whether or not the folder is there before, in which the results are then made."""
    out = tmp_path / "new" / "out"
    for _ in range(2):
        track_clip(numbered_clip, out, TrackConfig(), model=fake_model(), overwrite=True, exports=["blender"])
        (script,) = out.glob("*_blender.py")
        (name,) = re.findall(r'"clip": "([^"]*)"', script.read_text())
        assert (out / name).resolve() == numbered_clip.resolve() and not Path(name).is_absolute()


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_disk_that_is_full_at_any_write_is_one_line(
    numbered_clip: Path, tmp_path: Path, fake_model: FakeModel
) -> None:
    """No file may be longer than so many bytes: another write fails for each, those of FFmpeg too."""
    import resource

    place, before = tmp_path / "place", resource.getrlimit(resource.RLIMIT_FSIZE)
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    failed = []
    for limit in (0, 10, 500, 3_000, 5_000, 9_000, 13_000, 10**9):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            track_clip(numbered_clip, place / "out", TrackConfig(), model=fake_model(), exports=["csv", "glb"])
        except UserError as error:
            failed.append(str(error))
            assert "File too large" in str(error) and "\n" not in str(error)
            assert [path.name for path in place.iterdir()] == ["mine.txt"]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(failed) >= 5 and (place / "out" / "overlay.mp4").exists()


def test_a_face_that_comes_late_leaves_early_and_is_often_lost(
    make_clip: Callable[..., Path], tmp_path: Path, fake_model: FakeModel
) -> None:
    """Of 40 frames the first 8 and the last 8 show none, and so does every fourth of those between."""
    clip = make_clip("late.mp4", [np.full((100, 120, 3), 5 * i + 5, np.uint8) for i in range(40)], crf="1")
    lost = {*range(8), *range(8, 32, 4), *range(32, 40)}
    summary = track_clip(clip, tmp_path / "out", QUICK, model=fake_model(lost))
    track = load(tmp_path / "out")
    assert (summary.frames, summary.lost) == (40, 22)
    np.testing.assert_array_equal(np.flatnonzero(~track.ok), sorted(lost))
    for row in range(40):  # before the first face its values, after the last one those
        good = max((r for r in range(row + 1) if r not in lost), default=9)
        np.testing.assert_allclose(track.H_image[row], truth(good), atol=2e-3)
    assert (track.confidence[sorted(lost)] == 0).all() and np.isnan(track.landmarks[sorted(lost)]).all()
    assert not np.isnan(track.landmarks[track.ok]).any()
    assert len(track.notes) == 1 and "in 22 of 40 no face was found" in track.notes[0]
