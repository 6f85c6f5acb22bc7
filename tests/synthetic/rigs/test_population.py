"""People of a rig: where the detector's points lie on it, and which of the head's identities they are nearest to.

The rig here is the head's own mesh, so that both are known.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import EARS, FACE_OVAL
from selftrack.synthetic.rigs import points
from selftrack.synthetic.rigs.ict import read_ict
from selftrack.synthetic.rigs.points import place_points
from selftrack.synthetic.rigs.population import RigPopulation
from selftrack.synthetic.studio import Studio

HEAD = load_head()
OWN = HEAD.landmarks478.triangles.numpy(), HEAD.landmarks478.weights.numpy()


def test_points_are_placed_where_the_heads_own_are(ict: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "PEOPLE", 3)
    rig = read_ict(ict, HEAD)
    corners, weights = place_points(rig)
    placed = (rig.neutral[corners] * weights[..., None]).sum(1)
    off = 1000 * np.linalg.norm(placed - HEAD.landmarks478(HEAD.mean[None])[0].numpy(), axis=1)
    inside = np.setdiff1d(np.arange(478), [*FACE_OVAL, *EARS])
    assert np.median(off[inside]) < 2.5 and np.quantile(off[inside], 0.95) < 10
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


def test_the_nearest_identity_is_the_own_one(ict: Path) -> None:
    """The rig's three components are the head's first three."""
    population = RigPopulation(read_ict(ict, HEAD), HEAD, OWN)
    person = population.sample(np.random.default_rng(1))
    away = person.rig.neutral - population.rig.neutral
    shapes = HEAD.shapes[:3].numpy().reshape(3, -1)
    code = np.linalg.lstsq(shapes.T, away.ravel(), rcond=None)[0]
    expected = HEAD.landmarks478(HEAD.mean[None] + torch_dot(code))[0].numpy()
    found = HEAD.landmarks478(HEAD.mean[None] + torch_dot(person.identity))[0].numpy()
    mean = HEAD.landmarks478(HEAD.mean[None])[0].numpy()
    assert np.linalg.norm(found - expected, axis=1).mean() < 0.4 * np.linalg.norm(mean - expected, axis=1).mean()


def torch_dot(code: np.ndarray) -> torch.Tensor:
    """What identity components (K,) add to the mean (V,3)."""
    shapes = HEAD.shapes[: len(code)]
    return (shapes * shapes.new_tensor(code)[:, None, None]).sum(0)


def test_the_studio_takes_pictures_of_them(ict: Path) -> None:
    population = RigPopulation(read_ict(ict, HEAD), HEAD, OWN)
    studio = Studio(HEAD, people=population)
    rng = np.random.default_rng(0)
    person = population.sample(rng)
    shots = [studio.shoot(np.random.default_rng(5), person, curves) for curves in (np.zeros(52), np.eye(52)[17])]
    assert shots[0].picture.shape == (192, 192, 3) and shots[0].picture.std() > 10
    moved = np.linalg.norm(shots[1].points - shots[0].points, axis=1)
    assert HEAD.expression_names[17] == "jawOpen" and moved[152] > 5 and moved.min() < moved[152]  # the chin
    assert person.identity.shape == (60,) and person.appearance.shape == (16,)
