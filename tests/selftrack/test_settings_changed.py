"""Which settings differ, by hand."""

from __future__ import annotations

from selftrack.io import flat, nested, settings_changed


def test_flat_is_the_inverse_of_nested() -> None:
    values = {"a.b.c": 1, "a.d": 2, "e": 3}
    assert flat(nested(values)) == values


def test_the_settings_that_differ_are_named() -> None:
    before = {"rate": 0.1, "noise": {"point": 1, "size": (1, 2)}, "old": None}
    now = {"rate": 0.2, "noise": {"point": 1, "size": [1, 3]}, "fresh": True}
    assert settings_changed(before, before) == settings_changed({"size": (1, 2)}, {"size": [1, 2]}) == ""
    assert settings_changed(before, now) == (
        "rate was 0.1 and is 0.2; noise.size was [1, 2] and is [1, 3]; old was None and is nothing; "
        "fresh was nothing and is True"
    )
