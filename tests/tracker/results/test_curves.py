"""Which curves of a take are shown first."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.results.curves import by_motion, most_moving
from selftrack.tracker.results.regions import PARTS, REGIONS, points_of, region_of
from selftrack.tracker.results.track_file import Track


def of(make_track: Callable[..., Track], **ranges: float) -> Track:
    """A take of 20 frames in which curves go from 0.1 up by so much."""
    return make_track(np.arange(20) / 25, {name: 0.1 + np.linspace(0, top, 20) for name, top in ranges.items()})


def test_the_widest_range_comes_first(make_track: Callable[..., Track]) -> None:
    """However high a curve stands; frames without a face count nowhere."""
    track = of(make_track, jawOpen=0.3, browInnerUp=0.5, mouthPucker=0.1)
    values = track.curve_values.copy()
    values[:, ARKIT_NAMES.index("cheekPuff")] = 0.9
    values[7, ARKIT_NAMES.index("mouthFunnel")] = 1.0
    ok = np.arange(20) != 7
    track = replace(track, curve_values=values, ok=ok)
    assert by_motion(track)[:3] == ["browInnerUp", "jawOpen", "mouthPucker"]
    assert sorted(by_motion(track)) == sorted(ARKIT_NAMES)


def test_what_is_hidden_comes_later(make_track: Callable[..., Track]) -> None:
    """A mouth behind a hand is right by chance only."""
    track = of(make_track, jawOpen=0.5, browInnerUp=0.4)
    visible = np.ones((20, len(PARTS)), np.float32)
    assert by_motion(replace(track, visible=visible))[:2] == ["jawOpen", "browInnerUp"]
    visible[:, PARTS.index("mouth")] = 0.1
    assert by_motion(replace(track, visible=visible))[:2] == ["browInnerUp", "jawOpen"]


def test_one_line_for_both_sides_and_for_a_gaze(make_track: Callable[..., Track]) -> None:
    """All four curves of a look to the side are one motion of both eyes."""
    sideways = {f"eyeLook{way}{side}": 0.8 for way in ("In", "Out") for side in ("Left", "Right")}
    track = of(make_track, **sideways, eyeLookUpLeft=0.7, eyeLookDownRight=0.6, mouthSmileLeft=0.5, mouthSmileRight=0.4)
    first = most_moving(track, 3)
    assert first[0] in sideways and first[1:] == ["eyeLookUpLeft", "mouthSmileLeft"]
    assert len(most_moving(track, 6)) == 6


def test_without_a_face_nothing_moves(make_track: Callable[..., Track]) -> None:
    track = of(make_track, jawOpen=0.5)
    assert by_motion(replace(track, ok=np.zeros(20, bool))) == list(track.curve_names)


def test_the_region_of_every_curve() -> None:
    expected = {"browInnerUp": "brows", "eyeLookUpLeft": "eyes", "cheekSquintRight": "eyes", "noseSneerLeft": "mouth"}
    assert {name: region_of(name) for name in expected} == expected
    assert {region_of(name) for name in ARKIT_NAMES} < set(REGIONS)
    assert all(points_of(region_of(name)) for name in ARKIT_NAMES)
