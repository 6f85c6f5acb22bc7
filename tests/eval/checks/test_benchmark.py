"""The benchmark's tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.eval.checks.benchmark import Row, errors, rank_agreement, relative_change, table
from selftrack.eval.metrics import METRICS
from selftrack.tracker.results.track_file import Track


def test_a_track_without_the_truth_of_its_frames_is_refused(make_track: Callable[..., Track]) -> None:
    with pytest.raises(UserError, match="whole clip"):
        errors(make_track([0, 1]), [])


def test_change_is_relative_and_paired() -> None:
    mean, low, high = relative_change([1.0, 2.0, 4.0], [0.9, 1.6, 2.8])
    assert mean == pytest.approx(-0.2)
    half = 4.302653 * 0.1 / np.sqrt(3)  # Student's t of two degrees of freedom at 97.5 %
    assert (low, high) == pytest.approx((-0.2 - half, -0.2 + half), abs=1e-6)


def test_the_table_tells_before_from_after() -> None:
    def row(vertex: float, skin: float) -> Row:
        known = {"truth.vertices": vertex, "skin.mean": skin, "stability.screen.ratio": -vertex}
        return dict.fromkeys(METRICS, 1.0) | known | {"stability.local.ratio": skin, "annotated.mean": np.nan}

    rows = {
        "a": {"plain": row(4.0, 2.0), "adapted": row(3.0, 1.0)},
        "b": {"plain": row(6.0, 3.0), "adapted": row(5.0, 1.5)},
    }
    text = table(rows)
    header, _, first = text.splitlines()[:3]
    assert header.startswith("| clip | track | Skin-point error, % IOD |") and first.startswith("| a | plain | 2.000 |")
    assert "marks" not in header  # nobody has marked any
    assert "| **mean** | plain | 2.500 |" in text and "- Vertex error: -20.8%" in text
    ranks = rank_agreement([r for tracks in rows.values() for r in tracks.values()])
    assert ranks["stability.screen.ratio"] == pytest.approx(-1) and ranks["skin.mean"] == pytest.approx(0.8)
