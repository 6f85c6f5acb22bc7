"""How real faces move: what the moments of recordings say, and what they must not say."""

import numpy as np
import pytest

from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.motion import LEAST, OWN, load_motion

GAZE = np.arange(controls.COUNT)[controls.GAZE]
LIDS = np.array([i for i, name in enumerate(controls.NAMES) if name.startswith("eye")])
OTHERS = np.setdiff1d(np.arange(controls.COUNT), [*GAZE, *LIDS])


@pytest.fixture(scope="module")
def covariance() -> np.ndarray:
    return load_motion().covariance()


def test_the_covariance_is_one(covariance: np.ndarray) -> None:
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
    assert np.linalg.eigvalsh(covariance).min() > OWN**2 / 2


def test_variances_are_those_of_recordings_but_for_the_least(covariance: np.ndarray) -> None:
    expected = np.maximum(load_motion().deviation, LEAST) ** 2 + OWN**2
    np.testing.assert_allclose(covariance.diagonal(), expected)


def test_brows_and_mouth_say_nothing_of_the_gaze_beyond_the_lids(covariance: np.ndarray) -> None:
    """The gaze expected from the lids and all else is that from the lids alone."""
    known = np.concatenate([LIDS, OTHERS])
    by_all = np.linalg.solve(covariance[np.ix_(known, known)], covariance[np.ix_(known, GAZE)])
    by_lids = np.linalg.solve(covariance[np.ix_(LIDS, LIDS)], covariance[np.ix_(LIDS, GAZE)])
    np.testing.assert_allclose(by_all[len(LIDS) :], 0, atol=1e-9)
    np.testing.assert_allclose(by_all[: len(LIDS)], by_lids, atol=1e-9)
    assert np.abs(by_lids).max() > 0.1  # lids do say something of it


def test_within_the_face_all_is_as_in_recordings(covariance: np.ndarray) -> None:
    spread = np.maximum(load_motion().deviation, LEAST)
    for rows, columns in ((LIDS, LIDS), (LIDS, OTHERS), (OTHERS, OTHERS), (GAZE, LIDS), (GAZE, GAZE)):
        expected = (load_motion().correlation * np.outer(spread, spread))[np.ix_(rows, columns)]
        own = OWN**2 * (rows[:, None] == columns[None])
        np.testing.assert_allclose(covariance[np.ix_(rows, columns)], expected + own, atol=1e-12)
