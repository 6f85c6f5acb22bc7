"""Folders of OBJ files, and meshes with shapes as .glb, read again by trimesh and by our own reader."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from selftrack.decoders.rigs.gltf import read_gltf
from selftrack.decoders.rigs.obj import read_obj_folder
from selftrack.decoders.rigs.rebuilt import shaped_glb
from selftrack.errors import UserError

POINTS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 2]], float)


FACES = "usemtl Skin\nf 1/1 2/1 3/1 4/1\nusemtl Eye_L\nf -5 -4 -1\n"


def write(path: Path, points: np.ndarray, faces: str = FACES) -> None:
    """An OBJ of these points."""
    path.write_text("# made up\n" + "".join("v {} {} {}\n".format(*p) for p in points) + "vt 0 0\n" + faces)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A square and a triangle, and a shape that lifts one corner."""
    write(tmp_path / "Neutral.obj", POINTS)
    write(tmp_path / "lift.obj", POINTS + np.eye(5)[4][:, None] * [0, 0.25, 0])
    return tmp_path


def test_quads_negative_numbers_and_parts(folder: Path) -> None:
    mesh = read_obj_folder(folder)
    np.testing.assert_array_equal(mesh.neutral, POINTS * [1, -1, -1])
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4]]
    assert mesh.names == ("lift",) and mesh.skin.tolist() == [True, True, False] == (~mesh.moist).tolist()
    np.testing.assert_array_equal(mesh.deltas[0], np.eye(5)[4][:, None] * [0, -0.25, 0])


def test_its_glb_has_the_same_triangles_and_shapes(folder: Path) -> None:
    mesh = read_obj_folder(folder)
    (folder / "out.glb").write_bytes(shaped_glb(mesh))
    again = read_gltf(folder / "out.glb")
    for values in (lambda m: m.neutral, lambda m: m.deltas[0]):
        np.testing.assert_allclose(
            np.sort(values(again)[again.faces].reshape(-1, 9), 0), np.sort(values(mesh)[mesh.faces].reshape(-1, 9), 0)
        )
    assert again.names == mesh.names and again.moist.sum() == 1
    loaded = trimesh.load(folder / "out.glb", process=False)
    assert sum(len(part.faces) for part in loaded.geometry.values()) == 3


def test_one_line_says_what_is_missing(folder: Path) -> None:
    write(folder / "short.obj", POINTS[:4], "")
    with pytest.raises(UserError, match="short.obj: has 4 vertices and neutral.obj 5"):
        read_obj_folder(folder)
    (folder / "short.obj").write_text("v 1 two 3\n")
    with pytest.raises(UserError, match="short.obj: not an OBJ that can be read"):
        read_obj_folder(folder)
    (folder / "short.obj").unlink()
    (folder / "lift.obj").unlink()
    with pytest.raises(UserError, match="has neutral.obj alone"):
        read_obj_folder(folder)
