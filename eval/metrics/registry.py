"""The registry of metrics: name, unit, meaning in a sentence, which way is better, and the function that measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from selftrack.eval.metrics.subject import TrackedClip

_Value = TypeVar("_Value")
Better = Literal["lower", "higher", "zero", "neither"]
Need = Literal["track", "annotations", "truth"]
"""An attribute of a tracked clip that is None where a clip or a tracker does not have it."""


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums, a mean if the lower sum counts: the ratios of parts of a clip merge exactly by `+`."""

    over: float = 0.0
    under: float = 0.0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.over + other.over, self.under + other.under)

    def value(self) -> float:
        """Divide; NaN without anything summed."""
        return self.over / self.under if self.under else float("nan")


class RootMeanSquare(Ratio):
    """The root of a mean of squares."""

    def value(self) -> float:
        """Divide and take the root; NaN without anything summed."""
        return super().value() ** 0.5


class Sums(Protocol):
    """What merges by `+` and has a value, such as `Ratio`."""

    def value(self) -> float: ...


Measured = float | np.ndarray | Sums


class Scale(NamedTuple):
    """What values of a figure mean on people's clips: how far it is excellent and how far usual; beyond, it is poor."""

    excellent: float
    usual: float

    def word(self, value: float, better: Better) -> str:
        """ "excellent", "usual" or "poor", by the two decimals that are shown; empty where the value is not known."""
        if not np.isfinite(value):
            return ""
        off = round(abs(value) if better == "zero" else value, 2)
        sign = -1 if better == "higher" else 1
        within = [sign * off <= sign * limit for limit in self]
        return "excellent" if within[0] else "usual" if within[1] else "poor"

    def place(self, value: float) -> float:
        """Where a value that should be low lies: up to 1 it is excellent, up to 2 usual, beyond that poor."""
        return float(np.interp(value, [0, *self], [0, 1, 2])) + max(value / self.usual - 1, 0)


@dataclass(frozen=True)
class Metric:
    """One figure of a tracked clip."""

    name: str
    """As in report.json, which nests at the dots."""
    label: str
    """For people."""
    unit: str
    meaning: str
    """One sentence."""
    measure: Callable[[TrackedClip], Measured]
    """Gives a number; values (T,) of the frames, NaN where not known, whose mean is the figure; or sums."""
    better: Better = "lower"
    needs: tuple[Need, ...] = ()
    """Without these the figure is NaN."""
    headline: bool = True
    """Whether tables of several tracks have a column for it; report and files have every metric."""
    decisive: bool = False
    """Whether the report's verdict says so when it got worse."""
    same: float = 0.0
    """Absolute changes up to this are none."""
    over_time: Callable[[TrackedClip], np.ndarray] | None = None
    """Values (T,) of the frames for a plot, where `measure` gives none."""
    scale: Scale | None = None
    """What values mean; None where that depends on the clip."""

    def word(self, value: float) -> str:
        """How good a value is; empty without a scale, or where it is not known."""
        return self.scale.word(value, self.better) if self.scale else ""

    def possible(self, clip: TrackedClip) -> bool:
        """Whether the clip has what the metric needs."""
        return all(getattr(clip, need) is not None for need in self.needs)

    def value(self, clip: TrackedClip) -> float:
        """Measure a clip; NaN where that is not possible."""
        if not self.possible(clip):
            return float("nan")
        measured = self.measure(clip)
        if isinstance(measured, np.ndarray):
            known = measured[np.isfinite(measured)]
            return float(known.mean()) if len(known) else float("nan")
        return measured if isinstance(measured, int | float) else measured.value()

    def frames(self, clip: TrackedClip) -> np.ndarray | None:
        """The values (T,) of the frames, NaN where not known; None of a metric that has none, or is not possible."""
        if not self.possible(clip):
            return None
        values = self.over_time(clip) if self.over_time else self.measure(clip)
        return values if isinstance(values, np.ndarray) else None


METRICS: dict[str, Metric] = {}
"""All metrics by name, in the order of tables."""


def metric(
    name: str,
    label: str,
    unit: str,
    meaning: str,
    *,
    better: Better = "lower",
    needs: tuple[Need, ...] = (),
    headline: bool = True,
    decisive: bool = False,
    same: float = 0.0,
    over_time: Callable[[TrackedClip], np.ndarray] | None = None,
    scale: tuple[float, float] | None = None,
) -> Callable[[Callable[[TrackedClip], Measured]], Callable[[TrackedClip], Measured]]:
    """Register a function as a metric; the arguments are the fields of `Metric`.

    Raises:
        ValueError: there is one of that name already.
    """

    def register(measure: Callable[[TrackedClip], Measured]) -> Callable[[TrackedClip], Measured]:
        if name in METRICS:
            raise ValueError(f"there is a metric {name!r} already")
        limits = Scale(*scale) if scale else None
        METRICS[name] = Metric(
            name, label, unit, meaning, measure, better, needs, headline, decisive, same, over_time, limits
        )
        return measure

    return register


def once(compute: Callable[[TrackedClip], _Value]) -> Callable[[TrackedClip], _Value]:
    """Keep the result with the clip, for metrics that share it."""

    @wraps(compute)
    def shared(clip: TrackedClip) -> _Value:
        if compute not in clip.kept:
            clip.kept[compute] = compute(clip)
        value: _Value = clip.kept[compute]
        return value

    return shared


def measure(clip: TrackedClip) -> dict[str, float]:
    """Measure all metrics, by name; NaN where one is not possible."""
    return {name: known.value(clip) for name, known in METRICS.items()}


def headline(rows: list[dict[str, float]]) -> list[Metric]:
    """List the columns of a table of figures: the headline metrics that any row has."""
    return [m for m in METRICS.values() if m.headline and any(np.isfinite(row.get(m.name, np.nan)) for row in rows)]
