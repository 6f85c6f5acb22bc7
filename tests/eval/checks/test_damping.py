"""A curve that is damped on purpose is found, and the landmarks speak against it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.eval.checks.damping import KEPT, damped, openings, restored, spread
from selftrack.eval.metrics.landmarks import projected_landmarks
from selftrack.tracker import load
from selftrack.tracker.results.track_file import Track

SMILE = ARKIT_NAMES.index("mouthSmileLeft")


def test_spread_of_a_ramp() -> None:
    assert spread(np.linspace(0, 1, 101)[:, None]) == pytest.approx([0.9])


@pytest.fixture(scope="module")
def performed(plain_folder: Path) -> Track:
    """The bundled clip's track, detected exactly where its mesh is, with one curve that goes from 0 to 0.8."""
    track = load(plain_folder)
    z = track.z.copy()
    z[:, track.model().expression.start + SMILE] = np.linspace(0, 0.8, len(track))
    acted = replace(track.with_codes(z), ok=np.ones(len(track), bool))
    return replace(acted, landmarks=projected_landmarks(acted))


def _scaled(track: Track, factor: float) -> Track:
    z, column = track.z.copy(), track.model().expression.start + SMILE
    z[:, column] *= factor
    return track.with_codes(z)


def test_nothing_is_damped_when_nothing_changed(performed: Track) -> None:
    active, lost = damped(performed, performed)
    assert "mouthSmileLeft" in active and not lost


def test_a_halved_curve_is_damped_without_justification(performed: Track) -> None:
    _, lost = damped(performed, _scaled(performed, 0.5))
    assert [row.name for row in lost] == ["mouthSmileLeft"]
    assert lost[0].before == pytest.approx(0.72, abs=0.02) and lost[0].after == pytest.approx(0.36, abs=0.01)
    assert not lost[0].justified


def test_a_range_that_was_too_wide_may_go(performed: Track) -> None:
    _, lost = damped(_scaled(performed, 1.25), performed)  # what was detected is `performed`
    assert [row.name for row in lost] == ["mouthSmileLeft"] and lost[0].justified


def test_a_curve_is_put_back_only_where_it_keeps_its_range(performed: Track) -> None:
    """Codes go below 0, curves do not: about the mean of `sunken` the course would have lost half of its range."""
    column = performed.model().expression.start + SMILE
    z = performed.z.copy()
    z[:, column] -= 0.4
    sunken = performed.with_codes(z)
    tracks = restored(performed, sunken, SMILE)
    ranges = [float(spread(track.curves()["mouthSmileLeft"])) for track in tracks]
    assert 1 < len(tracks) < 11 and min(ranges) >= KEPT * 0.72 - 0.01
    assert np.array_equal(tracks[0].z, performed.z)


def test_openings_agree_where_the_detector_saw_the_mesh(performed: Track) -> None:
    for mesh, seen in openings(performed).values():
        assert mesh == pytest.approx(seen, rel=1e-4)
