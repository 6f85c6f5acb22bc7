"""Which frames count as pictures of their own."""

from collections.abc import Callable

import numpy as np

from selftrack.tracker.makehuman.pictures import EXPRESSION, TURN, pictures
from selftrack.tracker.makehuman.reading import MANY
from selftrack.tracker.results.track_file import Track


def test_frames_that_look_alike_are_one_picture(make_track: Callable[..., Track]) -> None:
    assert pictures(make_track(np.arange(14) / 24)) == 1
    nearly = np.radians(0.4 * TURN) * np.sin(np.arange(14))
    assert pictures(make_track(np.arange(14) / 24, ry=nearly)) == 1
    assert pictures(make_track(np.arange(14) / 24, {"eyeLookInLeft": np.linspace(0, 1, 14)})) == 1


def test_every_other_turn_or_expression_is_another(make_track: Callable[..., Track]) -> None:
    turns = np.repeat(np.radians(1.1 * TURN * np.arange(4)), 3)
    assert pictures(make_track(np.arange(12) / 24, ry=turns)) == 4
    assert pictures(make_track(np.arange(12) / 24, rx=turns)) == 4
    assert pictures(make_track(np.arange(12) / 24, rz=turns)) == 1  # the face is looked at upright
    opened = {"jawOpen": np.array([0, 1.1 * EXPRESSION, 0, 1.1 * EXPRESSION])}
    assert pictures(make_track(np.arange(4) / 24, opened)) == 2
    assert pictures(make_track(np.arange(4) / 24, opened, lost=[1, 3])) == 1


def test_no_more_count_than_say_something_new(make_track: Callable[..., Track]) -> None:
    assert pictures(make_track(np.arange(300) / 24, ry=np.linspace(-1, 1, 300))) == MANY
