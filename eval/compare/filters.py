"""Filters in time over a finished track: the baselines that adaptation has to beat, for it is not mere smoothing.

They run over the code z and the pose in the image, one run of good frames at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.signal import savgol_filter

from selftrack.errors import UserError
from selftrack.tracker.results.track_file import Track

Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Values (T,C) at times (T,) in seconds -> filtered values (T,C)."""


def savitzky_golay(values: np.ndarray, window: int, order: int = 2) -> np.ndarray:
    """Replace each of the values (T,C) by a least-squares polynomial through the window around it (1964).

    At both ends the first and last whole windows are used, off their middle. Frames are taken as equally spaced.

    Args:
        values: (T,C).
        window: odd number of frames; of a shorter clip, the largest that fits.
        order: of the polynomial; a window of at most order + 1 frames changes nothing.

    Raises:
        UserError: a window that is not odd.
    """
    if window < 1 or window % 2 == 0:
        raise UserError(f"a Savitzky-Golay window is an odd number of frames, got {window}")
    window = min(window, len(values) - 1 + len(values) % 2)
    return values.copy() if window <= order + 1 else savgol_filter(values, window, order, axis=0)


def one_euro(
    values: np.ndarray, times: np.ndarray, cutoff: float, beta: float, slope_cutoff: float = 1.0
) -> np.ndarray:
    """Send values (T,C) through the 1-Euro filter (Casiez et al. 2012), each column by itself.

    A low-pass filter without look-ahead whose cut-off grows with the speed, so that it lags less where things move.

    Args:
        values: (T,C).
        times: (T,) seconds, increasing.
        cutoff: Hz, of values that rest; infinite changes nothing.
        beta: Hz per unit/s, by which the cut-off grows.
        slope_cutoff: Hz, of the speed.
    """
    out, slope = np.array(values, float), np.zeros(values.shape[1])
    for row, step in enumerate(np.diff(times), 1):
        speed = (values[row] - out[row - 1]) / step
        slope += _smoothing(slope_cutoff, step) * (speed - slope)
        out[row] = out[row - 1] + _smoothing(cutoff + beta * np.abs(slope), step) * (values[row] - out[row - 1])
    return out


def _smoothing(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """The weight of the new value in an exponential filter of a cut-off (Hz) and time step (s)."""
    return 1 / (1 + 1 / (2 * np.pi * np.asarray(cutoff) * step))


def filtered(track: Track, smooth: Filter) -> Track:
    """Filter a track's codes and image poses; angles are unwrapped before and wrapped again after.

    The columns come to the filter in units of their own standard deviation over the good frames.
    """
    good = np.flatnonzero(track.ok)
    pose = track.H_image.astype(float)
    pose[good, 1:4] = np.unwrap(pose[good, 1:4], axis=0)
    values = np.concatenate([track.z, pose], 1)
    spread = values[good].std(0) if len(good) else np.ones(values.shape[1])
    unit = np.where(spread > 0, spread, 1)
    out = values / unit
    for run in np.split(good, np.flatnonzero(np.diff(good) > 1) + 1):
        if len(run):
            out[run] = smooth(out[run], track.times[run])
    out *= unit
    width = track.z.shape[1]
    z, pose = out[:, :width], out[:, width:]
    pose[:, 1:4] = np.remainder(pose[:, 1:4] + np.pi, 2 * np.pi) - np.pi
    return replace(track.with_codes(z), H_image=pose.astype(np.float32))
