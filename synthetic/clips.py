"""Synthetic clips in the wild whose truth is known: other people, light, skins and cameras than the studio's.

    python -m selftrack.synthetic.clips OUT --clips 12 --frames 150 --seed 0

writes clip00.mp4 and clip00.truth.npz, and so on. The actors' shapes are off the model's basis by 1 mm, so that no code
is perfect; their faces move as in life (`selftrack.synthetic.motion`) and are drawn with another light than the
training pictures (`selftrack.synthetic.clip_render`), with motion blur, noise, exposure drift, occluders and
compression.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

from selftrack.command import run
from selftrack.io import atomic_path
from selftrack.synthetic.people import Actor
from selftrack.synthetic.scene import FPS, HARD, Stage, SyntheticConfig
from selftrack.synthetic.truth import COMMAND, Truth

STREAM = 7_310_571
"""Third word of all seeds here: training captures are seeded with two, so nobody is in both."""


def make_clip(
    path: Path,
    seed: int,
    number: int,
    frames: int,
    config: SyntheticConfig | None = None,
    actor: Actor | None = None,
) -> Truth:
    """Write clip `number` of a seed to `path` (H.264 in MP4), and its truth beside it; the truth comes last."""
    rng = np.random.default_rng([seed, number, STREAM])
    stage = Stage(config)
    scene, truth = stage.shoot(rng, frames, actor)
    crf = int(rng.integers(stage.config.crf[0], stage.config.crf[1] + 1))
    with atomic_path(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = *truth.size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for row in range(frames):
            image, truth.occluded[row] = scene.frame(row)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = row, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    truth.save(path.with_name(path.stem + ".truth.npz"))
    return truth


def main(
    folder: Annotated[Path, typer.Argument(help="Folder for the clips; clips that are there are kept.", metavar="OUT")],
    clips: Annotated[int, typer.Option(help="Number of clips (default 12).", min=1)] = 12,
    frames: Annotated[int, typer.Option(help="Frames of each clip, at 30 frames/s (default 150).", min=2)] = 150,
    seed: Annotated[int, typer.Option(help="Random seed (default 0).", min=0)] = 0,
    hard: Annotated[bool, typer.Option("--hard", help="Draw profiles, hands and blur, where trackers fail.")] = False,
    relit: Annotated[bool, typer.Option("--relit", help="Let the light change all the time.")] = False,
) -> None:
    """Make synthetic clips with their truth."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(clips):
        path = folder / f"clip{number:02d}.mp4"
        if not path.with_name(path.stem + ".truth.npz").exists():
            make_clip(path, seed, number, frames, replace(HARD if hard else SyntheticConfig(), relit=relit))
        print(path)


if __name__ == "__main__":
    run(COMMAND, synthetic=main)
