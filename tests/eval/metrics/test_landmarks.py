"""The figures of agreement against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from selftrack.decoders.landmarks import INNER_LIP_CONTOUR
from selftrack.eval.metrics import TrackedClip, measure
from selftrack.eval.metrics.landmarks import (
    FEATURES,
    correlation,
    distances,
    eye_aspect_ratio,
    landmark_distance,
    lip_gap,
    nose_to_chin,
    openings,
    partial_correlation,
    projected_landmarks,
)
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.mapped import pieces
from selftrack.tracker.results.regions import points_of
from selftrack.tracker.results.track_file import Track


def points(frames: int = 3) -> np.ndarray:
    p = np.random.default_rng(0).uniform(0, 100, (frames, 478, 2))
    p[:, 33], p[:, 263] = [0, 0], [30, 40]  # 50 pixels apart
    return p


def test_landmark_distance_of_a_known_shift() -> None:
    seen = points()
    assert landmark_distance(seen + [0.3, 0.4], seen) == pytest.approx(1.0)  # half a pixel of fifty
    seen[1] = np.nan
    assert np.isnan(landmark_distance(seen + 1, seen)).tolist() == [False, True, False]


def test_iris_points_do_not_count() -> None:
    a, b = points(), points()
    b[:, 468:] += 100
    assert landmark_distance(a, b) == pytest.approx(0)


def test_eye_aspect_ratio_of_drawn_eyes() -> None:
    p = points(1)
    for corners in ((33, 160, 158, 133, 153, 144), (263, 387, 385, 362, 380, 373)):
        p[0, list(corners)] = [[0, 0], [10, -4], [20, -2], [30, 0], [20, 2], [10, 4]]  # openings 8 and 4, width 30
    assert eye_aspect_ratio(p) == pytest.approx((8 + 4) / 60)


def test_gaps_over_the_iod() -> None:
    p = points(1)
    p[0, 13], p[0, 14], p[0, 1], p[0, 152] = [7, 7], [7, 12], [0, 0], [0, 25]
    assert lip_gap(p) == pytest.approx(0.1) and nose_to_chin(p) == pytest.approx(0.5)


def test_correlation() -> None:
    a = np.array([1.0, 2.0, 3.0, np.nan, 7.0])
    b = np.array([2.0, 1.0, 5.0, 9.0, np.nan])
    assert correlation(a, b) == pytest.approx(np.corrcoef(a[:3], b[:3])[0, 1])
    assert correlation(a, -2 * a + 1) == pytest.approx(-1)
    assert np.isnan(correlation(a, np.ones(5)))


def test_partial_correlation() -> None:
    """The textbook formula from the three pairwise correlations; a common cause leaves nothing."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=500)
    a, b = given + 0.5 * rng.normal(size=500), -2 * given + rng.normal(size=500)
    ab, ag, bg = correlation(a, b), correlation(a, given), correlation(b, given)
    expected = (ab - ag * bg) / np.sqrt((1 - ag**2) * (1 - bg**2))
    assert partial_correlation(a, b, given) == pytest.approx(expected)
    assert abs(partial_correlation(a, b, given)) < 0.1 < abs(ab)


@pytest.mark.parametrize("count", [478, 68])
def test_tracks_of_either_detector_are_measured(make_track: Callable[..., Track], count: int) -> None:
    """Points half a pixel of fifty away from the mesh, in the frames with a face."""
    track = make_track(np.arange(4) / 30, lost=[2], f=np.log(900))
    mesh = projected_landmarks(track, count)
    landmarks = mesh + 0.005 * inter_ocular(mesh)[:, None, None] * [0.6, 0.8]
    landmarks[2] = np.nan
    values = measure(TrackedClip.of(replace(track, landmarks=landmarks), []))
    assert values["landmarks.mean"] == pytest.approx(0.5, rel=1e-3) == values["landmarks.worst"]
    assert values["lost"] == 1


@pytest.mark.parametrize("count", [478, 68])
@pytest.mark.parametrize("region", ["brows", "mouth"])
def test_each_region_has_a_figure_of_its_own(make_track: Callable[..., Track], region: str, count: int) -> None:
    """Points of one region are a fiftieth of the IOD off, in half of the frames; those of the others nowhere."""
    track = make_track(np.arange(4) / 30, f=np.log(900))
    landmarks = projected_landmarks(track, count).copy()
    rows = points_of(region, count)
    inner = INNER_LIP_CONTOUR if region == "mouth" and count == 478 else ()
    off = 0.02 * inter_ocular(landmarks)[:2, None, None] * np.array([0.6, 0.8])
    landmarks[:2, [*rows, *inner]] += off
    values = measure(TrackedClip.of(replace(track, landmarks=landmarks), []))
    expected = {name: 1.0 if name == region else 0.0 for name in FEATURES}
    assert {name: values[f"landmarks.{name}"] for name in FEATURES} == pytest.approx(expected, abs=1e-3)


def test_a_clip_is_measured_in_pieces(make_track: Callable[..., Track], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame's error and openings are its own, wherever pieces end."""
    track = make_track(np.arange(7) / 30, {"jawOpen": np.linspace(0, 1, 7)}, lost=[2, 4], f=np.log(900))
    mesh = projected_landmarks(track)
    error = 0.01 * np.arange(1, 8)
    landmarks = mesh + error[:, None, None] * inter_ocular(mesh)[:, None, None] * [0.6, 0.8]
    landmarks[~track.ok] = np.nan
    for module in ("landmarks", "subject"):
        monkeypatch.setattr(f"selftrack.eval.metrics.{module}.pieces", partial(pieces, rows=3))
    clip = TrackedClip.of(replace(track, landmarks=landmarks), [])
    found = openings(clip)
    assert found is not None
    for values, expected in (
        (distances(clip), 100 * error),
        (found.mesh_lips, lip_gap(mesh)),
        (found.lips, lip_gap(mesh)),  # a shift opens nothing
        (found.jaw, nose_to_chin(mesh)),
        (found.eyes, eye_aspect_ratio(mesh)),
    ):
        np.testing.assert_allclose(values, np.where(track.ok, expected, np.nan), rtol=1e-3)
    assert clip.iod == pytest.approx(np.median(inter_ocular(mesh)[track.ok]), rel=1e-5)
    np.testing.assert_array_equal(projected_landmarks(track, rows=slice(2, 5)), mesh[2:5])
