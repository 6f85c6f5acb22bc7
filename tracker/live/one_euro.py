"""The One-Euro filter of Casiez, Roussel and Vogel (CHI 2012): a low-pass whose cutoff grows with the speed, so that a
face at rest does not tremble and a quick act hardly lags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from selftrack.tracker.live.performance import Performance

_ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True)
class SmoothConfig:
    """Settings of the filter: of each pair the cutoff at rest, Hz, and how many Hz are added for a unit a second."""

    curves: tuple[float, float] = (2.0, 4.0)
    """Of curves, 0..1."""
    angles: tuple[float, float] = (2.0, 0.1)
    """Of the head's angles, degrees."""
    place: tuple[float, float] = (2.0, 0.05)
    """Of the head's place and scale, pixels."""
    speed: float = 1.0
    """Cutoff of the low-pass of the speed, Hz."""


class OneEuro:
    """The filter for N values at once, each with its own speed; it is for one stream, in the order of its times."""

    def __init__(self, cutoff: np.ndarray, slope: np.ndarray, speed_cutoff: float = 1.0) -> None:
        """`cutoff` (N,) Hz at rest, `slope` (N,) Hz that are added for a unit a second, `speed_cutoff` Hz."""
        self._cutoff, self._slope, self._speed_cutoff = cutoff, slope, speed_cutoff
        self.reset()

    def reset(self) -> None:
        """Forget what was: the next values pass as they are."""
        self._time: float | None = None
        self._value = self._speed = np.zeros(0)

    def __call__(self, values: np.ndarray, time: float) -> np.ndarray:
        """Filter the next values (N,) at a time in seconds; no later time than the last changes nothing."""
        if self._time is None:
            self._time, self._value, self._speed = time, values.astype(float), np.zeros(len(values))
        elif time > self._time:
            step = time - self._time
            # the speed by the last filtered value, as in the authors' own code
            self._speed += _weight(self._speed_cutoff, step) * ((values - self._value) / step - self._speed)
            cutoff = self._cutoff + self._slope * np.abs(self._speed)
            self._value = self._value + _weight(cutoff, step) * (values - self._value)
            self._time = time
        return self._value


def _weight(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """Of the new value in an exponential smoothing: 1 / (1 + tau / step), tau = 1 / (2 pi cutoff)."""
    turns = 2 * np.pi * cutoff * step
    return turns / (1 + turns)


class Smoother:
    """Performances, their curves and pose through the filter; while no face is found it begins anew."""

    def __init__(self, config: SmoothConfig) -> None:
        self._config = config
        self._filter: OneEuro | None = None
        self._angles = np.zeros(len(_ANGLES))

    def __call__(self, shown: Performance) -> Performance:
        """Smooth the next one."""
        if not shown.ok:
            self._filter = None
            return shown
        angles = np.array([shown.pose[name] for name in _ANGLES])
        if self._filter is None:
            self._filter = self._made(shown)
        else:
            angles += 360 * np.round((self._angles - angles) / 360)  # 179 degrees and -179 are neighbours
        self._angles = angles
        place = {name: value for name, value in shown.pose.items() if name not in _ANGLES}
        values = np.array([*shown.curves.values(), *angles, *place.values()])
        smooth = self._filter(values, shown.time).tolist()
        count = len(shown.curves)
        curves = dict(zip(shown.curves, smooth[:count], strict=True))
        pose = dict(zip((*_ANGLES, *place), smooth[count:], strict=True))
        return replace(shown, curves=curves, pose=pose | _wrapped(pose))

    def _made(self, shown: Performance) -> OneEuro:
        counts = len(shown.curves), len(_ANGLES), len(shown.pose) - len(_ANGLES)
        pairs = np.repeat([self._config.curves, self._config.angles, self._config.place], counts, axis=0)
        return OneEuro(pairs[:, 0], pairs[:, 1], self._config.speed)


def _wrapped(pose: Mapping[str, float]) -> dict[str, float]:
    """The angles, degrees, within half a turn."""
    return {name: (pose[name] + 180) % 360 - 180 for name in _ANGLES}
