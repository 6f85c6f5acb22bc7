"""Which faces are asked for: all that do not pass by, so many, or these."""

from dataclasses import replace

import pytest

from selftrack.errors import NoFaceError, UserError
from selftrack.tracker.clips.choice import check_choice, choose
from selftrack.tracker.landmarks.cast import CastFace

LONG = CastFace((), (0.0, 9.0), 100.0, seen=9.0)
BRIEF = replace(LONG, seen=0.9)


@pytest.mark.parametrize(
    "given, read",
    [
        ("all", "all"),
        ("2", 2),
        (2, 2),
        ("0,2", [0, 2]),
        (" 2, 0 ,2", [0, 2]),
        ([3, 1], [1, 3]),
        ([1], [1]),
        ((0,), [0]),
    ],
)
def test_what_is_asked_for(given: object, read: object) -> None:
    assert check_choice(given) == read


@pytest.mark.parametrize("given", ["", "some", "0", 0, "-1", "0,", "1,-2", "1.5", [], [-1], None, 1.5])
def test_what_is_no_choice(given: object) -> None:
    with pytest.raises(UserError, match="--faces takes all, how many of the first ones"):
        check_choice(given)


def test_all_are_those_who_do_not_pass_by() -> None:
    """A second is enough, or half of a clip that is shorter than two; nobody is left out of a clip of passers-by."""
    numbers, (note,) = choose([LONG, BRIEF, LONG], "all", "clip", 10.0)
    assert numbers == [0, 2] and "left out (seen for less than 1 s): 1 (0.0 to" in note and "--faces" in note
    numbers, (note,) = choose([LONG, BRIEF], "all", "clip", 1.5)
    assert numbers == [0, 1] and "3 faces" not in note and "left out" not in note
    assert choose([replace(BRIEF, seen=0.4), BRIEF], "all", "clip", 10.0)[0] == [1]
    assert choose([BRIEF], "all", "clip", None) == ([0], [])


def test_who_is_named_is_taken_however_short() -> None:
    assert choose([LONG, BRIEF, LONG], 2, "clip", 10.0)[0] == [0, 1]
    numbers, (note,) = choose([LONG, BRIEF, LONG], [1, 2], "clip", 10.0)
    assert numbers == [1, 2] and "left out: 0 (" in note


@pytest.mark.parametrize("choice, words", [(4, "--faces 4"), ([0, 3], "--faces 0,3")])
def test_who_is_not_there(choice: object, words: str) -> None:
    with pytest.raises(NoFaceError, match=rf"{words}: the faces of clip are 0 \(0.0 to .*, 2 \(.*; name these, or all"):
        choose([LONG] * 3, choice, "clip", 10.0)
