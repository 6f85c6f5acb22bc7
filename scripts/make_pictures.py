"""The pictures of the README, from the bundled clip and our own renders.

    python scripts/make_pictures.py demo_track
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import typer

from decoders.head import load_head
from tracker import load
from tracker.studio import Studio, sample_expression

SHOWN = ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "jawOpen", "eyeBlinkLeft", "browInnerUp")


def overlay_strip(folder: Path, frames: tuple[int, ...]) -> np.ndarray:
    """Frames of an overlay video below one another, RGB."""
    with av.open(str(folder / "overlay.mp4")) as container:
        pictures = [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i in frames]
    return np.concatenate(pictures)


def studio_sheet(seed: int = 4) -> np.ndarray:
    """Captures of the studio, RGB."""
    studio, rng = Studio(load_head()), np.random.default_rng(seed)
    rows = []
    for _ in range(2):
        row = []
        for _ in range(3):
            person, expression = studio.sample_person(rng), sample_expression(rng)
            row += [studio.shoot(rng, person, expression).picture for _ in range(2)]
        rows.append(np.concatenate(row, 1))
    return np.concatenate(rows)


def curves_plot(folder: Path, path: Path) -> None:
    """A few curves over time."""
    matplotlib.use("Agg")
    track = load(folder)
    curves = track.curves()
    figure, axis = plt.subplots(figsize=(8, 2.6), layout="constrained")
    for name in SHOWN:
        axis.plot(track.times, curves[name], label=name)
    axis.set(xlabel="seconds", ylim=(0, 1))
    axis.legend(ncols=3, fontsize=8)
    figure.savefig(path, dpi=110)


def main(folder: Path, out: Path = Path("docs/images")) -> None:
    """Write overlay.png, curves.png and studio.png."""
    out.mkdir(parents=True, exist_ok=True)
    strip = cv2.cvtColor(overlay_strip(folder, (3, 36)), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(out / "overlay.png"), strip)
    cv2.imwrite(str(out / "studio.png"), cv2.cvtColor(studio_sheet(), cv2.COLOR_RGB2BGR))
    curves_plot(folder, out / "curves.png")


if __name__ == "__main__":
    typer.run(main)
