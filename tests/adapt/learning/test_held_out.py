"""What is compared of held-out errors."""

import numpy as np

from selftrack.adapt.learning.held_out import HeldOut


def test_ratios_leave_the_landmarks_out() -> None:
    np.testing.assert_allclose(HeldOut(0.25, 0.012, 9.0).relative_to(HeldOut(0.5, 0.01, 1.0)), [0.5, 1.2])


def test_what_was_not_known_does_not_count_and_what_is_lost_is_infinitely_worse() -> None:
    ratios = HeldOut(0.4, np.nan, 1.0).relative_to(HeldOut(np.nan, 0.01, 1.0))
    assert np.isnan(ratios[0]) and ratios[1] == np.inf
