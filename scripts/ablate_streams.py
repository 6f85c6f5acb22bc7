"""What each part of the bundled I2ZNet is worth: train without it, track real clips, compare.

    python scripts/ablate_streams.py CAPTURES OUT CLIP [CLIP ...] --steps 1500

CAPTURES is a folder of `track-train`. Every variant sees the same captures, steps and seed. The tracks are left in
OUT/<variant>/<clip>, so that any scorer can be run on them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from selftrack.eval.checks.likeness import skin_colour
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.metrics import METRICS, TrackedClip, measure
from selftrack.io import markdown_table
from selftrack.synthetic.captures import find_captures
from selftrack.tracker import load
from selftrack.tracker.network.i2znet import I2ZConfig
from selftrack.tracker.pipeline import TrackConfig, track_clip
from selftrack.training.dataset import Shards
from selftrack.training.i2znet import TrainConfig, train

VARIANTS: dict[str, dict[str, object]] = {
    "full": {},
    "without the perceptual stream": {"perceptual": None},
    "without the landmark stream": {"landmarks": None, "coordinates": False},
    "without coordinates": {"coordinates": False},
    "without heatmaps": {"landmarks": None},
}


def main(captures: Path, out: Path, clips: list[Path], steps: int = 1500, config: str = "i2znet_small") -> None:
    """Train, track and print a Markdown table, means over the clips."""
    shards, windows, table = Shards(find_captures(captures)), {}, []
    for variant, change in VARIANTS.items():
        folder = out / variant.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / "weights.safetensors"
        network = replace(I2ZConfig.load(config), **change)
        if not weights.exists():
            train(shards, weights, TrainConfig(network=network, steps=steps))
        rows = []
        for clip in clips:
            result = folder / clip.stem
            track_clip(clip, result, TrackConfig(weights=str(weights), overlay=False), overwrite=True)
            track = load(result)
            if clip not in windows:
                windows[clip] = skin_windows(track)
            rows.append(measure(TrackedClip.of(track, windows[clip])) | {"skin colour": skin_colour(track)})
        figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        known = [name for name, value in figures.items() if name not in METRICS or np.isfinite(value)]
        table.append([variant, *(f"{figures[name]:.2f}" for name in known)])
        print(variant, figures, flush=True)
    print(markdown_table(["variant", *known], table), end="")


if __name__ == "__main__":
    typer.run(main)
