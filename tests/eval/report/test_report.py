"""The report of a real track: its figures, its verdict, and the page in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.errors import UserError
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.metrics import METRICS, TrackedClip, measure
from selftrack.eval.metrics.landmarks import by_region, projected_landmarks
from selftrack.eval.metrics.skin import frame_errors
from selftrack.eval.report.judgement import Weakest
from selftrack.eval.report.pictures import _Sheet, worst_frames
from selftrack.eval.report.report import _settings as settings_of
from selftrack.eval.report.report import verdict, write_report
from selftrack.io import flat
from selftrack.tracker import load
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.network.weights import WEIGHTS, ClipFit, load_network, save_adapted
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.results.painter import Crop
from selftrack.tracker.results.track_file import Track

ADAPTATION = {
    "kept": True,
    "before": {"skin": 0.8, "texture": 0.01, "landmarks": 2.0},
    "after": {"skin": 0.6, "texture": 0.004, "landmarks": 1.5},
    "history": [
        {"step": 0, "skin": 0.8, "texture": 0.01, "landmarks": None},
        {"step": 50, "skin": 0.6, "texture": 0.004, "landmarks": 1.5, "cftc": 0.2},
    ],
    "settings": {"steps": 50, "seed": 0},
}


@pytest.fixture
def folder(plain_folder: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(plain_folder, tmp_path / "track"))


def pretend(folder: Path, **changes: object) -> None:
    """As if `--adapt` had written this folder; its weights are the bundled ones."""
    (folder / "adaptation.json").write_text(json.dumps(ADAPTATION | changes))
    network = load_network()
    fit = ClipFit("ab", 0, Subject(torch.zeros(112), torch.zeros(60), 0.0))
    save_adapted(folder / "adapted.safetensors", network.heads, WEIGHTS, fit, network.config)


def shake(track: Track, pixels: float) -> Track:
    """The track with a noise in its place."""
    pose = track.H_image.copy()
    pose[:, 4:] += pixels * np.random.default_rng(0).normal(size=(len(track), 2))
    return replace(track, H_image=pose.astype(np.float32))


def read(folder: Path) -> tuple[dict, str]:
    return json.loads((folder / "report.json").read_text()), (folder / "report.html").read_text()


def test_of_a_plain_track(folder: Path) -> None:
    said = write_report(folder).verdict
    figures, page = read(folder)
    assert "not adapted" in said and figures["verdict"] == said and said.split("'")[0] in page
    assert "before" not in figures and figures["held_out"] is None and figures["frames"] == 40
    track = load(folder)
    values = measure(TrackedClip.of(track, skin_windows(track)))
    assert figures["after"]["skin"]["mean"] == pytest.approx(values["skin.mean"])
    assert figures["words"]["skin.mean"] == METRICS["skin.mean"].word(values["skin.mean"]) and "how good" in page
    region = figures["weakest"]["region"]
    assert figures["weakest"]["distance"] == pytest.approx(values[f"landmarks.{region}"]) and f"the {region}:" in said
    for part in ("screen", "local"):
        assert figures["after"]["stability"][part]["ratio"] == pytest.approx(values[f"stability.{part}.ratio"])
    assert len(page) < 5e6 and page.count("data:image/jpeg") >= 3 * 2 + 6 + 1
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "@import" not in page and "url(http" not in page


def test_of_an_adapted_track_the_clip_is_tracked_again(folder: Path, plain_folder: Path) -> None:
    track = load(folder)
    shake(track, 1.0).save(folder)
    pretend(folder)
    said = write_report(folder).verdict
    figures, page = read(folder)
    assert said.startswith("Adaptation helped") and "(0.80 to 0.60 % IOD)" in said
    assert "these got worse: skin-point error" in said and "stability in the image" in said
    values = measure(TrackedClip.of(track, skin_windows(track)))
    assert figures["before"]["skin"]["mean"] == pytest.approx(values["skin.mean"], rel=0.02)
    assert figures["after"]["skin"]["mean"] > 1.1 * figures["before"]["skin"]["mean"]
    assert figures["after"]["stability"]["screen"]["ratio"] > figures["before"]["stability"]["screen"]["ratio"]
    assert figures["held_out"]["after"]["skin"] == 0.6 and figures["settings"]["steps"] == 50
    for words in ("held-out skin", "loss cftc", "2.55", "1.02", "a little kind"):  # 0.01 and 0.004 of 255
        assert words in page, words
    write_report(folder, before=plain_folder)
    assert read(folder)[0]["before"]["skin"]["mean"] == pytest.approx(values["skin.mean"])


def test_of_an_adaptation_that_was_not_kept(folder: Path) -> None:
    worse = ADAPTATION["before"] | {"texture": 0.012, "skin": None}
    pretend(folder, kept=False, after=worse)
    said = write_report(folder).verdict
    assert said.startswith("Adaptation did not help") and "texture did not fall (2.55 to 3.06 grey levels)" in said
    assert "skin-point" not in said and "before" not in read(folder)[0]


def test_a_track_that_cannot_be_used_is_not_praised(folder: Path) -> None:
    """Whatever an adaptation says of it; half of the frames with a confidence of 0.5 are enough."""
    track = load(folder)
    pretend(folder)

    def trusted_in(share: float) -> Track:
        low = np.where(np.arange(len(track)) < share * len(track), 0.5, 0.1).astype(np.float32)
        return replace(track, confidence=low, notes=("clip: is <dark>; tracked all the same; light it",))

    trusted_in(0.4).save(folder)
    said = write_report(folder, before=folder).verdict
    figures, page = read(folder)
    assert said.startswith("Do not use this track as it is: only 40 % of its frames")
    assert figures["trusted"] == pytest.approx(0.4) and figures["notes"] == list(load(folder).notes)
    assert "clip: is &lt;dark&gt;; tracked" in page and "<b>40 %</b> to be trusted" in page
    values = {name: flat(figures[name]) for name in ("before", "after")}
    assert verdict(trusted_in(0.5), values, ADAPTATION).startswith("Adaptation helped")


def test_hidden_regions_and_other_faces_are_shown(folder: Path) -> None:
    """The mouth is hidden in a third of the frames."""
    track = load(folder)
    visible = track.visible.copy()
    visible[: len(track) // 3, 4] = 0.1
    replace(track, visible=visible, notes=("mouth hidden",)).save(folder)
    cv2.imwrite(str(folder / "faces.png"), np.full((40, 60, 3), 200, np.uint8))
    write_report(folder)
    regions = json.loads((folder / "report.json").read_text())["regions"]
    assert regions["mouth"]["held"] == pytest.approx((len(track) // 3) / len(track)) and regions["eyes"]["held"] == 0
    assert regions["mouth"]["confidence"] < regions["eyes"]["confidence"] and regions["pose"]["held"] is None
    page = (folder / "report.html").read_text()
    assert "Who is in the clip" in page and "data:image/jpeg" in page and "Trust by region" in page


def test_marked_points_get_a_row(folder: Path, tmp_path: Path) -> None:
    track = load(folder)
    nose = projected_landmarks(track)[[0, 30], 4] + [[0, 0], [3, 4]]  # five pixels from where the mesh has it
    rows = [f"{frame},nose,{x:.3f},{y:.3f}" for frame, (x, y) in zip((0, 30), nose, strict=True)]
    (tmp_path / "marks.csv").write_text("\n".join(["frame,name,x,y", *rows]) + "\n")
    write_report(folder, points=tmp_path / "marks.csv")
    figures, page = read(folder)
    assert figures["after"]["annotated"]["marks"] == 1
    assert figures["after"]["annotated"]["pixels"] == pytest.approx(5, abs=0.5)  # pins are to whole pixels
    assert "Distance from your marks" in page


@pytest.mark.parametrize("name", ["report.html", "report.json"])
def test_a_report_of_the_users_own_stays(folder: Path, name: str) -> None:
    (folder / name).write_text("mine")
    with pytest.raises(UserError, match=f"has a file {name} that this program did not write"):
        write_report(folder)
    assert (folder / name).read_text() == "mine"
    assert {"report.html", "report.json"} & {path.name for path in folder.iterdir()} == {name}


@pytest.mark.parametrize("text", ["no json", "[]", '{"kept": true}'])
def test_a_broken_adaptation_is_refused(folder: Path, text: str) -> None:
    (folder / "adaptation.json").write_text(text)
    with pytest.raises(ValueError, match="adaptation.json: .*adapt again"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_changed_clip_and_missing_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    pretend(folder)
    (folder / "adapted.safetensors").unlink()
    with pytest.raises(ValueError, match="--before"):
        write_report(folder)
    track = load(folder)
    replace(track, clip_hash="another").save(folder)
    (folder / "adaptation.json").unlink()
    with pytest.raises(ValueError, match="not the clip that was tracked"):
        write_report(folder)
    with pytest.raises(ValueError, match="no such file"):
        write_report(tmp_path / "nowhere")


def test_opens_in_a_browser(folder: Path, browse: Callable) -> None:
    pretend(folder)
    said = write_report(folder, before=folder).verdict
    dom, console = browse(folder / "report.html")
    assert console == [] and said.split(" (")[0] in dom
    for name in ("figures", "time", "confidence", "worst", "texture", "curves", "adaptation"):
        assert f'id="{name}"' in dom, name


def test_the_browser_would_tell(tmp_path: Path, browse: Callable) -> None:
    (tmp_path / "bad.html").write_text("<script>missing()</script>")
    assert len(browse(tmp_path / "bad.html")[1]) == 1


def test_the_worst_frames_are_apart() -> None:
    skin, landmarks = np.ones(100), np.full(100, 2.0)
    skin[[33, 34, 71]], landmarks[[36, 3, 4, 90]] = (9, 8, 5), (30, 7, 8, 6)
    skin[:5] = np.nan
    found = worst_frames(skin, landmarks)
    assert [(bad.row, bad.error, bad.by_skin) for bad in found] == [
        (33, 9.0, True), (71, 5.0, True), (4, 8.0, False), (90, 6.0, False),
    ]  # fmt: skip


def test_the_frames_that_the_words_name_are_shown(folder: Path) -> None:
    """The weakest region's worst frame and that of the skin points, by independent looks for both."""
    said = write_report(folder).verdict
    figures, page = read(folder)
    track = load(folder)
    clip = TrackedClip.of(track, skin_windows(track))
    distances, by_skin = by_region(clip)[figures["weakest"]["region"]], frame_errors(clip)
    named = {int(row) for row in re.findall(r"frame (\d+)", f"{said} {figures['caveats']}")}
    assert named == {int(np.nanargmax(distances)), int(np.nanargmax(by_skin))}
    assert named <= {bad["frame"] for bad in figures["worst_frames"]}
    assert all(f'alt="frame {row}"' in page for row in named)


def test_the_frame_of_the_weakest_region_is_shown_however_near_to_another() -> None:
    skin, landmarks = np.ones(100), np.zeros(100)
    skin[[33, 71]] = 9, 5
    for row, rows in ((34, [33, 34, 71]), (33, [33, 71])):
        found = worst_frames(skin, landmarks, Weakest("mouth", 1.0, 4.0, row, row / 30, 0.9))
        assert [bad.row for bad in found] == rows
    assert [(bad.row, bad.error, bad.by_skin) for bad in found[:1]] == [(33, 9.0, True)]


def test_nothing_is_worst_without_a_face() -> None:
    assert worst_frames(np.full(9, np.nan), np.full(9, np.nan)) == []


def test_swimming_shows_in_the_row_over_time(plain_folder: Path) -> None:
    track = load(plain_folder)
    sheet, vertices = _Sheet(track.model(), 256), track.vertices(slice(0, 1))
    ramp = np.broadcast_to(np.arange(track.size[0]) % 256, track.size[::-1]).astype(np.uint8)
    image = np.repeat(ramp[..., None], 3, 2)
    first = sheet.line(image, vertices).astype(int)
    np.testing.assert_array_equal(sheet.line(image, vertices), first)
    moved = sheet.line(image, vertices + np.float32([5, 0, 0])).astype(int)
    seen = (first < 240).all(1) & (moved < 240).all(1) & (first > 5).all(1)
    assert seen.sum() > 20 and np.median(moved[seen] - first[seen]) == 5


def test_a_crop_maps_pixels_where_it_shows_them() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[88, 141] = 255
    crop = Crop(np.array([[100.0, 50], [180, 130]]), image, 3 * 115)
    y, x = np.unravel_index(crop.picture[..., 0].astype(int).argmax(), crop.picture.shape[:2])
    np.testing.assert_allclose(crop.points(np.array([141.0, 88])), [x, y], atol=1)
    assert Crop(np.array([[100.0, 50], [180, 130]]), image).scale == pytest.approx(1, abs=0.01)


def test_settings_of_an_earlier_version_are_read(folder: Path) -> None:
    """Version 4 had `samples` beside the others, not in a group."""
    track = load(folder)
    settings = track.settings()
    del settings["person"]
    old = replace(track, config=json.dumps(settings | {"samples": 7}))
    assert settings_of(old).person == PersonConfig(samples=7)
