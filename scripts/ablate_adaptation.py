"""What each part of the adaptation is worth: adapt without it, track, compare (cf. Yoon et al. 2019, Table 1).

    python scripts/ablate_adaptation.py OUT CLIP [CLIP ...]

The tracks are left in OUT/<variant>/<clip>, so that any scorer can be run on them; finished ones are kept.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from adapt.run import adapt_video, load_preset
from eval.metrics import track_details
from eval.score import skin_windows
from tracker import load
from tracker.pipeline import TrackConfig, load_models, track_video

FIGURES = ("skin.mean", "stability.screen.ratio", "stability.local.ratio", "landmarks.mean")
VARIANTS: dict[str, dict[str, object] | None] = {
    "no adaptation": None,
    "landmarks only (FLRC)": {"cftc": 0.0, "motc": 0.0, "jitter": 0.0, "shape_jitter": 0.0},
    "full": {},
    "without CFTC": {"cftc": 0.0},
    "without MOTC": {"motc": 0.0},
    "weights 100 / 100 / 1": {"cftc": 100.0, "motc": 100.0, "flrc": 1.0},  # those of the paper
    "weights 220 / 220 / 7": {"motc": 220.0},
    "weights 55 / 14 / 7": {"cftc": 55.0, "motc": 14.0},
    "weights 220 / 55 / 2": {"flrc": 2.0},
    "weights 220 / 55 / 20": {"flrc": 20.0},
    "neighbouring frames only": {"offsets": (0, 1), "groups": 16, "jitter": 0.0, "shape_jitter": 0.0},
    "without the weight of trembling": {"jitter": 0.0, "shape_jitter": 0.0},
    "without gain and bias": {"exposure": False},
    "without the texel floor": {"floor": 0.0},
    "grazing angles, too": {"least_cosine": 0.02},
    "frozen pixels count": {"frozen": 1e9},
    "occluded texels count": {"occlusion": 1e6},
    "the whole contour counts": {"contour_cosine": -1.0},
    "without the detector's offset": {"offset": 0.0},
    "without rest": {"rest": 0.0},
    "without neutral": {"neutral": 0.0},
    "without antagonists": {"antagonists": 0.0},
    "without the anchor": {"anchor": 0.0},
    "without the pull to the un-adapted person": {"person": 0.0},
    "weak perspective": {"perspective": False},
}


def main(out: Path, clips: list[Path], preset: str = "fast") -> None:
    """Adapt, track and print a Markdown table, means over the clips."""
    print("| variant | " + " | ".join(FIGURES) + " |\n" + "|---" * (len(FIGURES) + 1) + "|")
    windows = {}
    for variant, change in VARIANTS.items():
        rows = []
        for clip in clips:
            folder = out / re.sub(r"\W+", "_", variant) / clip.stem
            if not folder.exists():
                _run(clip, folder, preset, change)
            track = load(folder)
            windows.setdefault(clip, skin_windows(track))
            rows.append(track_details(track, windows[clip]).total().values())
        means = (np.mean([row[name] for row in rows]) for name in FIGURES)
        print(f"| {variant} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |", flush=True)


def _run(clip: Path, folder: Path, preset: str, change: dict[str, object] | None) -> None:
    settings = TrackConfig(overlay=False)
    models, finish = load_models(settings), None
    if change is not None:
        config = replace(load_preset(preset), **change)
        _, finish = adapt_video(clip, folder, settings, config, models)
    track_video(clip, folder, settings, models=models, finish=finish)


if __name__ == "__main__":
    typer.run(main)
