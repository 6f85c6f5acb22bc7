"""Our figures of a real track, and of filtered ones, beside those of an independent program given the same points."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from selftrack.eval.compare.filters import filtered, one_euro, savitzky_golay
from selftrack.eval.metrics import TrackedClip, measure
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.results.skin_points import Window
from selftrack.tracker.results.track_file import Track

CLIP, POINTS = "clips/man_outdoor.mp4", "bench/man_outdoor.points.npz"
FILTERS = {
    "plain": lambda values, times: values,
    "polynomial": lambda values, times: savitzky_golay(values, 7),
    "1-euro": lambda values, times: one_euro(values, times, 1.0, 0.1),
    "late": lambda values, times: values[np.maximum(np.arange(len(values)) - 2, 0)],
}


@pytest.fixture(scope="module")
def track(scorer: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Track:
    """A few seconds of tracking."""
    clip = Path(scorer.__file__).parents[1] / CLIP
    if not clip.exists():
        pytest.skip("no clip with the independent scorer")
    folder = tmp_path_factory.mktemp("plain")
    track_clip(clip, folder, TrackConfig(overlay=False))
    return load(folder)


@pytest.fixture(scope="module")
def windows(scorer: ModuleType) -> list[Window]:
    points = Path(scorer.__file__).parents[1] / POINTS
    if not points.exists():
        pytest.skip("no skin points with the independent scorer")
    with np.load(points, allow_pickle=True) as data:
        return [Window(*window) for window in data["pts"]]


@pytest.mark.parametrize("name", FILTERS)
def test_agrees(scorer: ModuleType, track: Track, windows: list[Window], name: str) -> None:
    track = filtered(track, FILTERS[name])
    verts, size = track.vertices(), track.size[::-1]
    ours = measure(TrackedClip.of(track, windows))
    neutral = {"verts": verts, "faces": track.model().faces.numpy(), "ok": track.ok}
    skin = scorer.reprojection(neutral, windows, size)
    assert ours["skin.mean"] == pytest.approx(skin["mean"], rel=0.02) and ours["skin.points"] == skin["used"]
    local = scorer.rigid_removed(verts, track.ok) * np.sqrt(verts.shape[1])
    for part, points in (("screen", verts[..., :2]), ("local", local)):
        theirs = scorer.stability(points, track.ok)
        assert ours[f"stability.{part}.ratio"] == pytest.approx(theirs["ratio"], rel=0.02)
        assert ours[f"stability.{part}.mean"] == pytest.approx(theirs["mean"], rel=0.02)
    if name in ("plain", "late"):
        assert ours["lag.frames"] == pytest.approx(2 if name == "late" else 0, abs=0.15)
