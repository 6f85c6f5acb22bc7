"""Labelled closures of the eyes."""

import numpy as np

from selftrack.eval.meaning.closures import Closure, judge, read_labels


def test_labels_are_in_order() -> None:
    for closures in read_labels().values():
        for closure in closures:
            assert closure.first <= closure.deepest <= closure.last < closure.first + 20
        assert closures == sorted(closures)


def test_depth_lag_and_open_eyes() -> None:
    blink = np.full(40, 0.1)
    blink[9:14] = 0.5, 0.8, 1.0, 0.6, 0.3  # the largest a frame late
    curves = {"eyeBlinkLeft": blink, "eyeBlinkRight": blink * 0.9}
    curves |= {f"eyeLookDown{side}": np.full(40, 0.2) for side in ("Left", "Right")}
    (seen,), opened = judge(curves, [Closure(9, 10, 12)])
    assert abs(seen.blink - 0.72) < 1e-9 and seen.look_down == 0.2 and seen.lag == 1
    assert len(opened) == 40 - 8 and opened.max() == 0.1
