"""Marked points on a card whose motion is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selftrack.eval.annotate.marks import Marks, annotation_error, read_annotations
from selftrack.eval.metrics.neutral import Mesh

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


def test_a_point_that_moves_with_the_mesh_has_no_error() -> None:
    place = np.array([130.3, 110.8])  # off the pixels' centres
    marks = {"mole": Marks(np.array([0, 3, 4]), place + np.outer([0, 3, 4], SHIFT[:2]))}
    assert annotation_error(marks, card(), landmarks(), SIZE).values() == pytest.approx(
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
    assert error.values()["annotated.mean"] == pytest.approx(100 * 5 / IOD / 3, abs=1e-3)


def test_lost_frames_lone_marks_and_points_off_the_mesh_count_nowhere() -> None:
    ok = np.ones(COUNT, bool)
    ok[3] = False
    inside, outside = np.array([[150.0, 100], [0, 0]]), np.array([[20.0, 20], [20, 20]])
    marks = {"lost": Marks(np.array([0, 3]), inside), "off": Marks(np.array([0, 1]), outside)}
    marks["lone"] = Marks(np.array([5]), inside[:1])
    values = annotation_error(marks, card(ok), landmarks(), SIZE).values()
    assert values["annotated.marks"] == 0 and np.isnan(values["annotated.mean"])


def test_reads_the_table_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text("frame,name,x,y\n7,chin,10,20.5\n2,mole,1,2\n\n0,chin,9.25,20\n")
    marks = read_annotations(path, COUNT, SIZE)
    assert set(marks) == {"chin", "mole"} and marks["chin"].rows.tolist() == [0, 7]
    assert marks["chin"].points.tolist() == [[9.25, 20], [10, 20.5]]


@pytest.mark.parametrize(
    "text,words",
    [
        ("", "first line"),
        ("x,y\n", "first line must be frame,name,x,y"),
        ("frame,name,x,y\n1,a,2\n", "line 2: expected"),
        ("frame,name,x,y\n1,a,2,b\n", "line 2: expected"),
        ("frame,name,x,y\n0,a,2,2\n10,a,2,3\n", r"line 3: frame 10 is not in 0\.\.9"),
        ("frame,name,x,y\n1,a,321,3\n", "outside of the 320x240 frame"),
        ("frame,name,x,y\n1,a,nan,3\n", "outside of the 320x240 frame"),
        ("frame,name,x,y\n1,a,2,3\n1,a,2,4\n", "line 3: a is marked twice in frame 1"),
    ],
)
def test_refuses(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_annotations(tmp_path / "a.csv", COUNT, SIZE)
    with pytest.raises(ValueError, match="cannot be read"):
        read_annotations(tmp_path / "none.csv", COUNT, SIZE)
