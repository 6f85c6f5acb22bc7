"""Marked points on a card whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest

from selftrack.eval.metrics import METRICS, TrackedClip
from selftrack.eval.metrics.annotated import annotation_error
from selftrack.eval.metrics.subject import Annotations, Marks, Mesh

SIZE, COUNT, IOD = (240, 320), 10, 50.0
SHIFT = np.array([3.0, -1.0, 0.0])  # pixels per frame


def card(ok: np.ndarray | None = None) -> Mesh:
    """A square that moves and grows by a tenth from its first to its second half."""
    corners = np.array([[100, 60, 5], [200, 60, 5], [100, 160, 5], [200, 160, 5]], np.float64)
    rows = np.arange(COUNT)[:, None, None]
    vertices = (np.where(rows < COUNT // 2, 1, 1.1) * corners + rows * SHIFT).astype(np.float32)
    ok = np.ones(COUNT, bool) if ok is None else ok
    return Mesh(lambda rows: vertices[rows], np.array([[0, 1, 2], [1, 3, 2]]), ok)


def landmarks() -> np.ndarray:
    points = np.zeros((COUNT, 478, 2))
    points[:, 263, 0] = IOD
    return points


def values(marks: Annotations, mesh: Mesh) -> dict[str, float]:
    """The metrics of these marks."""
    clip = TrackedClip(mesh, [], landmarks(), SIZE, 0, annotations=marks)
    return {name: metric.value(clip) for name, metric in METRICS.items() if name.startswith("annotated.")}


def test_a_point_that_moves_with_the_mesh_has_no_error() -> None:
    place = np.array([130.3, 110.8])  # off the pixels' centres
    marks = {"mole": Marks(np.array([0, 3, 4]), place + np.outer([0, 3, 4], SHIFT[:2]))}
    assert values(marks, card()) == pytest.approx(
        {"annotated.mean": 0, "annotated.pixels": 0, "annotated.marks": 2}, abs=1e-4
    )


def test_growth_and_mistakes_are_measured_in_pixels_and_iod() -> None:
    place = np.array([150.0, 100.0])
    grown = 1.1 * place + 6 * SHIFT[:2]
    marks = {
        "a": Marks(np.array([0, 6]), np.stack([place, grown])),
        "b": Marks(np.array([1, 2, 6]), np.stack([place + SHIFT[:2], place + 2 * SHIFT[:2] + [3, 4], grown])),
    }
    error = annotation_error(marks, card(), landmarks(), SIZE)
    assert error.pixels["a"].value() == pytest.approx(0, abs=1e-3)
    assert error.pixels["b"].over == pytest.approx(5, abs=1e-3) and error.share["b"].value() == pytest.approx(5)
    assert values(marks, card())["annotated.mean"] == pytest.approx(100 * 5 / IOD / 3, abs=1e-3)


def test_lost_frames_lone_marks_and_points_off_the_mesh_count_nowhere() -> None:
    ok = np.ones(COUNT, bool)
    ok[3] = False
    inside, outside = np.array([[150.0, 100], [0, 0]]), np.array([[20.0, 20], [20, 20]])
    marks = {"lost": Marks(np.array([0, 3]), inside), "off": Marks(np.array([0, 1]), outside)}
    marks["lone"] = Marks(np.array([5]), inside[:1])
    found = values(marks, card(ok))
    assert found["annotated.marks"] == 0 and np.isnan(found["annotated.mean"])
