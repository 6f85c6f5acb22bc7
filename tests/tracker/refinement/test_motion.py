"""How real faces move: what the moments of recordings say, and what they must not say."""

import numpy as np
import pytest

from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.motion import LEAST, ONE_SIDED, OWN, SIDED, TONGUE, load_motion

GAZE = np.arange(controls.COUNT)[controls.GAZE]
LIDS = np.array([i for i, name in enumerate(controls.NAMES) if name.startswith("eye")])
OTHERS = np.setdiff1d(np.arange(controls.COUNT), [*GAZE, *LIDS])


SIDES = [[controls.NAMES.index(act + side) for side in ("Left", "Right")] for act in ONE_SIDED]


@pytest.fixture(scope="module")
def covariance() -> np.ndarray:
    return load_motion().covariance()


def recorded() -> np.ndarray:
    """What recordings say, with the least deviation, each control's own, and sides that differ (47,47)."""
    spread = np.maximum(load_motion().deviation, LEAST)
    spread[TONGUE] = 0
    expected = load_motion().correlation * np.outer(spread, spread) + OWN**2 * np.eye(controls.COUNT)
    for left, right in SIDES:
        expected[[left, right], [left, right]] += SIDED**2 / 4
        expected[[left, right], [right, left]] -= SIDED**2 / 4
    return expected


def test_the_covariance_is_one(covariance: np.ndarray) -> None:
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
    assert np.linalg.eigvalsh(covariance).min() > OWN**2 / 2


def test_variances_are_those_of_recordings_but_for_the_least(covariance: np.ndarray) -> None:
    np.testing.assert_allclose(covariance.diagonal(), recorded().diagonal())


def test_sides_differ_by_what_is_said_and_their_sum_is_as_recorded(covariance: np.ndarray) -> None:
    for left, right in SIDES:
        both, alone = covariance[np.ix_([left, right], [left, right])], np.array([1, -1])
        assert alone @ both @ alone >= SIDED**2 + 2 * OWN**2
        spread = np.maximum(load_motion().deviation, LEAST)
        told = load_motion().correlation[left, right] * spread[left] * spread[right]
        assert both.sum() == pytest.approx(spread[left] ** 2 + spread[right] ** 2 + 2 * told + 2 * OWN**2)


def test_nothing_tells_of_the_tongue(covariance: np.ndarray) -> None:
    """A mouth that is wide open put it out: no point shows that it is in."""
    others = np.delete(covariance[TONGUE], TONGUE)
    assert not others.any() and covariance[TONGUE, TONGUE] == pytest.approx(OWN**2)


def test_brows_and_mouth_say_nothing_of_the_gaze_beyond_the_lids(covariance: np.ndarray) -> None:
    """The gaze expected from the lids and all else is that from the lids alone."""
    known = np.concatenate([LIDS, OTHERS])
    by_all = np.linalg.solve(covariance[np.ix_(known, known)], covariance[np.ix_(known, GAZE)])
    by_lids = np.linalg.solve(covariance[np.ix_(LIDS, LIDS)], covariance[np.ix_(LIDS, GAZE)])
    np.testing.assert_allclose(by_all[len(LIDS) :], 0, atol=1e-9)
    np.testing.assert_allclose(by_all[: len(LIDS)], by_lids, atol=1e-9)
    assert np.abs(by_lids).max() > 0.1  # lids do say something of it


def test_within_the_face_all_is_as_in_recordings(covariance: np.ndarray) -> None:
    for rows, columns in ((LIDS, LIDS), (LIDS, OTHERS), (OTHERS, OTHERS), (GAZE, LIDS), (GAZE, GAZE)):
        block = np.ix_(rows, columns)
        np.testing.assert_allclose(covariance[block], recorded()[block], atol=1e-12)
