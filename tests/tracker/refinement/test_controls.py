"""Curves and the controls that move a face: one gaze, bounds, and the gradient at them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.motion import load_motion


def curve(values: np.ndarray, name: str) -> np.ndarray:
    return values[..., ARKIT_NAMES.index(name)]


@pytest.fixture
def some() -> np.ndarray:
    """(200,47) controls within their bounds."""
    return controls.within(np.random.default_rng(0).uniform(controls.LOWER, controls.UPPER, (200, controls.COUNT)))


def test_there_and_back(some: np.ndarray) -> None:
    some[:, controls.SIDE] *= 0.6  # no eye at the end of its range
    np.testing.assert_allclose(controls.to_controls(controls.to_curves(some)), some, atol=1e-12)


def test_both_eyes_look_at_one_point(some: np.ndarray) -> None:
    curves = controls.to_curves(some)
    assert curves.min() >= 0 and curves.max() <= 1
    for side in ("Left", "Right"):
        for way, back in (("Out", "In"), ("Up", "Down")):
            assert np.minimum(curve(curves, f"eyeLook{way}{side}"), curve(curves, f"eyeLook{back}{side}")).max() == 0
    for way in ("Up", "Down"):
        np.testing.assert_array_equal(curve(curves, f"eyeLook{way}Left"), curve(curves, f"eyeLook{way}Right"))
    left, right = (curve(curves, f"eyeLookOut{s}") - curve(curves, f"eyeLookIn{s}") for s in ("Left", "Right"))
    assert (left + right).max() < 1e-12  # they converge or are parallel
    # a look to the subject's left: the left eye outwards, the right one inwards
    look = np.zeros(controls.COUNT)
    look[controls.SIDE] = 0.5
    assert curve(controls.to_curves(look), "eyeLookOutLeft") == curve(controls.to_curves(look), "eyeLookInRight") == 0.5


def test_lips_close_no_more_than_the_jaw_opens(some: np.ndarray) -> None:
    curves = controls.to_curves(some)
    jaw, close = curve(curves, "jawOpen"), curve(curves, "mouthClose")
    assert (close <= jaw).all() and jaw.max() == 1 and np.ptp(close) > 0.9
    wild = np.zeros((2, len(ARKIT_NAMES)))
    wild[:, ARKIT_NAMES.index("jawOpen")], wild[:, ARKIT_NAMES.index("mouthClose")] = (0.6, 0.1), (0.2, 0.3)
    nearest = controls.to_curves(controls.to_controls(wild))  # of the second, on the line where both are equal
    np.testing.assert_allclose(curve(nearest, "jawOpen"), [0.6, 0.2], atol=1e-12)
    np.testing.assert_allclose(curve(nearest, "mouthClose"), [0.2, 0.2], atol=1e-12)


def test_slopes_are_derivatives(some: np.ndarray) -> None:
    step = 1e-6
    for now in some[:20] * 0.9:
        for k in range(controls.COUNT):
            ahead = now.copy()
            ahead[k] += step
            change = (controls.to_curves(ahead) - controls.to_curves(now)) / step
            np.testing.assert_allclose(controls.slopes(now)[k], change, atol=1e-6)


def test_bound_is_the_nearest_that_controls_make() -> None:
    wild = np.random.default_rng(1).normal(0.3, 0.6, (50, 52))
    expected = controls.to_curves(controls.to_controls(wild))
    np.testing.assert_allclose(controls.bound(torch.from_numpy(wild)).numpy(), expected, atol=1e-12)


def test_gradient_leads_back_from_beyond_a_bound() -> None:
    row = ARKIT_NAMES.index("jawOpen")
    curves = torch.zeros(2, 52, dtype=torch.float64)
    curves[:, row] = torch.tensor([1.5, -0.5])
    curves.requires_grad_()
    controls.bound(curves)[:, row].sum().backward()  # downwards: back into range from above, no farther from below
    assert curves.grad[0, row] == pytest.approx(1) and curves.grad[1, row] == 0


def test_motion_is_of_a_mirrored_face() -> None:
    motion = load_motion()
    names = list(controls.NAMES)
    assert np.linalg.eigvalsh(motion.covariance()).min() > 0
    assert (np.delete(motion.covariance().diagonal(), controls.NAMES.index("tongueOut")) >= 0.1**2).all()
    for name in names:
        if name.endswith("Left"):
            left, right = names.index(name), names.index(name.removesuffix("Left") + "Right")
            if name.startswith(("jaw", "mouthLeft")):
                continue
            assert abs(motion.deviation[left] - motion.deviation[right]) < 1e-5
            assert abs(motion.speed[left] - motion.speed[right]) < 1e-4 * motion.speed[left] + 1e-5
    smile, other = names.index("mouthSmileLeft"), names.index("mouthSmileRight")
    assert motion.correlation[smile, other] > 0.8
