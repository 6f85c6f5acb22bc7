"""Weights of made-up characters whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import LEFT_IRIS
from selftrack.decoders.rigs.character import Character, Places
from selftrack.tracker.characters.fit import FitConfig, drive, local_maps, opposites
from selftrack.tracker.characters.placing import head_mesh

HEAD = load_head()
EXACT = FitConfig(sparse=0, ridge=1e-9, steady=0, stiff=1e6)
TIMES = np.arange(30) / 30


def character(mix: np.ndarray, names: tuple[str, ...], follows: dict[str, str] | None = None) -> Character:
    """The bundled head with shapes that are these mixtures (K,52) of its own."""
    mesh, points = head_mesh(HEAD), HEAD.landmarks478
    mesh = replace(mesh, names=names, deltas=np.tensordot(mix, mesh.deltas, 1).astype(np.float32))
    places = Places(points.triangles.numpy(), points.weights.double().numpy())
    fitted = tuple(name for name in names if name not in (follows or {}))
    return Character(mesh, places, follows or {}, fitted, np.eye(4), b"", "made up", "", "", 0.0)


def waves(names: list[str]) -> dict[str, np.ndarray]:
    """Smooth curves (T,) of these names, 0 to 0.9, others 0."""
    curves = {name: np.zeros(len(TIMES)) for name in ARKIT_NAMES}
    return curves | {name: 0.45 - 0.45 * np.cos(4 * TIMES + k) for k, name in enumerate(names)}


def row(name: str, size: float = 1.0) -> np.ndarray:
    return size * np.eye(52)[ARKIT_NAMES.index(name)]


def test_known_weights_come_back() -> None:
    """Shapes of other sizes, and one of two of ours: weights that make the very movement are found to rounding."""
    mix = np.stack([row("jawOpen", 2), row("mouthSmileLeft") + row("mouthSmileRight"), row("browInnerUp", 1.25)])
    curves = waves(["jawOpen", "mouthSmileLeft", "browInnerUp"])
    curves["mouthSmileRight"] = curves["mouthSmileLeft"]
    weights = drive(character(mix, ("a", "b", "c")), curves, HEAD, EXACT)
    expected = [curves["jawOpen"] / 2, curves["mouthSmileLeft"], curves["browInnerUp"] / 1.25]
    np.testing.assert_allclose(weights, np.stack(expected, 1), atol=1e-5)
    usual = drive(character(mix, ("a", "b", "c")), curves, HEAD)
    np.testing.assert_allclose(usual, np.stack(expected, 1), atol=0.015)


def test_bounds_hold_as_scipys_solver_has_it() -> None:
    """Shapes that cannot make all of a movement: the same minimum as `lsq_linear`."""
    rng = np.random.default_rng(4)
    rows = [
        ARKIT_NAMES.index(name) for name in ("jawOpen", "mouthFunnel", "mouthPucker", "mouthClose", "mouthPressLeft")
    ]
    mix = np.zeros((3, 52))
    mix[:, rows] = rng.normal(size=(3, len(rows))) * 0.4
    made, curves = character(mix, ("a", "b", "c")), waves(["jawOpen", "mouthFunnel", "mouthPucker"])
    weights = drive(made, curves, HEAD, replace(EXACT, opposite=-2.0, mirrored=-2.0))
    from selftrack.tracker.characters import fit

    scale = np.ones(478)
    for points, weight in fit._WEIGHTS.items():
        scale[list(points)] = weight
    root = scale[:, None] ** 0.5
    basis = (made.places(made.mesh.deltas) * root).reshape(3, -1)
    ours = (HEAD.landmarks478(HEAD.blendshapes).numpy() * root).reshape(52, -1)
    values = np.stack([curves[name] for name in ARKIT_NAMES], 1)
    for one in (3, 14, 29):
        best = lsq_linear(basis.T, values[one] @ ours, (0, 1), tol=1e-12).x
        np.testing.assert_allclose(weights[one], best, atol=1e-4)
    assert weights.min() == 0 or weights.max() == 1


def test_what_follows_by_name_is_not_fitted_again() -> None:
    mix = np.stack([row("jawOpen"), row("jawOpen") + row("mouthFunnel")])
    curves = waves(["jawOpen"])
    weights = drive(character(mix, ("open", "round"), {"open": "jawOpen"}), curves, HEAD)
    np.testing.assert_allclose(weights[:, 0], curves["jawOpen"])
    assert weights[:, 1].max() < 0.01


def test_opposites_are_not_both_on_and_lips_close_over_an_open_jaw() -> None:
    names = ("jawLeft", "jawRight", "mouthClose", "jawOpen")
    made = character(np.stack([row(name) for name in names]), names)
    pairs = {tuple(names[k] for k in pair) for pair in opposites(made.places(made.mesh.deltas), FitConfig())}
    assert ("jawLeft", "jawRight") in pairs
    assert ("mouthClose", "jawOpen") not in pairs
    curves = waves(["jawLeft", "jawRight", "mouthClose", "jawOpen"])
    weights = drive(made, curves, HEAD)
    assert (np.minimum(weights[:, 0], weights[:, 1]) < 1e-9).all()
    np.testing.assert_allclose(weights[:, 2], curves["mouthClose"], atol=0.05)


def test_an_eye_twice_as_large_moves_twice_as_far() -> None:
    """A face that is stretched about one eye is stretched there by that, and by nothing far away."""
    points = HEAD.landmarks478(HEAD.mean[None])[0].double().numpy()
    away = points - points[LEFT_IRIS]
    near = np.exp(-(((away**2).sum(1) / 0.03**2) ** 4))[:, None]
    maps = local_maps(points, points + near * away, FitConfig(stiff=1e-6))
    np.testing.assert_allclose(maps[LEFT_IRIS] @ [1, 0, 0], [2, 0, 0], atol=0.1)
    np.testing.assert_allclose(maps[LEFT_IRIS] @ [0, 1, 0], [0, 2, 0], atol=0.2)
    np.testing.assert_allclose(maps[61], np.eye(3), atol=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_noise_is_not_made_larger(noise: float) -> None:
    """Weights change from frame to frame by no more than the curves do."""
    names = ("jawOpen", "mouthFunnel", "mouthPucker", "mouthSmileLeft", "mouthDimpleLeft", "mouthPressLeft")
    made = character(np.stack([row(name) for name in names]), names)
    rng = np.random.default_rng(0)
    curves = {name: (v + noise * rng.normal(size=len(v))).clip(0, 1) for name, v in waves(list(names)).items()}
    weights = drive(made, curves, HEAD)
    ours = np.stack([curves[name] for name in names], 1)
    assert np.abs(np.diff(weights, axis=0)).mean() <= 1.05 * np.abs(np.diff(ours, axis=0)).mean()
