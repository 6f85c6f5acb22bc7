"""Characters made of the bundled head: other vertices, units and axes, and names that say nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selftrack.decoders.head.model import load_head
from selftrack.decoders.rigs.character import Character
from selftrack.decoders.rigs.rebuilt import shaped_glb
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.tracker.characters.adding import add_character
from selftrack.tracker.characters.placing import head_mesh

HEAD = load_head()


def coarser(mesh: ShapedMesh, count: int, seed: int) -> ShapedMesh:
    """The mesh with about `count` vertices, in another order: vertices merge into neighbours of the same part that have
    one place in the picture."""
    rng = np.random.default_rng(seed)
    corners = np.concatenate([mesh.faces[..., None], mesh.corners], -1).reshape(-1, 3)
    pairs = np.unique(corners, axis=0)
    ids, number = np.unique(pairs[:, 0], return_counts=True)
    uvs = pairs[np.searchsorted(pairs[:, 0], np.arange(len(mesh.neutral))), 1:]
    single = np.zeros(len(mesh.neutral), bool)
    single[ids[number == 1].astype(int)] = True
    into, busy = np.arange(len(mesh.neutral)), np.zeros(len(mesh.neutral), bool)
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    inside = np.bincount(edges.ravel(), minlength=len(into))
    left = len(np.unique(mesh.faces)) - count
    skin = np.zeros(len(mesh.neutral), bool)
    skin[mesh.faces[mesh.skin]] = True
    boundary = _boundary(edges, len(mesh.neutral))
    for a, b in rng.permutation(edges):
        if left <= 0:
            break
        if single[a] and single[b] and skin[a] and skin[b] and not busy[a] and not boundary[a] and inside[a]:
            around = edges[(edges == a).any(1)].ravel()
            into[a], left = b, left - 1
            busy[around] = True
    faces = into[mesh.faces]
    whole = (faces != np.roll(faces, 1, 1)).all(1)
    kept = np.unique(faces[whole])
    order = rng.permutation(kept)
    renumbered = np.empty(len(mesh.neutral), np.int64)
    renumbered[order] = np.arange(len(order))
    rows = rng.permutation(np.flatnonzero(whole))
    new_corners = np.where((faces == mesh.faces)[..., None], mesh.corners, uvs[faces])
    return ShapedMesh(
        mesh.neutral[order],
        renumbered[faces[rows]],
        mesh.names,
        mesh.deltas[:, order],
        new_corners[rows],
        mesh.skin[rows],
        mesh.moist[rows],
        mesh.inner[rows],
        mesh.texture,
    )


def _boundary(edges: np.ndarray, count: int) -> np.ndarray:
    """(count,) bool, vertices of edges that one triangle alone has."""
    pairs, times = np.unique(np.sort(edges, 1), axis=0, return_counts=True)
    out = np.zeros(count, bool)
    out[pairs[times == 1]] = True
    return out


def elsewhere(mesh: ShapedMesh, units: float, angles: tuple[float, float, float]) -> ShapedMesh:
    """The mesh in other units, turned by Euler angles xyz in degrees, and moved."""
    matrix = units * Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return ShapedMesh(
        **vars(mesh)
        | {
            "neutral": mesh.neutral @ matrix.T + units * np.array([0.3, -1.2, 0.5]),
            "deltas": (mesh.deltas @ matrix.T).astype(np.float32),
        }
    )


def renamed(mesh: ShapedMesh) -> ShapedMesh:
    """The mesh with its shapes in another order, named by their number alone: s00, s01 ..."""
    order = np.random.default_rng(0).permutation(len(mesh.names))
    return ShapedMesh(**vars(mesh) | {"names": tuple(f"s{row:02d}" for row in order), "deltas": mesh.deltas[order]})


@pytest.fixture(scope="session")
def coarse() -> ShapedMesh:
    """The bundled head with about 3,000 vertices, shuffled."""
    return coarser(head_mesh(HEAD), 3000, 1)


@pytest.fixture(scope="session")
def order() -> list[int]:
    """For each shape of `hero` the number of ARKit's curve that it is."""
    return np.random.default_rng(0).permutation(52).tolist()


@pytest.fixture(scope="session")
def hero(coarse: ShapedMesh, order: list[int], tmp_path_factory: pytest.TempPathFactory) -> Character:
    """The coarse head in units of 2.7 cm, z up, its shapes in another order and named s00 ...; added once."""
    mesh = renamed(elsewhere(coarse, 37.0, (90, 0, 0)))
    assert mesh.names == tuple(f"s{row:02d}" for row in order)
    path = tmp_path_factory.mktemp("character") / "hero.glb"
    path.write_bytes(shaped_glb(mesh))
    return add_character(path, "CC0")


@pytest.fixture
def write_glb(tmp_path: Path) -> Callable[[ShapedMesh, str], Path]:
    """`write_glb(mesh, "hero.glb")`."""

    def write(mesh: ShapedMesh, name: str = "hero.glb") -> Path:
        path = tmp_path / name
        path.write_bytes(shaped_glb(mesh))
        return path

    return write
