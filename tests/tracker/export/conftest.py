"""Tracks made up of given curves and poses."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from decoders.head import load_head
from tracker.track_file import Track

HEAD = load_head()


def _make_track(
    times: Sequence[float] | np.ndarray = (0.0,),
    curves: Mapping[str, float | np.ndarray] | None = None,
    lost: Sequence[int] = (),
    size: tuple[int, int] = (640, 360),
    inverse_distance: float = 0.0,
    **pose: float | np.ndarray,
) -> Track:
    """A track of the mean head with these curves (T,) by name; pose is any of f, rx, ry, rz, tx, ty, (T,) each."""
    times = np.asarray(times, float)
    count = len(times)
    z = np.zeros((count, HEAD.size), np.float32)
    for name, values in (curves or {}).items():
        z[:, HEAD.expression.start + HEAD.expression_names.index(name)] = values
    middle = {"f": 6.5, "rx": 0.0, "ry": 0.0, "rz": 0.0, "tx": (size[0] - 1) / 2, "ty": (size[1] - 1) / 2}
    H = np.stack([np.broadcast_to(value, count) for value in (middle | pose).values()], axis=1).astype(np.float32)
    ok = ~np.isin(np.arange(count), lost)
    return Track(
        times=times,
        ok=ok,
        confidence=np.where(ok, 0.9, 0).astype(np.float32),
        presence=np.where(ok, 0.99, 0).astype(np.float32),
        sharpness=ok.astype(np.float32),
        z=z,
        H=H,
        crop=np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1)),
        H_image=H,
        landmarks=np.zeros((count, 478, 2), np.float32),
        identity=np.zeros(60, np.float32),
        inverse_distance=inverse_distance,
        size=size,
        clip="somewhere/take {1}.mp4",
        clip_hash="ab" * 32,
        decoder=HEAD.name,
        decoder_hash=HEAD.hash,
        config="{}",
    )


@pytest.fixture
def make_track() -> Callable[..., Track]:
    """`make_track(times, {"jawOpen": 0.5}, lost=[3], ry=0.1)`."""
    return _make_track


RATES = {"24": 24, "25": 25, "29.97": 30000 / 1001, "30": 30, "50": 50, "60": 60}


@pytest.fixture(params=[*RATES, "varying"])
def clock(request: pytest.FixtureRequest) -> np.ndarray:
    """Times (T,) of ten seconds around a clip's first minute, at the usual rates and at a varying one."""
    if request.param != "varying":
        rate = RATES[request.param]
        return np.arange(round(55 * rate), round(65 * rate)) / rate
    return 55 + np.cumsum(np.random.default_rng(1).uniform(0.017, 0.1, 170))


@pytest.fixture
def performance(clock: np.ndarray, make_track: Callable[..., Track]) -> Track:
    """A track on that clock whose 52 curves are all different, with three lost frames."""
    rng = np.random.default_rng(0)
    curves = {name: rng.random(len(clock)) for name in HEAD.expression_names}
    return make_track(clock, curves, lost=[4, 5, 100], ry=0.2 * np.sin(clock), rz=0.1)


@pytest.fixture
def wink(make_track: Callable[..., Track]) -> Track:
    """Five frames at 25 a second; in frame 2 the subject's left eye is shut and the jaw to the subject's left."""
    pulse = np.array([0, 0, 1, 0, 0])
    return make_track(np.arange(5) / 25, {"eyeBlinkLeft": 0.75 * pulse, "jawLeft": 0.5 * pulse})
