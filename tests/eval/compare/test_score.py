"""Trackers side by side, and the tuning of filters to a given steadiness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.eval.compare.filters import filtered, savitzky_golay
from selftrack.eval.compare.neutral import load_mesh
from selftrack.eval.compare.reference import Reference
from selftrack.eval.compare.score import bisect, score, score_files, table
from selftrack.eval.metrics import METRICS
from selftrack.eval.metrics.subject import Mesh
from selftrack.tracker.results.skin_points import Window
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.opening import open_source

HEAD = load_head()


@pytest.fixture
def track(make_track: Callable[..., Track]) -> Track:
    """A head that sways smoothly and shakes by a pixel."""
    rng, rows = np.random.default_rng(0), np.arange(20)
    shake = rng.normal(size=(len(rows), 2))
    x, y = 160 + 30 * np.sin(rows / 8) + shake[:, 0], 120 + shake[:, 1]
    track = make_track(rows / 30, size=(320, 240), f=np.log(900), tx=x, ty=y)
    codes = track.z.copy()
    codes[:, HEAD.expression] = 0.3 + 0.03 * rng.normal(size=codes[:, HEAD.expression].shape)
    points = rng.uniform(100, 200, (len(rows), 478, 2))
    points[:, 33], points[:, 263] = [130, 100], [190, 100]
    return replace(track.with_codes(codes), landmarks=points)


def test_bisect_finds_the_border() -> None:
    assert bisect(lambda x: x <= 2.7, 0, 10, 20) == pytest.approx(2.7, abs=1e-4)
    assert bisect(lambda x: True, 0, 10, 20) == pytest.approx(10, abs=1e-4)


def save_neutral(track: Track, path: Path) -> None:
    np.savez(path, verts=track.vertices(), faces=track.model().faces.numpy().astype(np.int32), ok=track.ok)


def reference_of(track: Track, *windows: Window) -> Reference:
    return Reference(track.clip_hash, track.size[::-1], track.landmarks, list(windows))


def test_filters_become_as_steady_as_the_second_track(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selftrack.eval.compare.score.BETAS", (0.0,))
    steadier = filtered(track, lambda values, times: savitzky_golay(values, 9))
    rest = np.repeat(np.array([[[160.0, 120]]], np.float32), 12, 1)
    rows = score(reference_of(track, Window(0, 60.0, rest)), {"a": track, "b": steadier}, filters=True)
    assert "Savitzky-Golay 9" in rows and len(rows) == 4
    assert rows["Savitzky-Golay 9"] == pytest.approx(rows["b"], nan_ok=True)
    euro = rows[next(name for name in rows if name.endswith("beta 0"))]
    wanted = sum(rows["b"][f"stability.{part}.ratio"] for part in ("screen", "local"))
    assert sum(euro[f"stability.{part}.ratio"] for part in ("screen", "local")) == pytest.approx(wanted, abs=0.02)


def test_a_track_and_its_neutral_file_score_alike(track: Track, tmp_path: Path) -> None:
    save_neutral(track, tmp_path / "a.npz")
    rest = np.repeat(np.array([[[160.0, 120]]], np.float32), 12, 1)
    rows = score(reference_of(track, Window(0, 60.0, rest)), {"a": track, "b": load_mesh(tmp_path / "a.npz")})
    needs = {name for name, metric in METRICS.items() if metric.needs}
    for name in METRICS:
        assert rows["a"][name] == pytest.approx(rows["b"][name], nan_ok=True) or name in needs, name
    assert rows["a"]["skin.points"] == 1 and np.isfinite(rows["a"]["landmarks.mean"])
    assert all(np.isnan(rows["b"][name]) for name in needs)


def test_trackers_are_compared_where_all_have_a_face(track: Track) -> None:
    ok = track.ok.copy()
    ok[15] = False
    holes = replace(track, ok=ok)
    rows = score(reference_of(track), {"a": track, "b": holes})
    assert [row["lost"] for row in rows.values()] == [0, 1]
    alone = score(reference_of(track), {"a": track})["a"]
    for name in ("stability.screen.ratio", "stability.local.mean", "landmarks.mean"):
        assert rows["a"][name] == rows["b"][name] != alone[name]


def test_refuses_what_cannot_be_compared(track: Track, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same clip"):
        score(reference_of(track), {"a": track, "b": replace(track, clip_hash="b")})
    with pytest.raises(ValueError, match="name two first"):
        score(reference_of(track), {"a": track}, filters=True)
    with pytest.raises(ValueError, match="name two first"):
        score(reference_of(track), {"a": track, "b": Mesh.of(track)}, filters=True)
    short = Mesh(track.vertices, Mesh.of(track).faces, track.ok[:-1])
    with pytest.raises(ValueError, match="has 19 rows, but 20 frames"):
        score(reference_of(track), {"a": short})
    save_neutral(track, tmp_path / "a.npz")
    with pytest.raises(ValueError, match="what to score"):
        score_files([tmp_path / "a.npz"])


def test_without_a_track_of_ours_the_detector_looks(smile: Path, tmp_path: Path) -> None:
    with open_source(smile) as reader:
        count = sum(1 for _ in reader)
    square = np.array([[200, 60, 0], [440, 60, 0], [200, 300, 0], [440, 300, 0]], np.float32)
    still = np.repeat(square[None], count, 0)
    np.savez(tmp_path / "still.npz", verts=still, faces=np.array([[0, 1, 2], [1, 3, 2]]))
    (values,) = score_files([smile, tmp_path / "still.npz"]).values()
    assert np.isnan(values["stability.screen.ratio"])  # it never moves: 0 over 0
    assert values["stability.screen.mean"] == 1 and values["skin.points"] > 100 and values["skin.mean"] > 0.1


def test_the_table_has_the_headline_metrics_that_any_track_has() -> None:
    nothing = dict.fromkeys(METRICS, np.nan)
    known = {"skin.mean": 0.25, "skin.p90": 7.0, "stability.screen.ratio": 1.5, "lost": 3}
    assert table({"mine": nothing | known, "other": nothing | {"landmarks.mean": 2.0}}).splitlines() == [
        "| track | skin.mean | landmarks.mean | screen.ratio | lost |",
        "|---|---:|---:|---:|---:|",
        "| mine | 0.250 | – | 1.500 | 3 |",
        "| other | – | 2.000 | – | – |",
    ]
