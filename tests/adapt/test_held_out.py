"""What is compared of held-out errors, and when adaptation has helped."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from selftrack.adapt import run
from selftrack.adapt.held_out import HeldOut
from selftrack.adapt.trainer import AdaptConfig, Tracked

BEFORE = HeldOut(skin=0.5, texture=0.01, landmarks=1.0)


def test_ratios_leave_the_landmarks_out() -> None:
    np.testing.assert_allclose(HeldOut(0.25, 0.012, 9.0).relative_to(BEFORE), [0.5, 1.2])


def test_what_was_not_known_does_not_count_and_what_is_lost_is_infinitely_worse() -> None:
    ratios = HeldOut(0.4, np.nan, 1.0).relative_to(HeldOut(np.nan, 0.01, 1.0))
    assert np.isnan(ratios[0]) and ratios[1] == np.inf


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
    monkeypatch.setattr(run, "held_out_error", lambda *_: HeldOut(skin, texture, 1.0))
    trainer = SimpleNamespace(report_rows=None, keyed=Tracked(None, None))
    ended = SimpleNamespace(
        trainer=trainer, windows=[], before=BEFORE, best_step=50, step=100, config=AdaptConfig(worse=0.1)
    )
    assert run.judge(ended, None).kept is kept


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
    monkeypatch.setattr(run, "held_out_error", lambda *_: network)
    trainer = SimpleNamespace(report_rows=None, select_rows=None, keyed=Tracked(None, "keys"))
    keyed = HeldOut(0.4, 0.01, 1.0)
    ended = SimpleNamespace(trainer=trainer, windows=[], best_step=50, step=100, config=AdaptConfig(worse=0.1))
    ended.before = ended.all_before = BEFORE
    ended.keyed = ended.all_keyed = keyed
    verdict = run.judge(ended, None)
    assert verdict.trained is trained and verdict.kept is kept
    assert verdict.after is (network if trained else keyed)
