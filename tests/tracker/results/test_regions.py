"""Curves of hidden regions hold; confidence by region, against closed forms."""

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.results import regions
from selftrack.tracker.results.regions import PARTS, REGIONS, Hold, held, region_confidence, seen

JAW, BLINK_LEFT, BLINK_RIGHT, LOOK = (
    ARKIT_NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookInLeft")
)
BROW_INNER, BROW_LEFT = ARKIT_NAMES.index("browInnerUp"), ARKIT_NAMES.index("browDownLeft")


def visible(**parts: float) -> np.ndarray:
    """Shares (6,), all of what is not named."""
    return np.array([parts.get(part, 1.0) for part in PARTS])


def test_each_curve_is_read_from_its_parts() -> None:
    assert (seen(visible()) == 1).all()
    mouth = seen(visible(mouth=0.0))
    lower = [name.startswith(("mouth", "jaw", "tongue", "cheekPuff", "noseSneer")) for name in ARKIT_NAMES]
    np.testing.assert_array_equal(mouth == 0, lower)
    left = seen(visible(eyeLeft=0.0, browLeft=0.0))
    assert (left[BLINK_LEFT], left[BLINK_RIGHT], left[LOOK], left[BROW_INNER], left[BROW_LEFT]) == (0, 1, 1, 1, 0)
    assert (seen(visible(eyeLeft=0.0, eyeRight=0.0))[[LOOK, BLINK_LEFT]] == 0).all()
    assert seen(visible(mouth=0.55))[JAW] == pytest.approx(0.5)


def test_a_region_is_held_where_one_of_its_curves_is() -> None:
    shares = np.random.default_rng(0).random((500, 6))
    eyes = [name.startswith(("eye", "cheekSquint")) for name in ARKIT_NAMES]
    brows = [name.startswith("brow") for name in ARKIT_NAMES]
    mouth = [not (eye or brow) for eye, brow in zip(eyes, brows, strict=True)]
    hidden = seen(shares) < 0.5
    expected = np.stack([hidden[:, own].any(1) for own in (eyes, brows, mouth)], 1)
    np.testing.assert_array_equal(held(shares), expected)
    assert expected.any(0).all() and not expected.all(0).any()
    np.testing.assert_array_equal(held(shares[3]), expected[3])


def test_a_hidden_mouth_holds_its_last_sure_value_and_returns() -> None:
    hold, curves = Hold(), np.zeros(52)
    curves[[JAW, BLINK_LEFT]] = 0.6, 0.2
    assert hold(curves, visible(), 0.0)[JAW] == 0.6
    unsure = curves.copy()
    unsure[JAW] = 0.9  # a hand begins to cover it: not remembered
    assert hold(unsure, visible(mouth=0.75), 0.1)[JAW] == pytest.approx(0.9)
    invented = np.full(52, 0.4)
    out = hold(invented, visible(mouth=0.1), 0.2)
    assert out[JAW] == pytest.approx(0.6) and out[BLINK_LEFT] == pytest.approx(0.4)
    later = [hold(invented, visible(), 0.2 + 0.05 * step)[JAW] for step in (1, 2, 3, 4)]
    np.testing.assert_allclose(later, [0.6 - 0.2 / 3, 0.6 - 0.4 / 3, 0.4, 0.4], atol=1e-6)


def test_what_was_never_seen_is_at_rest() -> None:
    assert Hold()(np.full(52, 0.4), visible(eyeLeft=0, eyeRight=0), 0.0)[LOOK] == 0


def test_the_hold_counts_seconds() -> None:
    """The same motion at twice the rate returns by the same way."""
    ends = []
    for rate in (30, 60):
        hold = Hold()
        hold(np.zeros(52), visible(), 0.0)
        hold(np.ones(52), visible(mouth=0.0), 1 / rate)
        ends.append([hold(np.ones(52), visible(), 1 / rate + k / rate)[JAW] for k in range(1, rate // 10 + 1)][-1])
    assert ends[0] == pytest.approx(ends[1]) and 0 < ends[0] < 1


def test_held_regions() -> None:
    shares = np.stack([visible(), visible(mouth=0.3), visible(eyeLeft=0.2), visible(browLeft=0.1, browRight=0.1)])
    expected = [[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(held(shares), np.array(expected, bool))


def test_confidence_is_the_logistic_of_its_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "_fitted", lambda: {region: [0.5, 2.0, 1.0] for region in REGIONS})
    shares, confidence = np.stack([visible(mouth=0.8, eyeLeft=0.3), visible(), visible()]), np.array([0.8, 0.9, 0.9])
    told = region_confidence(shares, confidence, np.array([True, True, False]))
    odds = np.exp(0.5) * (0.8 / 0.2) ** 2 * (0.8 / 0.2)
    assert told["mouth"][0] == pytest.approx(odds / (1 + odds), rel=1e-5)
    odds = np.exp(0.5) * (0.3 / 0.7) ** 2 * (0.8 / 0.2)
    assert told["eyes"][0] == pytest.approx(0.3 * odds / (1 + odds), rel=1e-5)  # held: the eye that is seen less
    assert set(told) == set(REGIONS) and all(values[2] == 0 for values in told.values())


def test_the_bundled_confidence_tells_seen_from_hidden() -> None:
    shares = np.stack([visible(), visible(mouth=0.05, face=0.8)])
    told = region_confidence(shares, np.array([0.9, 0.9]), np.ones(2, bool))
    assert all(values[0] > 0.85 for values in told.values())
    assert told["mouth"][1] < 0.5 < 0.8 < told["eyes"][1]


def test_of_two_sides_the_hidden_one_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "_fitted", lambda: {region: [3.0, 0.0, 0.0] for region in REGIONS})
    shares = np.stack([visible(), visible(eyeLeft=0.1), visible(browLeft=0.1, browRight=0.2), visible(mouth=0.2)])
    doubts = regions.doubtful(shares, np.full(4, 0.9), np.ones(4, bool))
    expected = [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]
    np.testing.assert_array_equal(doubts, np.array(expected, bool))


def test_spans_join_what_is_near_and_leave_out_what_is_short() -> None:
    times = np.arange(30) / 10
    flags = np.zeros(30, bool)
    flags[[2, 3, 4, 6, 7, 12, 20, 21, 22, 23]] = True
    assert regions.spans(times, flags) == [(0.2, 0.7), (2.0, 2.3)]
    assert regions.spans(times, ~flags & flags) == []
