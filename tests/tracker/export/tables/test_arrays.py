"""Arrays of a long track: written in parts, and the same as at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.results.track_file import Track

PART = 1024


def test_vertices_are_never_there_as_a_whole(
    make_track: Callable[..., Track], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an hour took more than ten gigabytes."""
    count = 2 * PART + 300
    track = make_track(np.arange(count) / 30, {"jawOpen": np.linspace(0, 1, count)}, lost=[7], ry=0.2)
    whole, at_once, asked = track.vertices(), Track.vertices, list[int]()

    def counted(self: Track, rows: slice = slice(None)) -> np.ndarray:
        asked.append(len(self.times[rows]))
        return at_once(self, rows)

    monkeypatch.setattr(Track, "vertices", counted)
    with np.load(write(track, "vertices", tmp_path / "a.npz", ExportOptions()), allow_pickle=False) as data:
        assert data.files == ["verts", "faces", "ok", "times"]
        assert data["verts"].dtype == np.float32 and data["faces"].dtype == np.int32 and data["ok"].dtype == bool
        np.testing.assert_array_equal(data["verts"], whole)
        np.testing.assert_array_equal(data["faces"], track.model().faces)
        np.testing.assert_array_equal(data["times"], track.times)
        assert np.flatnonzero(~data["ok"]).tolist() == [7]
    assert sum(asked) == count and max(asked) <= PART
