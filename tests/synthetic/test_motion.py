"""Motion of synthetic actors: smooth, plausible, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from selftrack.synthetic.motion import INDEX, Motion, MotionConfig, ease, sample_motion, wander

FINE = np.arange(0, 20, 1 / 240)


def motion(seed: int = 0, times: np.ndarray = FINE) -> Motion:
    return sample_motion(np.random.default_rng(seed), times, 20.0)


def test_poses_are_eased_between_from_rest_to_rest() -> None:
    times = np.array([0.0, 1.0, 1.1, 1.2, 1.4, 2.9, 3.0, 4.0, 9.0])
    got = ease(times, np.array([1.0, 3.0]), np.array([0.4, 2.0]), np.array([[0.0], [1.0], [-1.0]]))[:, 0]
    x = 0.25  # of the first change at 1.1 s
    quintic = 10 * x**3 - 15 * x**4 + 6 * x**5
    assert got == pytest.approx([0, 0, quintic, 0.5, 1, 1, 1, 0, -1])
    step = 1e-4
    moments = np.array([1.0, 1.0 + step, 1.4 - step, 1.4])
    begin, soon, late, end = ease(moments, np.array([1.0]), np.array([0.4]), np.array([[0.0], [1.0]]))[:, 0]
    assert soon - begin < 1e-9 and end - late < 1e-9


def test_wandering_has_its_band_and_its_strength() -> None:
    times = np.arange(0, 400, 0.05)
    values = wander(np.random.default_rng(0), times, 20, 0.5, 1.5)
    assert np.sqrt((values**2).mean()) == pytest.approx(1, rel=0.05)
    power = (np.abs(np.fft.rfft(values * np.hanning(len(times))[:, None], axis=0)) ** 2).sum(1)
    frequency = np.fft.rfftfreq(len(times), 0.05)
    assert power[(frequency > 0.45) & (frequency < 1.55)].sum() > 0.999 * power.sum()


def test_motion_does_not_jump() -> None:
    acted = motion()
    step = np.abs(np.diff(acted.curves, axis=0)).max()
    # nothing is faster than a change of 1 within a third of the shortest blink or within a saccade of 30 ms
    assert step < 1.875 / 0.03 / 240
    assert np.degrees(np.abs(np.diff(acted.angles, axis=0)).max() * 240) < 200
    assert 1000 * np.abs(np.diff(acted.offset, axis=0)).max() * 240 < 200


def test_blinks_last_as_long_as_blinks() -> None:
    config = MotionConfig()
    durations = []
    for seed in range(4, 8):
        shut = motion(seed).curves[:, INDEX["eyeBlinkLeft"]] > 0  # open at first: a blink every two edges
        edges = np.flatnonzero(np.diff(shut.astype(int)))
        durations += (np.diff(edges)[::2] / 240).tolist()
    assert len(durations) > 8
    assert min(durations) > config.blink[0] - 0.03 and max(durations) < config.blink[1] + 0.03


def test_values_are_arkit_values_and_eyes_look_one_way() -> None:
    for seed in range(5):
        curves = motion(seed).curves
        assert curves.min() >= 0 and curves.max() <= 1
        assert (curves[:, INDEX["mouthClose"]] <= curves[:, INDEX["jawOpen"]]).all()
        # one eye looks in as far as the other looks out
        assert curves[:, INDEX["eyeLookInLeft"]] == pytest.approx(curves[:, INDEX["eyeLookOutRight"]])
        assert (curves[:, INDEX["eyeLookUpLeft"]] * curves[:, INDEX["eyeLookDownLeft"]] == 0).all()


def test_instants_do_not_depend_on_which_others_are_asked_for() -> None:
    every, some = motion(3), motion(3, FINE[::-7])
    assert some.curves == pytest.approx(every.curves[::-7])
    assert some.angles == pytest.approx(every.angles[::-7])
    assert every.part(slice(2, 5)).offset == pytest.approx(every.offset[2:5])
