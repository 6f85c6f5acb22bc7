"""The confidence of frames: what its signals measure, and that it looks neither ahead nor past what it learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.mapped import pieces
from selftrack.tracker.results.confidence import (
    REACH,
    SHIFT,
    SIGNALS,
    ConfidenceModel,
    StreamConfidence,
    clip_shift,
    confidence,
    likeliest_shift,
    load_confidence,
    sharpness,
    signals,
    track_signals,
)
from selftrack.tracker.results.skin_points import Window
from selftrack.tracker.results.track_file import Track

T = 20
POINTS = np.random.default_rng(0).uniform(100, 300, (478, 2))
IOD = float(inter_ocular(POINTS))


def made_up(
    mesh: np.ndarray,
    detected: np.ndarray | None = None,
    ok: np.ndarray | None = None,
    pose: np.ndarray | None = None,
    rate: float = 30.0,
) -> dict[str, np.ndarray]:
    """The signals by name of meshes (T,478,2) at so many frames/s, against still points."""
    count = len(mesh)
    detected = np.broadcast_to(POINTS, (count, 478, 2)) if detected is None else detected
    pose = np.zeros((count, 6)) if pose is None else pose
    ok = np.ones(count, bool) if ok is None else ok
    times, curves = np.arange(count) / rate, np.zeros((count, 52))
    values = signals(times, np.full(count, 0.9), np.full(count, 0.01), detected, mesh, pose, curves, ok)
    return dict(zip(SIGNALS, values.T, strict=True))


def test_distances_and_motion_are_in_percent_of_the_iod() -> None:
    step = np.array([0.03, 0.04]) * IOD  # 5 % a frame
    mesh = POINTS + step * np.arange(T)[:, None, None]
    got = made_up(mesh, detected=mesh - [0.02 * IOD, 0])
    assert got["residual"] == pytest.approx(np.log(2 + 0.1))
    assert np.isnan(got["speed"][0]) and got["speed"][1:] == pytest.approx(np.log(5 + 0.05))
    assert got["travel"][3] == pytest.approx(np.log(15 + 0.05))
    assert got["travel"][7:] == pytest.approx(np.log(5 * 7 + 0.05))  # 7/30 s
    assert got["jitter"][2:] == pytest.approx(np.log(0.02), abs=1e-6)  # even motion has none
    assert got["wander"][1:] == pytest.approx(np.log(0.05), abs=1e-6)  # mesh and points go together
    assert got["presence"] == pytest.approx(np.log(9))


def test_a_shaking_mesh_jitters_and_wanders() -> None:
    mesh = POINTS + 0.01 * IOD * np.array([1.0, 0]) * (-1.0) ** np.arange(T)[:, None, None]
    got = made_up(mesh)
    assert got["jitter"][2:] == pytest.approx(np.log(4 + 0.02))
    assert got["wander"][1::2] == pytest.approx(np.log(1 + 0.05))
    assert got["residual"] == pytest.approx(np.log(1 + 0.1))


def test_the_past_ends_where_the_face_was_lost() -> None:
    ok = np.arange(T) != 10
    detected = np.where(ok[:, None, None], POINTS, np.nan)
    mesh = np.where(np.arange(T)[:, None, None] < 10, POINTS, POINTS + IOD)
    got = made_up(mesh, detected, ok)
    assert all(np.isnan(values[10]) for values in got.values())
    assert np.isnan(got["speed"][11]) and got["speed"][12:] == pytest.approx(np.log(0.05))


RATES = [15, 24, 25, 30000 / 1001, 50, 60, 120]


@pytest.mark.parametrize("rate", RATES)
def test_an_even_motion_has_the_same_signals_at_any_rate(rate: float) -> None:
    """The mesh moves by 150 % of the IOD a second; the points rest, so that it wanders against them."""
    speed = np.array([0.9, 1.2]) * IOD

    def moving(rate: float) -> dict[str, np.ndarray]:
        return made_up(POINTS + speed * np.arange(round(rate))[:, None, None] / rate, rate=rate)

    got, usual = moving(rate), moving(30)
    for name, expected in {"speed": 5.0, "travel": 35.0}.items():
        assert got[name][-5:] == pytest.approx(np.log(expected + 0.05), abs=1e-3)
    assert got["jitter"][-5:] == pytest.approx(np.log(0.02), abs=1e-3)
    assert got["wander"][-5:] == pytest.approx(usual["wander"][-5:], abs=0.15)
    assert np.isnan(got["speed"][0]) and np.isfinite(got["speed"][round(rate / 30 + 0.5) :]).all()


@pytest.mark.parametrize("rate", RATES)
def test_a_change_of_speed_is_measured_over_a_thirtieth_of_a_second(rate: float) -> None:
    """A mesh that oscillates twice a second, by 5 % of the IOD: its velocity changes by 5 (4 pi / 30)^2 % in a step."""
    times = np.arange(3 * round(rate)) / rate
    mesh = POINTS + 0.05 * IOD * np.array([1.0, 0]) * np.sin(4 * np.pi * times)[:, None, None]
    got, usual = made_up(mesh, rate=rate), made_up(mesh[:: round(rate / 30)]) if rate in (60, 120) else None
    most = np.exp(got["jitter"][10:]).max() - 0.02
    # of frames that lie farther apart, the difference of mean velocities lies between that and twice as much
    assert 0.8 < most / (5 * (4 * np.pi / 30) ** 2) < 2
    if usual is not None:
        np.testing.assert_allclose(got["jitter"][:: round(rate / 30)], usual["jitter"], atol=1e-6)


@pytest.mark.parametrize("rate", [15, 30, 50, 90])
def test_frame_by_frame_as_the_whole_track_at_any_rate(rate: float, make_track: Callable[..., Track]) -> None:
    rng, times = np.random.default_rng(0), np.arange(2 * round(rate)) / rate
    times = times + rng.uniform(0, 0.3 / rate, len(times))  # as phones film
    track = make_track(times, {"jawOpen": rng.random(len(times))}, lost=[7, 8, 20], ry=0.1 * np.sin(5 * times))
    points = np.where(track.ok[:, None, None], POINTS + rng.normal(0, 1, (len(times), 478, 2)), np.nan)
    track = replace(track, landmarks=points.astype(np.float32))
    stream, whole = StreamConfidence(track.model(), 478), confidence(track)
    columns = (track.times, track.presence, track.sharpness, track.landmarks, track.z, track.H_image, track.ok)
    for row, frame in enumerate(zip(*columns, strict=True)):
        assert stream(*frame) == pytest.approx(whole[row], abs=1e-5)
    assert np.ptp(whole[track.ok]) > 0.01  # there is something to compare


@pytest.mark.parametrize("rate", [15, 30, 50])
def test_a_track_is_read_in_pieces(
    rate: float, make_track: Callable[..., Track], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces, of which each needs some rows of those before, give what all rows at once give."""
    rng, times = np.random.default_rng(0), np.arange(2 * rate) / rate
    times = times + rng.uniform(0, 0.3 / rate, len(times))
    track = make_track(times, {"jawOpen": rng.random(len(times))}, lost=[7, 8, 20], ry=0.1 * np.sin(5 * times))
    points = np.where(track.ok[:, None, None], POINTS + rng.normal(0, 1, (len(times), 478, 2)), np.nan)
    track = replace(track, landmarks=points.astype(np.float32))
    whole = track_signals(track)
    monkeypatch.setattr("selftrack.tracker.results.confidence.pieces", partial(pieces, rows=5))
    np.testing.assert_allclose(track_signals(track), whole, rtol=1e-4, atol=1e-5)


def test_signals_do_not_look_ahead() -> None:
    mesh = POINTS + np.random.default_rng(1).normal(0, 3, (T, 478, 2))
    every, some = made_up(mesh), made_up(mesh[:12])
    for name in SIGNALS:
        np.testing.assert_array_equal(every[name][:12], some[name])


def test_either_side_turns_alike() -> None:
    pose = np.zeros((T, 6))
    pose[:, 1], pose[:, 2] = -0.2, np.where(np.arange(T) % 2, 0.5, -0.5)
    got = made_up(np.broadcast_to(POINTS, (T, 478, 2)), pose=pose)
    assert got["yaw"] == pytest.approx(0.5) and got["pitch"] == pytest.approx(0.2)


def test_blur_lowers_sharpness_and_brightness_does_not_change_it() -> None:
    noise = np.random.default_rng(0).integers(0, 120, (64, 64, 1), dtype=np.uint8).repeat(3, 2)
    assert sharpness(cv2.GaussianBlur(noise, (0, 0), 2)) < 0.1 * sharpness(noise)
    assert sharpness(noise + np.uint8(100)) == pytest.approx(sharpness(noise), rel=1e-3)
    assert sharpness(np.zeros((8, 8, 3), np.uint8)) == 0


def test_the_model_is_logistic_and_holds_what_it_has_not_seen(tmp_path: Path) -> None:
    weights = tuple(float(i == 1) * 2 for i in range(len(SIGNALS)))
    model = ConfidenceModel((1.0,) * len(SIGNALS), (0.5,) * len(SIGNALS), weights, -0.5)
    values = np.ones((4, len(SIGNALS)))
    values[1, 1], values[2, 1], values[3] = 1.25, 1e9, np.nan
    odds = np.exp([-0.5, 0.5, 2 * REACH - 0.5, -0.5])
    assert model(values) == pytest.approx(odds / (1 + odds))
    model.save(tmp_path / "model.json")
    assert ConfidenceModel.load(tmp_path / "model.json") == model
    (tmp_path / "model.json").write_text('{"bias": 0, "signals": {}}')
    with pytest.raises(ValueError, match="other signals"):
        ConfidenceModel.load(tmp_path / "model.json")


def test_a_clip_of_its_own_level_shifts_the_confidence() -> None:
    """To the share of good frames where there are many, not at all where there are none, in between by the prior."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 1, 20000)
    good = rng.random(20000) < 1 / (1 + np.exp(-(log_odds + 1.5)))
    assert likeliest_shift(log_odds, good) == pytest.approx(1.5, abs=0.05)
    assert likeliest_shift(log_odds, good, 0.0) == 0 and likeliest_shift(log_odds[:0], good[:0]) == 0
    shift = likeliest_shift(np.zeros(5), np.ones(5, bool))
    assert 5 / (1 + np.exp(shift)) == pytest.approx(shift / SHIFT**2)
    assert likeliest_shift(np.zeros(60), np.ones(60, bool), 1 / 12) == pytest.approx(shift)


def test_the_shift_of_a_track_is_that_of_its_windows(smile: Path, tmp_path: Path) -> None:
    """Points that the mesh carries along make all frames good, points that leave it make none good."""
    track_clip(smile, tmp_path / "out", TrackConfig(overlay=False, duration=0.7))
    track = load(tmp_path / "out")
    iod = float(inter_ocular(track.landmarks[2]))
    paths = track.vertices(slice(2, 14))[:, track.model().faces[::50, 0], :2].transpose(1, 0, 2)
    paths = paths[(np.ptp(paths, axis=1) < 0.5 * iod).all(1)].astype(np.float32)
    away = paths + np.linspace(0, iod, 12)[None, :, None].astype(np.float32)
    assert clip_shift(track, [Window(2, iod, paths)]) > 0 > clip_shift(track, [Window(2, iod, away)])
    assert clip_shift(track, []) == 0
    odds = np.log(confidence(track, 0.7) / (1 - confidence(track, 0.7))) - np.log(
        confidence(track) / (1 - confidence(track))
    )
    assert odds == pytest.approx(0.7, abs=1e-3)


def test_a_covered_and_shaken_face_has_less_confidence(smile: Path, tmp_path: Path) -> None:
    track_clip(smile, tmp_path / "out", TrackConfig(overlay=False, duration=0.7))
    track = load(tmp_path / "out")
    assert track.ok.all()
    # frame by frame as the clip as a whole
    np.testing.assert_allclose(track.confidence, confidence(track), atol=1e-5)
    # a mesh that trembles by 3 % of the IOD against the picture
    worse = track_signals(track)
    for name in ("jitter", "wander"):
        worse[:, SIGNALS.index(name)] = np.log(3.0)
    worse[:, SIGNALS.index("residual")] = np.log(6.0)
    assert load_confidence()(worse).mean() < track.confidence.mean() - 0.1
