"""Plots of the report as SVG, to be put into a page."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selftrack.eval.metrics import METRICS
from selftrack.eval.metrics.calibration import Reliability, judged
from selftrack.eval.metrics.subject import TrackedClip
from selftrack.tracker.results.confidence import LIMIT
from selftrack.tracker.results.curves import most_moving
from selftrack.tracker.results.track_file import Track

COLOURS = {"before": "#9a9a9a", "after": "#1b6ac9"}
LOST, HELD = "#e8b4b4", "#f1ecd8"
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "selftrack",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888",
    "axes.labelcolor": "#333",
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": "#222",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": "#555",
    "ytick.color": "#555",
    "axes.xmargin": 0.005,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
}
TOP, GAP, BOTTOM = 0.25, 0.33, 0.45  # inches over, between and under the plots
LIMITS = {"skin.mean": LIMIT}
"""Lines across plots over time: the confidence is of staying under this one."""

_styled = matplotlib.rc_context(STYLE)  # as a decorator


@_styled
def over_time(clips: dict[str, TrackedClip], held: np.ndarray) -> str:
    """Plot the metrics that have values by frame, of tracks of one clip; bands where frames are lost or `held` (T,)."""
    track = _track(next(iter(clips.values())))
    values = {metric: {name: metric.frames(clip) for name, clip in clips.items()} for metric in METRICS.values()}
    values = {metric: lines for metric, lines in values.items() if any(map(_known, lines.values()))}
    figure, axes = _figure(len(values), 1.35)
    for axis, (metric, lines) in zip(axes, values.items(), strict=True):
        for name, line in lines.items():
            if line is not None:
                axis.plot(track.times, line, color=COLOURS[name])
        axis.set_title(f"{metric.label}, {metric.unit}")
        _bands(axis, track.times, ~track.ok, LOST)
        _bands(axis, track.times, held, HELD)
        if metric.unit == "0..1":
            axis.set_ylim(0, 1.05)
        elif metric.better != "zero" and not metric.unit.startswith("1 "):
            _from_zero(axis)
        if metric.name in LIMITS:
            axis.axhline(LIMITS[metric.name], color="#bbb", linewidth=0.9, linestyle=(0, (4, 3)))
    return _svg(figure, axes)


@_styled
def curves(clips: dict[str, TrackedClip], count: int = 9) -> str:
    """Plot head pose and the most active curves, one plot each; the range of curves is 0..1."""
    last = _track(list(clips.values())[-1])
    names = most_moving(last, count)
    angles = ("yaw", "pitch", "roll")
    figure, axes = _figure(len(angles) + count, 1.0, columns=2)
    for name, clip in clips.items():
        track = _track(clip)
        pose, active = track.pose(), track.curves()
        for axis, key in zip(axes, (*angles, *names), strict=False):
            values = pose[key] if key in pose else active[key]
            axis.plot(last.times, np.where(track.ok, values, np.nan), color=COLOURS[name])
            axis.set_title(f"{key}, degrees" if key in pose else key)
            _bands(axis, last.times, ~last.ok, LOST)
    for axis in axes[len(angles) : len(angles) + len(names)]:
        axis.set_ylim(-0.03, 1.03)
    for axis in axes[len(angles) + len(names) :]:
        axis.set_visible(False)
    return _svg(figure, axes, columns=2)


@_styled
def losses(history: list[dict[str, Any]]) -> str:
    """Plot held-out errors (first three) and losses of the adaptation over its steps."""
    names = [name for name in history[-1] if name != "step"]
    figure, axes = _figure(len(names), 1.0, columns=3)
    for axis, name in zip(axes, names, strict=False):
        scale = 255 if name == "texture" else 1
        points = [(entry["step"], scale * entry[name]) for entry in history if entry.get(name) is not None]
        axis.plot(*np.array(points, float).reshape(-1, 2).T, color=COLOURS["after"], marker=".", markersize=4)
        unit = {"skin": ", % IOD", "landmarks": ", % IOD", "texture": ", grey levels"}.get(name)
        axis.set_title(f"held-out {name}{unit}" if unit else f"loss {name}")
        _from_zero(axis)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    return _svg(figure, axes, label="step", columns=3)


@_styled
def reliability(clips: dict[str, TrackedClip]) -> str:
    """Plot how often frames of each confidence are good on this clip: on the diagonal, the confidence is right."""
    figure, axes = _figure(1, 3.2, wide=4.6)
    axes[0].plot([0, 1], [0, 1], color="#bbb", linewidth=0.9)
    for name, clip in clips.items():
        found = Reliability.of(*judged(clip))
        size = 15 + 160 * found.count / max(found.count.sum(), 1)
        axes[0].scatter(found.predicted, found.right, size, color=COLOURS[name], alpha=0.8, linewidth=0)
    axes[0].set(xlim=(-0.02, 1.02), ylim=(-0.05, 1.05))
    axes[0].set_title(f"share of frames under {LIMIT:g} % IOD")
    return _svg(figure, axes, label="confidence")


def _track(clip: TrackedClip) -> Track:
    assert clip.track is not None, "reports are of tracks of our own"
    return clip.track


def _known(values: np.ndarray | None) -> bool:
    return values is not None and bool(np.isfinite(values).any())


def _figure(count: int, height: float, columns: int = 1, wide: float = 10.4) -> tuple[Figure, list[Axes]]:
    """Plots in a grid, `height` inches each; matplotlib's own layout would take as long as all the drawing."""
    rows = -(-count // columns)
    high = rows * height + TOP + BOTTOM - GAP
    grid = {"left": 0.5 / wide, "right": 1 - 0.05 / wide, "top": 1 - TOP / high, "bottom": BOTTOM / high}
    grid |= {"hspace": GAP / (height - GAP), "wspace": 0.1 * columns - 0.06}
    figure = Figure(figsize=(wide, high))
    return figure, list(figure.subplots(rows, columns, sharex=True, squeeze=False, gridspec_kw=grid).ravel())


def _from_zero(axis: Axes) -> None:
    axis.set_ylim(0, 1.08 * axis.get_ylim()[1])


def _bands(axis: Axes, times: np.ndarray, chosen: np.ndarray, colour: str) -> None:
    """A band behind every run of chosen rows."""
    edges = np.flatnonzero(np.diff(np.r_[False, chosen, False].astype(int)))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    for first, stop in edges.reshape(-1, 2):
        axis.axvspan(times[first] - step / 2, times[stop - 1] + step / 2, color=colour, linewidth=0, zorder=0)


def _svg(figure: Figure, axes: list[Axes], label: str = "seconds", columns: int = 1) -> str:
    shown = [axis for axis in axes if axis.get_visible()]
    for axis in shown[-columns:]:
        axis.set_xlabel(label)
        axis.tick_params(labelbottom=True)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
