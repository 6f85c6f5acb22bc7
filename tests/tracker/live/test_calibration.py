"""A person whose rest is not that of the mean head, drawn as points of the bundled head: the curves come to 0."""

from collections.abc import Callable

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.live.calibration import Calibration, can_rest
from selftrack.tracker.tracker import Tracker

RATE = 30


class FakeTracker:
    """Reads what a face does above the rest that it is told, less a share that it never sees."""

    def __init__(self, face: dict[str, float], seen: float = 0.7) -> None:
        self.face = np.array([face.get(name, 0.0) for name in ARKIT_NAMES])
        self.rest, self.seen = np.zeros(52, np.float32), seen
        self.said, self.said_at_rest = np.zeros(52), None

    def rest_on(self, rest: np.ndarray, said: np.ndarray | None = None) -> None:
        self.rest, self.said_at_rest = rest.astype(np.float32), said

    def result(self, time: float, ok: bool = True, **more: float) -> object:
        acts = self.seen * (self.face - self.rest).clip(0, 1) + [more.get(name, 0.0) for name in ARKIT_NAMES]
        self.said = self.face / 2
        curves = dict(zip(ARKIT_NAMES, acts.clip(0, 1).tolist(), strict=True))
        return type("Result", (), {"time": time, "ok": ok, "curves": curves})


def run(tracker: FakeTracker, calibration: Calibration, start: float, seconds: float, **more: float) -> list[float]:
    """The times of the frames at which it was done."""
    times = start + np.arange(round(seconds * RATE) + 1) / RATE
    return [time for time in times if calibration.add(tracker.result(time, **more))]


def test_what_is_left_comes_to_nothing() -> None:
    """Of a share s that is read, two parts leave (1 - s)^2 of the rest; what the network says of it is told, too."""
    tracker = FakeTracker({"browInnerUp": 0.4, "mouthPucker": 0.2, "jawOpen": 0.1})
    calibration = Calibration(tracker, 3.0)
    assert not run(tracker, calibration, 0.0, 2.0)  # not before it begins
    calibration.begin()
    (done,) = run(tracker, calibration, 10.0, 4.0)
    assert 13.0 <= done < 13.2 and not calibration.runs
    left = tracker.face - tracker.rest
    np.testing.assert_allclose(left, 0.3**2 * tracker.face, atol=1e-6)
    np.testing.assert_allclose(tracker.said_at_rest, tracker.face / 2)


def test_eyes_and_a_blink_have_no_part() -> None:
    tracker = FakeTracker({"eyeBlinkLeft": 0.3, "eyeLookDownLeft": 0.4, "eyeSquintRight": 0.2, "mouthPucker": 0.3})
    calibration = Calibration(tracker, 3.0)
    calibration.begin()
    for i in range(100):
        talks = 0.6 if i % 10 < 3 else 0.0  # less than half of the time
        calibration.add(tracker.result(i / RATE, jawOpen=talks))
    rest = dict(zip(ARKIT_NAMES, tracker.rest.tolist(), strict=True))
    assert rest.pop("mouthPucker") == pytest.approx(0.3 * (1 - 0.3**2), abs=1e-6)
    assert not any(rest.values())


def test_time_without_a_face_does_not_count() -> None:
    tracker = FakeTracker({"mouthPucker": 0.3})
    calibration = Calibration(tracker, 3.0)
    calibration.begin()
    assert not run(tracker, calibration, 0.0, 1.9)
    for i in range(300):
        assert not calibration.add(tracker.result(2 + i / RATE, ok=False))
    (done,) = run(tracker, calibration, 12.0, 2.0)
    assert 13.0 <= done < 13.3


def test_begun_again_it_forgets_the_rest_before() -> None:
    tracker = FakeTracker({"mouthSmileLeft": 0.5})
    calibration = Calibration(tracker, 3.0)
    calibration.begin()
    run(tracker, calibration, 0.0, 4.0)
    tracker.face = np.zeros(52)  # that was no rest
    calibration.begin()
    assert len(run(tracker, calibration, 5.0, 4.0)) == 1
    assert not tracker.rest.any() and not tracker.said_at_rest.any()


def test_a_model_without_a_rest(fake_model: Callable) -> None:
    assert not can_rest(Tracker(fake_model()))
