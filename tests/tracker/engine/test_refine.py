"""The refinement in torch against the one in NumPy, frame by frame, on made-up faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.tracker.engine.refine import Guess, Last, Mouth, RefineStep, to_controls
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.motion import load_motion
from selftrack.tracker.refinement.mouth import LOWER_LIP_MIDDLE, UPPER_LIP_MIDDLE, Teeth
from selftrack.tracker.refinement.refiner import Before, Refined, Refiner

REFINER = Refiner(load_head())
ADAPTED = REFINER.adapted()
POSE = np.array([7.2, 0.1, -0.3, 0.05, 320.0, 240.0])


def acting(seed: int) -> tuple[np.random.Generator, np.ndarray]:
    """Random numbers, and controls (47,) of which many are at their bounds."""
    rng = np.random.default_rng(seed)
    return rng, controls.within(np.where(rng.uniform(size=controls.COUNT) < 0.4, rng.uniform(-1, 1, controls.COUNT), 0))


def in_torch(
    refiner: Refiner,
    points: np.ndarray,
    network: Refined,
    face: np.ndarray,
    before: Before | None,
    teeth: Teeth | None = None,
) -> tuple:
    """The twin's answer to the same question: the frame, and the covariance of its controls."""

    def guess(frame: Refined) -> Guess:
        return Guess(torch.from_numpy(frame.controls), torch.from_numpy(frame.pose))

    known = before or Before(Refined(0 * network.controls, 0 * network.pose), 0.0, np.zeros(3))
    seconds, follows = (torch.tensor(x, dtype=torch.float64) for x in (known.seconds, float(before is not None)))
    last = Last(guess(known.frame), torch.from_numpy(known.gaze), seconds, follows)
    lens = torch.tensor(refiner.inverse_distance, dtype=torch.float64)
    step = RefineStep(refiner).double()
    mouth = Mouth(*torch.tensor(teeth or Teeth(), dtype=torch.float64))
    found, covariance = step(torch.from_numpy(points), guess(network), torch.from_numpy(face.T), lens, last, mouth)
    return Refined(found.controls.numpy(), found.pose.numpy()), covariance


@pytest.mark.parametrize("refiner", [REFINER, ADAPTED], ids=["as it is", "adapted"])
@pytest.mark.parametrize("lens", [0.0, 1.5])
@pytest.mark.parametrize("seconds", [None, 1 / 30, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_as_in_numpy(refiner: Refiner, lens: float, seconds: float | None, seed: int) -> None:
    """Also with shut lids, whose gaze is held, lips that touch, teeth, and controls that exclude each other."""
    rng, acts = acting(seed)
    refiner = refiner.through(lens)
    face = refiner.face(rng.normal(size=len(refiner.people[0])))
    points = refiner.place(Refined(acts, POSE), face) + rng.normal(size=(478, 2))
    if seed == 2:
        points[[159, 386]] = points[[145, 374]] + (0, 0.5)
        points[UPPER_LIP_MIDDLE] = points[LOWER_LIP_MIDDLE] - (0, 2.5)
    teeth = Teeth(0.4, 3.0, 9.0) if seed == 1 else None
    network = Refined(controls.within(acts + rng.normal(size=len(acts)) * 0.2), POSE + rng.normal(size=6) * 0.02)
    before = None
    if seconds is not None:
        earlier = Refined(controls.within(acts + rng.normal(size=len(acts)) * 0.1), POSE + rng.normal(size=6) * 0.02)
        before = Before(earlier, seconds, rng.uniform(-0.3, 0.3, 3))
    expected = refiner(points, network, face, before, teeth=teeth)
    found, _ = in_torch(refiner, points, network, face, before, teeth)
    np.testing.assert_allclose(found.controls, expected.controls, atol=1e-5)
    np.testing.assert_allclose(found.pose, expected.pose, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_controls_nearest_to_curves(seed: int) -> None:
    curves = np.random.default_rng(seed).uniform(-0.3, 1.3, 52)
    np.testing.assert_allclose(to_controls(torch.from_numpy(curves)), controls.to_controls(curves), atol=1e-9)


def test_points_make_curves_surer_and_shut_lids_a_blink_surest() -> None:
    """No deviation is over that of real motion; that of a blink whose lids are surely shut is the setting's."""
    points = REFINER.place(Refined(np.zeros(controls.COUNT), POSE), REFINER.mean)
    network = Refined(np.zeros(controls.COUNT), POSE)
    _, opened = in_torch(REFINER, points, network, REFINER.mean, None)
    prior = load_motion().covariance() / REFINER.config.prior
    assert (opened.diagonal().numpy() < prior.diagonal() + 1e-9).all()
    points[[159, 386]] = points[[145, 374]]
    _, shut = in_torch(REFINER, points, network, REFINER.mean, None)
    blink = controls.NAMES.index("eyeBlinkLeft")
    assert shut[blink, blink].sqrt() <= REFINER.config.blink < opened[blink, blink].sqrt()
