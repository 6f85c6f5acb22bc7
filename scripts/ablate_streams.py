"""What each part of a small I2ZNet is worth: train without it, compare on known people and on real clips.

    python scripts/ablate_streams.py CAPTURES KNOWN OUT CLIP [CLIP ...] --steps 2000

CAPTURES and KNOWN are folders of `track-train captures`; nobody of KNOWN, such as people of another rig, is learned
from. Every variant sees the same captures, steps and seed. The tracks are left in OUT/<variant>/<clip>, so that any
scorer can be run on them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import typer

from selftrack.decoders.head.model import load_head
from selftrack.eval.checks.likeness import skin_colour
from selftrack.eval.compare.reference import skin_windows
from selftrack.eval.meaning.curves import CurveSums
from selftrack.eval.metrics import METRICS, TrackedClip, measure
from selftrack.io import markdown_table
from selftrack.synthetic.captures import find_captures
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet, to_tensor
from selftrack.tracker.network.weights import load_network
from selftrack.tracker.refinement.controls import bound
from selftrack.training.dataset import Dataset, Shards
from selftrack.training.i2znet import TrainConfig, train

FULL = I2ZConfig.load("i2znet_small")
VARIANTS: dict[str, I2ZConfig] = {
    "full": FULL,
    "without the perceptual stream": replace(FULL, perceptual=None),
    "without heatmaps": replace(FULL, landmarks=None),
    "without the landmark stream": replace(FULL, landmarks=None, coordinates=False),
    "without coordinates": replace(FULL, coordinates=False),
    "ImageNet's features": I2ZConfig.load("i2znet_imagenet"),
    "ImageNet's features, without coordinates": replace(I2ZConfig.load("i2znet_imagenet"), coordinates=False),
}


@torch.no_grad()
def known_curves(network: I2ZNet, shards: list[Path]) -> dict[str, float]:
    """Correlation, gain and mean error of what the network itself says of people whose curves are known, each with the
    subject pooled over the person's pictures; points are the detector's."""
    data, expression, sums, errors = Dataset(shards, network), load_head().expression, None, []
    for person in range(len(data.points)):
        maps, _, codes, detected = data.batch(torch.tensor([person]), torch.device("cpu"))
        seen = detected[0].isfinite().all(2).all(1)
        if seen.sum() < 2:
            continue
        points, maps = detected[0][seen], [depth[seen] for depth in maps]
        images = to_tensor(maps[0]) if network.reads_pictures else None
        perceived = [m.float() for m in maps] if images is None else network.perceive(images)
        features = network.heads.features(network.compressed(images, points, perceived), points)
        subject = network.heads.pool(features, network.heads.regress(features).subject)
        said = bound(network.heads.regress(features, subject.expand(len(points), -1)).z[:, expression])
        true = codes[0][seen][:, expression]
        errors.append((said - true).abs().mean().item())
        one = CurveSums.of(true.numpy(), said.numpy())
        sums = one if sums is None else sums + one
    assert sums is not None, "no face was found"
    return {
        "known curves, r": float(np.nanmean(sums.correlation()[sums.moving])),
        "known curves, gain": float(np.nanmean(sums.gain()[sums.moving])),
        "known curves, error": float(np.mean(errors)),
    }


def main(captures: Path, known: Path, out: Path, clips: list[Path], steps: int = 2000, only: str = "") -> None:
    """Train, track and print a Markdown table, means over the clips; `only` the variants whose names have that in
    them."""
    torch.set_num_threads(1)
    shards, judged, windows, table = Shards(find_captures(captures)), find_captures(known), {}, []
    for variant, architecture in VARIANTS.items():
        if only not in variant:
            continue
        folder = out / variant.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / "weights.safetensors"
        if not weights.exists():
            train(shards, weights, TrainConfig(network=architecture, steps=steps), lambda *at: print(*at, flush=True))
        rows = []
        for clip in clips:
            result = folder / clip.stem
            track_clip(clip, result, TrackConfig(weights=str(weights), overlay=False), overwrite=True)
            track = load(result)
            if clip not in windows:
                windows[clip] = skin_windows(track)
            rows.append(measure(TrackedClip.of(track, windows[clip])) | {"skin colour": skin_colour(track)})
        figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        figures |= known_curves(load_network(weights), judged)
        names = [name for name, value in figures.items() if name not in METRICS or np.isfinite(value)]
        table.append([variant, *(f"{figures[name]:.3f}" for name in names)])
        print(variant, figures, flush=True)
    print(markdown_table(["variant", *names], table), end="")


if __name__ == "__main__":
    typer.run(main)
