"""Quantiles by a histogram, against those of all values."""

import numpy as np
import pytest

from selftrack.tracker.live.statistics import Statistics


def test_quantiles_counts_and_rates() -> None:
    rng = np.random.default_rng(0)
    latencies, ok = rng.gamma(4, 0.01, 3000), rng.random(3000) > 0.1
    statistics = Statistics(50.0)
    for latency, found in zip(latencies[:1000], ok[:1000], strict=True):
        statistics.add(latency, bool(found))
    first = statistics.recent(60.0, 7)
    for latency, found in zip(latencies[1000:], ok[1000:], strict=True):
        statistics.add(latency, bool(found))
    second, whole = statistics.recent(70.0, 10), statistics.whole(70.0, 10)
    for figures, part in ((first, slice(1000)), (second, slice(1000, None)), (whole, slice(None))):
        assert figures.frames == len(latencies[part]) and figures.lost == (~ok[part]).sum()
        for share, found in ((50, figures.p50), (95, figures.p95)):
            assert found == pytest.approx(np.percentile(latencies[part], share), abs=0.001)
    assert (first.dropped, second.dropped, whole.dropped) == (7, 3, 10)
    assert str(whole).startswith("150.0 frames/s, frame to packet ")


def test_no_frame_and_late_ones() -> None:
    statistics = Statistics(0.0)
    assert str(statistics.recent(1.0, 0)) == "0.0 frames/s"
    statistics.add(100.0, True)
    assert statistics.whole(1.0, 0).p50 >= 4.0
