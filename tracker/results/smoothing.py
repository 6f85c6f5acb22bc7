"""Clean-up of a finished track: noise, short gaps and a person's resting face. A step of its own, off by default.

Curves are low-passed forwards and backwards, so that nothing lags. Where a curve leaves its low-passed self by much
more than the noise it is moving fast, on purpose (a blink, lips that close for a p), and stays as it was tracked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, sosfiltfilt

from selftrack.errors import UserError
from selftrack.tracker.geometry.pose import through
from selftrack.tracker.results.curves import check_rest, rows_around
from selftrack.tracker.results.track_file import Track

_ROUNDING = 1e-3  # seconds, of times in containers


@dataclass(frozen=True)
class CleanConfig:
    """Settings of the clean-up."""

    curve_cutoff: float = 2.0
    """Of the low-pass of curves that hardly move, Hz."""
    pose_cutoff: float = 6.0
    """Of the low-pass of the head's pose, Hz; heads move slower than lips."""
    noise: tuple[float, float] = (0.004, 0.02)
    """Least and largest noise that is believed, as standard deviation of a curve (0..1)."""
    moving: tuple[float, float] = (5.0, 12.0)
    """Times the noise: departures from the low-passed curve below the first are smoothed, above the second kept."""
    around: float = 0.07
    """Seconds before and after a fast movement that are kept with it."""
    gap: float = 0.2
    """Seconds without a face that are bridged as if there had been one; longer ones hold and stay lost."""
    ease: float = 0.2
    """Seconds in which a longer gap goes over to the face that comes back."""
    neutral: float | None = None
    """Second of a resting face; what the curves show around it (but the gaze) becomes their 0."""


def clean(track: Track, config: CleanConfig | None = None) -> Track:
    """The track with cleaned curves and pose; frames of bridged gaps count as found, with confidence 0.

    Raises:
        UserError: no face was found around the neutral second, or it does not rest there; or the decoder has no shapes.
    """
    config = config or CleanConfig()
    head = track.model()
    if not head.has_blendshapes:
        raise UserError(
            "the clean-up is of curves that are weights of shapes, and this track's decoder has none; leave --clean out"
        )
    z, pose = track.z.astype(float), track.H_image.astype(float)
    pose[:, 1:4] = np.unwrap(pose[:, 1:4], axis=0)
    for run in _runs(track.ok):
        times = track.times[run]
        z[run, head.expression] = _smooth_curves(times, z[run, head.expression], config)
        pose[run] = _low_pass(times, pose[run], config.pose_cutoff)
    values = np.concatenate([z[:, head.expression], pose], axis=1)
    ok = _bridge(track.times, values, track.ok, config)
    z[:, head.expression], pose = np.split(values, [len(head.expression_names)], axis=1)
    if config.neutral is not None:
        rows = rows_around(track, config.neutral, "--neutral")
        z[:, head.expression] = _rest(z[:, head.expression], rows, head.expression_names, config.neutral)
    if head.has_arkit_curves:  # a low-pass swings beyond them
        z[:, head.expression] = z[:, head.expression].clip(0, 1)
    pose = pose.astype(np.float32)
    crop = through(torch.from_numpy(pose), torch.from_numpy(track.crop)).numpy()
    return replace(track.with_codes(z), H=crop, H_image=pose, ok=ok)


def _runs(ok: np.ndarray) -> Iterator[slice]:
    """Stretches of found frames, from ok (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], ok.astype(int), [0]])))
    yield from (slice(first, end) for first, end in edges.reshape(-1, 2))


def _low_pass(times: np.ndarray, values: np.ndarray, cutoff: float) -> np.ndarray:
    """Values (T,C) at times (T,) through a Butterworth filter of second order, forwards and backwards.

    The filter runs on an even grid of the median step, so that clips of varying rate keep their timing.
    """
    if len(times) < 3:
        return values
    step = np.median(np.diff(times))
    if cutoff >= 0.45 / step:
        return values
    grid = np.linspace(times[0], times[-1], max(round((times[-1] - times[0]) / step), 2) + 1)
    sections = butter(2, cutoff, fs=1 / (grid[1] - grid[0]), output="sos")
    padding = min(len(grid) - 1, round(2 / cutoff / step))
    smooth = sosfiltfilt(sections, _resample(grid, times, values), axis=0, padlen=padding)
    return _resample(times, grid, smooth)


def _resample(at: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (T,C) at times (T,), between them linear, at other times (S,)."""
    return np.stack([np.interp(at, times, column) for column in values.T], axis=1)


def _smooth_curves(times: np.ndarray, curves: np.ndarray, config: CleanConfig) -> np.ndarray:
    """Curves (T,C) low-passed where they hardly move, and as they are where they move fast."""
    if len(times) < 3:
        return curves
    # the noise from second differences, which movement hardly reaches; 6 is the sum of their squared weights
    noise = np.median(np.abs(np.diff(curves, 2, axis=0)), axis=0) / 0.6745 / np.sqrt(6)
    floor, full = np.multiply.outer(config.moving, noise.clip(*config.noise))
    reach = 2 * round(config.around / np.median(np.diff(times))) + 1
    steady = curves
    for _ in range(2):  # the second time without the fast movements, which would smear into their surroundings
        low = _low_pass(times, steady, config.curve_cutoff)
        away = maximum_filter1d(np.abs(curves - low), reach, axis=0)
        kept = _ramp((away - floor) / (full - floor))
        steady = np.stack([_without(times, *pair) for pair in zip(curves.T, kept.T > 0.5, strict=True)], axis=1)
    return low + (curves - low) * kept


def _without(times: np.ndarray, curve: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """A curve (T,) that goes straight through where it is `moving` (T,)."""
    return curve if moving.all() else np.interp(times, times[~moving], curve[~moving])


def _ramp(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)


def _bridge(times: np.ndarray, values: np.ndarray, ok: np.ndarray, config: CleanConfig) -> np.ndarray:
    """Fill values (T,C) of lost frames between found ones, in place; returns ok (T,) with the short gaps found.

    Before the first and after the last found frame, values hold.
    """
    filled = ok.copy()
    found = np.flatnonzero(ok)
    if not len(found):
        return filled
    for before, after in zip(found[:-1], found[1:], strict=True):
        inside, long = slice(before + 1, after), times[after] - times[before] > config.gap + _ROUNDING
        start = max(times[before], times[after] - config.ease) if long else times[before]
        part = (times[inside] - start) / (times[after] - start)
        weight = (_ramp(part) if long else part)[:, None]
        values[inside] = values[before] * (1 - weight) + values[after] * weight
        filled[inside] = not long
    values[: found[0]], values[found[-1] + 1 :] = values[found[0]], values[found[-1]]
    return filled


def _rest(curves: np.ndarray, rows: np.ndarray, names: tuple[str, ...], second: float) -> np.ndarray:
    """Curves (T,52) whose median over `rows` becomes 0 while 1 stays 1; the gaze stays as it is."""
    seen = np.median(curves[rows], axis=0)
    offset = np.where([name.startswith("eyeLook") for name in names], 0, seen.clip(0, 1))
    check_rest(dict(zip(names, offset.tolist(), strict=True)), second)
    return (curves - offset) / (1 - offset)
