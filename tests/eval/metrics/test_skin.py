"""Percentiles of frames, and which points count."""

from __future__ import annotations

import numpy as np
import pytest

from selftrack.eval.metrics import METRICS, TrackedClip
from selftrack.eval.metrics.skin import percentile
from selftrack.eval.metrics.subject import Mesh
from selftrack.tracker.results.skin_points import Window

SQUARE = np.array([[0.0, 0, 0], [50, 0, 0], [50, 50, 0], [0, 50, 0]], np.float32)


def test_percentiles_are_of_the_frames_that_are_known() -> None:
    assert percentile(np.array([np.nan, 1.0, 3.0, 2.0]), 50) == 2
    assert np.isnan(percentile(np.full(3, np.nan), 50))


def test_a_jump_of_one_frame() -> None:
    """By 10 of the 100 pixels between the eyes, in the third of four frames, under two points of which one is off."""
    meshes = np.stack([SQUARE] * 4)
    meshes[2] += [6, 8, 0]
    paths = np.tile(np.array([[20.0, 10], [70, 70]], np.float32)[:, None], (1, 4, 1))
    mesh = Mesh(lambda rows: meshes[rows], np.array([[0, 1, 2], [0, 2, 3]]), np.ones(4, bool))
    clip = TrackedClip(mesh, [Window(0, 100.0, paths)], np.zeros((4, 478, 2)), (90, 90), 0)
    values = {name: METRICS[f"skin.{name}"].value(clip) for name in ("mean", "p50", "p90", "points")}
    assert values == pytest.approx({"mean": 10 / 3, "p50": 10 / 3, "p90": 8, "points": 1})
    assert METRICS["skin.mean"].frames(clip) == pytest.approx([10 / 3, 10 / 3, 10, 10 / 3])
