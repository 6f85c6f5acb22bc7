"""The neutral format: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selftrack.eval.compare.neutral import load_mesh

FACES = np.array([[0, 1, 2]], np.int32)


def save(path: Path, **values: np.ndarray) -> Path:
    np.savez(path, **values)
    return path


def test_reads_any_topology_with_and_without_ok(tmp_path: Path) -> None:
    verts = np.random.default_rng(0).normal(size=(5, 3, 3))
    mesh = load_mesh(save(tmp_path / "a.npz", verts=verts, faces=FACES))
    assert mesh.ok.all() and mesh.faces.dtype == np.int64
    np.testing.assert_array_equal(mesh.vertices(slice(1, 3)), verts[1:3].astype(np.float32))
    verts[2] = np.nan
    mesh = load_mesh(save(tmp_path / "b.npz", verts=verts, faces=FACES, ok=np.array([1, 1, 0, 1, 1])))
    assert mesh.ok.tolist() == [True, True, False, True, True] and np.isfinite(mesh.vertices(slice(None))).all()


@pytest.mark.parametrize(
    "values,words",
    [
        ({"points": np.zeros(3)}, "has no verts"),
        ({"verts": np.zeros((5, 3, 2)), "faces": FACES}, r"got \(5, 3, 2\)"),
        ({"verts": np.zeros((5, 3, 3)), "faces": FACES, "ok": np.ones(4, bool)}, r"got .*\(4,\)"),
        ({"verts": np.zeros((5, 3, 3)), "faces": FACES + 1}, "integers in 0..2"),
        ({"verts": np.zeros((5, 3, 3)), "faces": FACES.astype(float)}, "integers in 0..2"),
        ({"verts": np.full((5, 3, 3), np.nan), "faces": FACES}, "row 0 are not finite"),
        ({"verts": np.array([None]), "faces": FACES}, "not an .npz of plain arrays"),
    ],
)
def test_refuses(tmp_path: Path, values: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        load_mesh(save(tmp_path / "a.npz", **values))


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load_mesh(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="not an .npz"):
        load_mesh(tmp_path / "text.npz")
