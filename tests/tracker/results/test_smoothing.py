"""The clean-up: noise goes, fast movements and their timing stay, gaps, resting face."""

from collections.abc import Callable

import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.results.smoothing import CleanConfig, clean
from selftrack.tracker.results.track_file import Track

MakeTrack = Callable[..., Track]
TIMES = np.arange(300) / 30


@pytest.fixture(params=["steady", "varying"])
def times(request: pytest.FixtureRequest) -> np.ndarray:
    """Ten seconds at 30 frames a second, or at varying steps about that."""
    steps = np.random.default_rng(5).uniform(0.025, 0.042, 299)
    return TIMES if request.param == "steady" else np.concatenate([[0], np.cumsum(steps)])


def noise(count: int = 300, seed: int = 0) -> np.ndarray:
    """White, of the standard deviation that the tracker was seen to have on a still face."""
    return np.random.default_rng(seed).normal(0, 0.005, count)


def test_noise_of_a_still_face_halves(make_track: MakeTrack, times: np.ndarray) -> None:
    names = ("jawOpen", "mouthSmileLeft", "eyeBlinkRight")
    still = {name: 0.4 + noise(seed=i) for i, name in enumerate(names)}
    track = make_track(times, still, ry=0.1 + noise(seed=9), tx=300 + 100 * noise(seed=8))
    cleaned = clean(track)
    for name in names:
        before, after = track.curves()[name], cleaned.curves()[name]
        assert after.std() < before.std() / 2 and after.mean() == pytest.approx(before.mean(), abs=0.002)
    for name in ("yaw", "tx"):
        assert np.diff(cleaned.pose()[name]).std() < np.diff(track.pose()[name]).std() / 2


@pytest.mark.parametrize("name,depth", [("eyeBlinkLeft", 0.8), ("eyeBlinkLeft", 0.3), ("mouthClose", 0.25)])
@pytest.mark.parametrize("frames", [1, 3, 5])
def test_a_blink_keeps_its_depth_and_timing(
    make_track: MakeTrack, times: np.ndarray, name: str, depth: float, frames: int
) -> None:
    """And a lip contact as of a p; before and after it the curve stays as quiet as elsewhere."""
    pulse = np.zeros(300)
    pulse[150 : 150 + frames] = depth * np.hanning(frames + 2)[1:-1] if frames > 1 else depth
    curve = 0.1 + pulse + noise()
    cleaned = clean(make_track(times, {name: curve})).curves()[name]
    rise = cleaned - 0.1
    assert rise.max() > 0.9 * depth and abs(int(rise.argmax()) - int(curve.argmax())) == 0
    half = np.flatnonzero(rise > depth / 2)
    np.testing.assert_array_equal(half, np.flatnonzero(curve - 0.1 > depth / 2))
    outside = np.r_[100:145, 160:200]
    assert np.abs(rise[outside]).max() < 0.02


@pytest.mark.parametrize("hertz,size", [(0.5, 0.3), (1.0, 0.3), (4.0, 0.3)])
def test_movement_does_not_lag_or_shrink(make_track: MakeTrack, hertz: float, size: float) -> None:
    """Slow ones and syllables: the correlation peaks at no shift, the size stays within a twentieth of the range."""
    sine = 0.5 + size * np.sin(2 * np.pi * hertz * TIMES)
    track = make_track(TIMES, {"jawOpen": sine + noise()}, ry=0.3 * np.sin(2 * np.pi * 0.5 * TIMES) + noise(seed=4))
    cleaned = clean(track)
    for true, out in (
        (sine, cleaned.curves()["jawOpen"]),
        (0.3 * np.sin(2 * np.pi * 0.5 * TIMES), np.radians(cleaned.pose()["yaw"])),
    ):
        a, b = (true - true.mean())[20:-20], (out - out.mean())
        scores = [a @ b[20 + shift : 280 + shift] for shift in range(-5, 6)]
        assert np.argmax(scores) == 5
        assert np.abs(out - true)[20:-20].max() < 0.05


def test_the_mesh_shows_what_the_curves_say(make_track: MakeTrack) -> None:
    """A low-pass swings beyond 0 and 1, and a resting face leaves less than nothing; neither moves the mesh."""
    smile = np.where((TIMES > 3) & (TIMES < 6), 1.0, 0) * (1 - 0.02 * np.sin(TIMES))
    track = make_track(TIMES, {"mouthSmileLeft": smile, "browInnerUp": 0.2 + 0.1 * np.sin(TIMES)})
    for config in (CleanConfig(curve_cutoff=0.5), CleanConfig(neutral=1.0)):
        cleaned = clean(track, config)
        weights = cleaned.z[:, cleaned.model().expression]
        np.testing.assert_array_equal(weights, np.stack(list(cleaned.curves().values()), 1))
        assert weights.min() == 0


def test_short_gaps_are_bridged_and_long_ones_hold(make_track: MakeTrack) -> None:
    lost = [0, 1, *range(100, 105), *range(200, 230), 299]
    ramp = TIMES / 20
    track = make_track(TIMES, {"jawOpen": np.where(np.isin(np.arange(300), lost), 0.9, ramp)}, lost=lost, tx=100 * ramp)
    cleaned = clean(track)
    jaw, tx = cleaned.curves()["jawOpen"], cleaned.pose()["tx"]
    np.testing.assert_allclose(jaw[100:105], ramp[100:105], atol=0.003)  # six steps of 1/30 s: 0.2 s
    np.testing.assert_allclose(tx[100:105], 100 * ramp[100:105], atol=0.2)
    assert cleaned.ok[100:105].all() and (cleaned.confidence[100:105] == 0).all()
    assert not cleaned.ok[200:230].any() and not cleaned.ok[[0, 1, 299]].any()
    np.testing.assert_allclose(jaw[200:223], jaw[199])
    assert (np.diff(jaw[224:231]) > 0).all() and jaw[229] < jaw[230] == pytest.approx(ramp[230], abs=0.01)
    np.testing.assert_allclose(jaw[[0, 1, 299]], jaw[[2, 2, 298]])


def test_a_lost_face_does_not_leak_into_found_frames(make_track: MakeTrack) -> None:
    """What was held through a gap says nothing: other values there, the same result."""
    lost = [*range(100, 130)]
    curve = 0.3 + noise()
    other = np.where(np.isin(np.arange(300), lost), 0.95, curve)
    first, second = (clean(make_track(TIMES, {"jawOpen": c}, lost=lost)).curves()["jawOpen"] for c in (curve, other))
    np.testing.assert_array_equal(first, second)


def test_a_second_at_rest(make_track: MakeTrack) -> None:
    pulse = np.zeros(300)
    pulse[200:240] = 1
    curves = {"browInnerUp": 0.2 + 0.8 * pulse, "eyeLookInLeft": np.full(300, 0.3), "jawOpen": np.full(300, 0.1)}
    track = make_track(TIMES, curves)
    cleaned = clean(track, CleanConfig(neutral=50 / 30)).curves()
    np.testing.assert_allclose(cleaned["browInnerUp"][:150], 0, atol=1e-3)
    np.testing.assert_allclose(cleaned["browInnerUp"][210:230], 1, atol=1e-3)
    np.testing.assert_allclose(cleaned["jawOpen"], 0, atol=1e-6)
    np.testing.assert_allclose(cleaned["eyeLookInLeft"], 0.3, atol=1e-6)


@pytest.mark.parametrize(
    "second,words",
    [
        (10.2, "--neutral: no face was found around second 10.2; the track goes from 0.00 to 9.97 s"),
        (-1.0, "no face was found around second -1"),
        (2.5, "no face was found around second 2.5"),
        (9.0, "--neutral 9: no resting face, jawOpen is 0.9"),
    ],
)
def test_a_second_at_which_nobody_rests_is_refused(make_track: MakeTrack, second: float, words: str) -> None:
    track = make_track(TIMES, {"jawOpen": 0.9}, lost=[*range(70, 81)])
    with pytest.raises(UserError, match=words):
        clean(track, CleanConfig(neutral=second))


def test_what_a_face_shows_at_rest_is_a_median(make_track: MakeTrack) -> None:
    """One frame among those of 0.1 s around does not count, whatever it shows; nor does one that is lost."""
    curve = np.full(300, 0.2)
    curve[50] = 0.5
    for lost in ([], [49]):
        cleaned = clean(make_track(TIMES, {"jawOpen": curve}, lost=lost), CleanConfig(neutral=50 / 30)).curves()
        np.testing.assert_allclose(cleaned["jawOpen"][100:], 0, atol=1e-3)


@pytest.mark.parametrize("count,lost", [(1, []), (2, []), (3, [1]), (12, []), (5, range(5)), (9, [0, 2, 4, 6, 8])])
def test_short_and_broken_tracks(make_track: MakeTrack, count: int, lost: list[int]) -> None:
    track = make_track(TIMES[:count], {"jawOpen": 0.4}, lost=lost)
    cleaned = clean(track)
    assert len(cleaned) == count and np.isfinite(cleaned.vertices()).all()
    np.testing.assert_allclose(cleaned.curves()["jawOpen"], 0.4, atol=1e-5)


def test_what_was_tracked_stays(make_track: MakeTrack) -> None:
    """The input is not touched, the crop's pose follows the image's, roll does not jump past half a turn."""
    roll = np.pi + 0.2 * np.sin(TIMES)
    track = make_track(TIMES, {"jawOpen": 0.4 + noise()}, rz=(roll + np.pi) % (2 * np.pi) - np.pi)
    before = track.z.copy()
    cleaned = clean(track)
    np.testing.assert_array_equal(track.z, before)
    np.testing.assert_allclose(cleaned.H[:, [0, 1, 2, 4, 5]], cleaned.H_image[:, [0, 1, 2, 4, 5]], atol=1e-4)
    np.testing.assert_allclose(np.exp(1j * cleaned.H_image[:, 3]), np.exp(1j * roll), atol=0.02)
