"""What a report says of its figures: in words, in pixels of the clip, and of the weakest region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from selftrack.eval.metrics import METRICS, TrackedClip
from selftrack.eval.metrics.landmarks import projected_landmarks
from selftrack.eval.report.judgement import PLAIN, Weakest, in_words, table, weakest
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.results.regions import PARTS, points_of
from selftrack.tracker.results.track_file import Track


def clip_of(make_track: Callable[..., Track], off: dict[str, float], hidden: str = "") -> TrackedClip:
    """Ten frames in which points of regions are so many % IOD from the mesh, twice as far in frame 7, and one part is
    hidden."""
    track = make_track(np.arange(10) / 25, f=np.log(900))
    landmarks = projected_landmarks(track).copy()
    step = inter_ocular(landmarks)[:, None, None] / 100 * np.where(np.arange(10) == 7, 2, 1)[:, None, None]
    for region, percent in off.items():
        landmarks[:, points_of(region)] += percent * step * np.array([0.6, 0.8])
    visible = np.ones((10, len(PARTS)), np.float32)
    if hidden:
        visible[:, PARTS.index(hidden)] = 0.1
    return TrackedClip.of(replace(track, landmarks=landmarks, visible=visible), [])


def test_the_weakest_region_is_the_one_that_is_farthest_off_on_its_scale(make_track: Callable[..., Track]) -> None:
    found = weakest(clip_of(make_track, {"brows": 1.5, "mouth": 1.2}))
    assert found is not None
    assert (found.region, found.row, found.second) == ("brows", 7, pytest.approx(0.28))
    assert found.distance == pytest.approx(1.5 * 1.1, rel=1e-2) and found.worst == pytest.approx(3.0, rel=1e-2)
    found = weakest(clip_of(make_track, {"brows": 0.65, "mouth": 1.5}))  # usual, and excellent of the mouth's own scale
    assert found is not None and found.region == "brows"
    found = weakest(clip_of(make_track, {"brows": 0.2, "mouth": 2.0}))
    assert found is not None and found.region == "mouth"


def test_a_region_that_is_hidden_is_weakest_however_near_it_is(make_track: Callable[..., Track]) -> None:
    found = weakest(clip_of(make_track, {"brows": 0.5}, hidden="mouth"))
    assert found is not None and found.region == "mouth" and found.trust < 0.5
    assert f"trusted to {found.trust:.2f} only" in in_words(found, 150)


def test_without_a_face_none_is_weakest(make_track: Callable[..., Track]) -> None:
    track = make_track(np.arange(3) / 25, lost=[0, 1, 2])
    landmarks = np.full((3, 478, 2), np.nan)
    assert weakest(TrackedClip.of(replace(track, landmarks=landmarks), [])) is None


def test_a_sentence_has_words_and_pixels() -> None:
    said = in_words(Weakest("brows", 1.64, 3.19, 149, 4.97, 1.0), 156)
    assert said == (
        "Weakest are the brows: 1.64 % IOD (2.6 pixels) from where the detector sees them, which is poor; "
        "3.19 % IOD (5.0 pixels) at 4.97 s (frame 149)."
    )
    assert in_words(Weakest("mouth", 0.5, 0.9, 3, 0.1, 1.0), 100).startswith("Weakest is the mouth: 0.50 % IOD (0.5")


def test_the_table_says_how_good_each_figure_is() -> None:
    figures = {"skin.mean": 0.76, "landmarks.mouth": 2.0, "stability.screen.ratio": 1.02, "landmarks.eyes": np.nan}
    skin, mouth, stability, last = (line.split() for line in table(figures, 200))
    assert skin[1:] == "error 0.76 % IOD 1.5 pixels usual (excellent to 0.5, usual to 1)".split()
    assert mouth[:9] == "Landmark distance, mouth 2.00 % IOD 4.0 pixels poor".split()
    assert stability[:9] == "Stability in the image 1.02 1 is perfect excellent".split()
    assert "is 2.0 pixels here" in " ".join(last)
    assert all(METRICS[name].scale for name in PLAIN)
    assert table({}, np.nan) == []
