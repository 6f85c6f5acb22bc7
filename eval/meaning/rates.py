"""Whether the frame rate says anything: synthetic performances, each drawn at several rates and tracked.

    python -m selftrack.eval.meaning.rates

The same scenes without what a rate brings with it, which are motion blur, noise, exposure and compression. What
differs at common times is the tracker's.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, NamedTuple

import numpy as np
import typer

from selftrack.command import run
from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.eval.meaning.metamorphic import track_frames
from selftrack.io import markdown_table
from selftrack.synthetic.scene import FPS, Stage, SyntheticConfig
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.model import Model
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import Frame, SourceInfo

RATES = (15, 24, 50, 60)
"""Frames/s, each of which is compared with `FPS`."""
STREAM = 5_190_113
"""Third word of all seeds here."""
STILL = SyntheticConfig(shutter=(0.0, 0.0), noise=(0.0, 0.0), drift=0.0, occluder=0.0)
"""Frames that only show what there is at their time."""


class Differences(NamedTuple):
    """By how much tracks at two rates differ at common times."""

    curves: np.ndarray
    """(52,) mean of the absolute differences."""
    confidence: float
    """Mean of the differences: what is left where noise averages out."""


def draw(stage: Stage, seed: int, seconds: int, rate: int) -> list[Frame]:
    """Draw a performance at a rate in frames/s; it is the same one at any rate."""
    scene, truth = stage.shoot(np.random.default_rng([seed, 0, STREAM]), seconds * rate, fps=rate)
    return [Frame(row, float(time), scene.frame(row)[0]) for row, time in enumerate(truth.times)]


def common_rows(rate: int, other: int, seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows (K,) of clips at two rates that are of the same times."""
    times = np.arange(seconds * np.gcd(rate, other))
    return times * (rate // np.gcd(rate, other)), times * (other // np.gcd(rate, other))


def compare(track: Track, usual: Track, rate: int, seconds: int) -> Differences:
    """Compare a track at a rate with the `usual` one at `FPS`."""
    ours, theirs = common_rows(rate, FPS, seconds)
    curves = np.abs(track.curve_values[ours] - usual.curve_values[theirs]).mean(0)
    return Differences(curves, float((track.confidence[ours] - usual.confidence[theirs]).mean()))


def measure(model: Model, stage: Stage, seed: int, seconds: int) -> dict[int, Differences]:
    """Track one performance at all rates."""

    def tracked(rate: int) -> Track:
        size = stage.config.size
        info = SourceInfo("performance", None, size, size, Fraction(rate), float(seconds), Fraction(1, rate))
        return track_frames(info, draw(stage, seed, seconds, rate), model)

    usual = tracked(FPS)
    return {rate: compare(tracked(rate), usual, rate, seconds) for rate in RATES}


def table(found: list[dict[int, Differences]]) -> str:
    """A Markdown table by rate: means over the performances, and the curves that differ most."""
    lines = []
    for rate in RATES:
        curves = np.mean([one[rate].curves for one in found], axis=0)
        most = [f"{ARKIT_NAMES[i]} {curves[i]:.3f}" for i in np.argsort(curves)[::-1][:3]]
        confidence = np.mean([one[rate].confidence for one in found])
        lines.append([rate, f"{curves.mean():.4f}", ", ".join(most), f"{confidence:+.3f}"])
    return markdown_table(["frames/s", f"mean difference from {FPS}", "most", "confidence"], lines)


def main(
    performances: Annotated[int, typer.Option(help="Performances to draw (default 3).", min=1)] = 3,
    seconds: Annotated[int, typer.Option(help="Length of each (default 4).", min=2)] = 4,
) -> None:
    """Measure what the frame rate changes and should not."""
    model, stage = load_model(TrackConfig()), Stage(STILL)
    print(table([measure(model, stage, seed, seconds) for seed in range(performances)]), end="")


if __name__ == "__main__":
    run("python -m selftrack.eval.meaning.rates", rates=main)
