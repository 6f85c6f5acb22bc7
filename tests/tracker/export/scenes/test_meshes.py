"""The meshes of an archive, as trimesh reads them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import trimesh

from selftrack.decoders.head.model import load_head
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
FACES = HEAD.faces.numpy()
FOCAL = 1e6  # so far away that weak perspective holds


@pytest.fixture
def turning(make_track: Callable[..., Track]) -> Track:
    """Three frames of a head that opens its mouth, turns and moves."""
    steps = np.array([0, 0.5, 1])
    return make_track(10 + steps, {"jawOpen": steps}, tx=200 + 100 * steps, ty=120.0, rx=0.2, ry=0.6 * steps, rz=0.1)


def meshes(track: Track, to: str, folder: Path, focal: float = 900.0) -> dict[str, trimesh.Trimesh]:
    """The meshes of an archive by the names of their files, in its order."""
    with ZipFile(write(track, to, folder / "meshes.zip", ExportOptions(focal=focal))) as archive:
        files = {name: io.BytesIO(archive.read(name)) for name in archive.namelist()}
    return {name: trimesh.load(file, file_type=to, process=False) for name, file in files.items()}


@pytest.mark.parametrize("to", ["obj", "ply"])
def test_a_camera_at_the_origin_sees_each_mesh_where_the_track_has_it(to: str, turning: Track, tmp_path: Path) -> None:
    found = meshes(turning, to, tmp_path, FOCAL)
    assert list(found) == [f"frame_{row:06d}.{to}" for row in range(3)]
    for mesh, expected in zip(found.values(), turning.vertices(), strict=True):
        x, y, z = np.moveaxis(mesh.triangles, -1, 0)  # y up, looking along -z
        seen = np.stack([FOCAL * x / -z + 319.5, -FOCAL * y / -z + 179.5], -1)
        assert np.abs(seen - expected[FACES][..., :2]).max() < 0.3
        assert (z < 0).all() and 0.2 < np.ptp(y) < 0.4, "metres before the camera"


@pytest.mark.parametrize("to", ["obj", "ply"])
def test_the_mouth_opens(to: str, turning: Track, tmp_path: Path) -> None:
    """Distances within the mesh are those of the head's own shape, whatever its place."""
    jaw = HEAD.blendshapes[HEAD.expression_names.index("jawOpen")]
    for weight, mesh in zip((0, 0.5, 1), meshes(turning, to, tmp_path).values(), strict=True):
        shape = (HEAD.mean + weight * jaw).numpy()[FACES]
        ours, theirs = (np.linalg.norm(t - t[0, 0], axis=-1) for t in (shape, mesh.triangles))
        assert np.abs(ours - theirs).max() < 1e-6  # metres


def test_obj_has_texture_coordinates(turning: Track, tmp_path: Path) -> None:
    mesh = next(iter(meshes(turning, "obj", tmp_path).values()))
    corners = mesh.visual.uv[mesh.faces] * [1, -1] + [0, 1]  # v up
    np.testing.assert_allclose(corners, HEAD.uvs.numpy()[HEAD.uv_faces], atol=1e-6)


def test_when_it_was_written_does_not_matter(turning: Track, tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    for path in (first, second):
        write(turning, "ply", path)
        with ZipFile(path) as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert first.read_bytes() == second.read_bytes()
