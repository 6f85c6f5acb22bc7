"""When adaptation has helped, by held-out errors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from selftrack.adapt import verdict
from selftrack.adapt.learning.held_out import HeldOut
from selftrack.adapt.learning.trainer import AdaptConfig, Tracked

BEFORE = HeldOut(skin=0.5, texture=0.01, landmarks=1.0)


@pytest.mark.parametrize(
    ("skin", "texture", "kept"),
    [
        (0.4, 0.0105, True),  # a fifth better, a twentieth worse
        (0.4, 0.0115, False),  # a fifth better, but 15 % worse
        (0.48, 0.0108, False),  # worse on average
        (0.45, 0.009, True),
        (np.nan, 0.001, False),  # it has diverged
    ],
)
def test_adaptation_helped_if_better_on_average_and_neither_much_worse(
    monkeypatch: pytest.MonkeyPatch, skin: float, texture: float, kept: bool
) -> None:
    """Of a personal model, which has no key frames."""
    unadapted, tracked = (Tracked(name, None) for name in ("before", "after"))
    errors = {"before": BEFORE, "after": HeldOut(skin, texture, 1.0)}
    assert verdict.judge(ended(monkeypatch, errors, unadapted, unadapted), tracked).kept is kept


def ended(monkeypatch: pytest.MonkeyPatch, errors: dict[str, HeldOut], unadapted: Tracked, keyed: Tracked) -> object:
    """A run that has ended; errors are by what is said of the frames."""
    monkeypatch.setattr(verdict, "held_out_error", lambda trainer, rows, windows, tracked: errors[tracked.said])
    rows = dict.fromkeys(("select_rows", "report_rows", "all_rows"))
    afar = keyed._replace(said="afar") if keyed.keys else keyed
    trainer = SimpleNamespace(unadapted=unadapted, keyed=keyed, keyed_from_afar=lambda: afar, **rows)
    return SimpleNamespace(trainer=trainer, windows=[], best_step=50, step=100, config=AdaptConfig(worse=0.1))


@pytest.mark.parametrize(
    ("network", "trained", "kept"),
    [
        (HeldOut(0.3, 0.008, 1.05), True, True),  # better than key frames alone by a fifth
        (HeldOut(0.39, 0.0098, 1.0), False, True),  # a tie
        (HeldOut(0.3, 0.008, 1.2), False, True),  # better, but away from the landmarks
        (HeldOut(np.nan, 0.001, 1.0), False, True),  # it has diverged
    ],
)
def test_the_network_is_used_where_it_gains_on_key_frames(
    monkeypatch: pytest.MonkeyPatch, network: HeldOut, trained: bool, kept: bool
) -> None:
    keyed, afar = HeldOut(0.4, 0.01, 1.0), HeldOut(0.42, 0.01, 1.0)
    errors = {"before": BEFORE, "keyed": keyed, "network": network, "afar": afar}
    after = ended(monkeypatch, errors, Tracked("before", None), Tracked("keyed", None, "keys"))
    judged = verdict.judge(after, Tracked("network", None, "keys"))
    assert judged.trained is trained and judged.kept is kept
    assert judged.after is (network if trained else afar)


@pytest.mark.parametrize(
    ("afar", "against"),
    [
        (HeldOut(0.35, 0.01, 1.0), ""),  # a tie in one of them is no loss
        (HeldOut(0.35, 0.01, 1.4), ""),  # landmarks are followed less
        (HeldOut(0.35, 0.01, 2.0), "landmarks are worse by 100 %"),
        (HeldOut(0.55, 0.0085, 1.0), "skin is worse by 10 %"),
        (HeldOut(0.48, 0.01, 1.05), ""),  # a gain that is a tie, beside landmarks that are one
        (HeldOut(0.48, 0.01, 1.13), "skin and texture gain 2 %, and landmarks are worse by 13 %"),
        (HeldOut(0.5, 0.01, 0.5), "skin and texture are no better on average"),
    ],
)
def test_key_frames_alone_are_judged_by_those_far_away_and_the_line_has_the_reason(
    monkeypatch: pytest.MonkeyPatch, afar: HeldOut, against: str
) -> None:
    """Whatever the few held-out frames say."""
    errors = {"before": BEFORE, "keyed": HeldOut(0.9, 0.02, 3.0), "network": HeldOut(0.9, 0.02, 3.0), "afar": afar}
    after = ended(monkeypatch, errors, Tracked("before", None), Tracked("keyed", None, "keys"))
    judged = verdict.judge(after, Tracked("network", None, "keys"))
    assert judged.kept == (not against) and judged.report()["against"] == against
    assert str(judged).endswith(f"; {against}, so the un-adapted tracker is kept" if against else "as it was")
