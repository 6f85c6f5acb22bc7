"""The pictures of the README, from the bundled clip and our own renders.

make demo
track tests/data/smile.mp4 --adapt
python scripts/make_pictures.py demo_track smile_track
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import typer

from selftrack.decoders.head.model import load_head
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.studio import Studio
from selftrack.tracker import load

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
            person, expression = studio.people.sample(rng), sample_expression(rng)
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


def main(folder: Path, adapted: Path, out: Path = Path("docs/images")) -> None:
    """Write overlay.png (frames, the mesh on them, and that of the adapted track), curves.png and studio.png."""
    out.mkdir(parents=True, exist_ok=True)
    plain, better = (overlay_strip(track, (3, 36)) for track in (folder, adapted))
    pane = plain.shape[1] // 2
    strip = np.concatenate([plain, better[:, pane:]], 1).reshape(len(plain), 3, pane, 3)
    margin = pane // 6  # nothing but a door
    cropped = strip[:, :, margin:-margin].reshape(len(plain), -1, 3)
    cv2.imwrite(str(out / "overlay.png"), cv2.cvtColor(cropped, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(out / "studio.png"), cv2.cvtColor(studio_sheet(), cv2.COLOR_RGB2BGR))
    curves_plot(folder, out / "curves.png")


if __name__ == "__main__":
    typer.run(main)
