"""What a lamp that moves costs: the same drawn performances under constant light, and under lamps that swing and fade.

    python -m selftrack.eval.light OUT

draws each performance twice (`synthetic.clip_render.relight`), tracks both as they are and after an adaptation, and
writes OUT/light.md. What is in OUT already is not made again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from selftrack.adapt.run import load_preset
from selftrack.command import run
from selftrack.eval.metrics import METRICS
from selftrack.eval.metrics.subject import truth_path
from selftrack.eval.results import VARIANTS, Figures, label, results
from selftrack.io import markdown_table, write_text
from selftrack.synthetic.clips import make_clip
from selftrack.synthetic.scene import SyntheticConfig

LIGHTS = {"constant": SyntheticConfig(), "moving": SyntheticConfig(relit=True)}
SHOWN = ("truth.slide", "truth.image", "truth.curves", "skin.mean", "truth.skin")


def draw(folder: Path, count: int, frames: int) -> list[Path]:
    """Draw performances under each light, with their truth; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        for light, config in LIGHTS.items():
            paths.append(folder / f"{light}{number}.mp4")
            if not truth_path(paths[-1]).exists():
                make_clip(paths[-1], 0, number, frames, config)
    return paths


def page(rows: dict[str, dict[str, Figures]]) -> str:
    """Write Markdown: the figures of all clips, and by how much moving light changes their means."""
    lines = [
        [clip, label(variant, figures), *(f"{figures[name]:.3f}" for name in SHOWN)]
        for clip, variants in rows.items()
        for variant, figures in variants.items()
    ]
    for variant in VARIANTS:
        constant, moving = (
            np.mean([[rows[clip][variant][name] for name in SHOWN] for clip in rows if clip.startswith(light)], 0)
            for light in LIGHTS
        )
        lines.append(["**moving over constant**", variant, *(f"{ratio:.2f}" for ratio in moving / constant)])
    header = [f"{METRICS[name].label}, {METRICS[name].unit}" for name in SHOWN]
    return markdown_table(["clip", "track", *header], lines)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for clips, tracks and figures.", metavar="OUT")],
    clips: Annotated[int, typer.Option(help="Number of performances (default 3).", min=1)] = 3,
    frames: Annotated[int, typer.Option(help="Frames of each, at 30 frames/s (default 120).", min=32)] = 120,
    steps: Annotated[int | None, typer.Option(help="Steps of the adaptation (default: the preset's).", min=1)] = None,
) -> None:
    """Compare drawn performances under constant and moving light."""
    settings = load_preset() if steps is None else load_preset().changed(steps=steps)
    rows = results(folder, draw(folder / "clips", clips, frames), settings, partial(print, flush=True))
    print(write_text(folder / "light.md", page(rows)))


if __name__ == "__main__":
    run("python -m selftrack.eval.light", light=main)
