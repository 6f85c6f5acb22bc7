"""The learning rate over a run, at the points where it is known."""

import pytest

from selftrack.adapt.learning.schedule import warmup_cosine


def test_it_rises_linearly_then_falls_as_half_a_cosine() -> None:
    rates = [warmup_cosine(step, 100) for step in range(101)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1 and rates[5 + 95 // 2 + 1] < 0.5 < rates[5 + 95 // 2]
    assert rates[100] == pytest.approx(0)
    assert all(later <= earlier for earlier, later in zip(rates[5:], rates[6:], strict=False))


def test_a_run_of_one_step_is_at_the_peak() -> None:
    assert warmup_cosine(0, 1) == 1
