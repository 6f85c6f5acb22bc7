"""How like a photo that is moved gets to the frames that it should be: a clip's first frame is the photo, all others
drive.

    python -m selftrack.eval.reenactment CLIP ... -o OUT

writes OUT/reenactment.md and OUT/reenactment.json: PSNR and SSIM inside the face and over the frame, beside those of
the first frame as it is ("copied source"). The photo is tracked by itself, as `--onto` does.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from selftrack.command import run
from selftrack.decoders.dam.losses import psnr
from selftrack.errors import NoFaceError, UserError
from selftrack.eval.checks.likeness import ssim
from selftrack.io import json_text, markdown_table, write_text
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.export.reenact._motion import performance
from selftrack.tracker.export.reenact._painter import PhotoPainter
from selftrack.tracker.export.reenact._photo import read_photo
from selftrack.tracker.model import Model
from selftrack.tracker.results.clip import read_rows
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig
from selftrack.tracker.results.texture import evenly
from selftrack.tracker.results.track_file import Track

METHODS = ("copied source", "reenacted")


@dataclass(frozen=True)
class Score:
    """Of pictures against the true frames."""

    face_psnr: float
    """Decibels, inside the face."""
    face_ssim: float
    frame_psnr: float
    """Decibels, over the whole frame."""
    frame_ssim: float
    frames: int
    turn: float
    """Degrees, 90 % of the frames' heads are turned less from the photo's."""


def score(track: Track, model: Model, frames: int = 60) -> dict[str, Score]:
    """Compare at most so many frames of a track, evenly spaced, with the first one moved like them, by `METHODS`.

    Raises:
        UserError: the clip is gone, or no other frame shows a face.
        NoFaceError: its first frame shows no face.
    """
    rows = evenly(np.flatnonzero(track.ok), frames + 1)
    if not len(rows) or rows[0] != 0:
        raise NoFaceError(f"{track.clip}: shows no face in its first frame, which is to be the photo")
    if len(rows) == 1:
        raise UserError(f"{track.clip}: shows a face in its first frame only; there is nothing to compare")
    (first,) = read_rows(track, {0})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "first.png"
        cv2.imwrite(str(path), first.image[..., ::-1])
        photo = read_photo(path, model)
    paint, acted = PhotoPainter(photo), performance(track, photo, start=0)
    cover = MeshPainter(track.model(), OverlayConfig(mode="mesh", opacity=1.0))
    sums = {method: np.zeros(6) for method in METHODS}
    for frame in read_rows(track, set(rows[1:].tolist())):
        row, size = frame.index, frame.image.shape[:2]
        inside = cover.layer(size, track.vertices(slice(row, row + 1))[0])[..., 3] > 0.99
        pictures = dict(zip(METHODS, (first.image, paint(acted.codes[row], acted.poses[row])), strict=True))
        for method, picture in pictures.items():
            sums[method] += _sums(picture, frame.image, inside)
    return {method: _score(total, len(rows) - 1, _turn(track, rows)) for method, total in sums.items()}


def _sums(picture: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Squared error and SSIM, summed over the face, over the frame, and the pixels of both."""
    a, b = picture / 255, truth / 255
    error, alike = ((a - b) ** 2).mean(2), ssim(a.mean(2), b.mean(2))
    return np.array([error[inside].sum(), alike[inside].sum(), inside.sum(), error.sum(), alike.sum(), error.size])


def _score(sums: np.ndarray, frames: int, turn: float) -> Score:
    face, frame = sums[:2] / max(sums[2], 1), sums[3:5] / max(sums[5], 1)
    return Score(psnr(face[0]), float(face[1]), psnr(frame[0]), float(frame[1]), frames, turn)


def _turn(track: Track, rows: np.ndarray) -> float:
    from scipy.spatial.transform import Rotation

    turns = Rotation.from_euler("xyz", track.H_image[rows, 1:4])
    return float(np.degrees(np.quantile((turns * turns[0].inv()).magnitude(), 0.9)))


def table(scores: dict[str, dict[str, Score]]) -> str:
    """Write scores by clip and method as a table in Markdown."""
    head = ("clip", "turn, degrees", "method", "face: PSNR, dB", "SSIM", "frame: PSNR, dB", "SSIM")
    rows = []
    for clip, methods in scores.items():
        for method, one in methods.items():
            face = f"{one.face_psnr:.1f}", f"{one.face_ssim:.2f}"
            rows.append([clip, f"{one.turn:.0f}", method, *face, f"{one.frame_psnr:.1f}", f"{one.frame_ssim:.2f}"])
    return markdown_table(head, rows)


def reenactment(
    clips: Annotated[list[Path], typer.Argument(help="Clips whose first frame shows a face.", metavar="CLIP ...")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.", metavar="OUT")],
    frames: Annotated[int, typer.Option(help="Compare at most so many frames of each.", min=1)] = 60,
    duration: Annotated[float | None, typer.Option(help="Seconds of each clip (default: all).")] = None,
) -> None:
    """Move the first frame of clips as the others do, and compare with these."""
    if len({clip.stem for clip in clips}) < len(clips):
        raise UserError("two of the clips have one name, by which their results are called; rename one of them")
    config = TrackConfig(overlay=False, duration=duration)
    scores, model = {}, load_model(config)
    for clip in clips:
        folder = output / "tracks" / clip.stem
        track_clip(clip, folder, config, model=model, overwrite=True)
        scores[clip.stem] = score(load(folder), model, frames)
        for method, one in scores[clip.stem].items():
            print(f"{clip.stem}: {method} {one.face_psnr:.2f} dB", flush=True)
    write_text(output / "reenactment.md", table(scores))
    write_text(
        output / "reenactment.json", json_text({c: {m: asdict(s) for m, s in one.items()} for c, one in scores.items()})
    )


if __name__ == "__main__":
    run("python -m selftrack.eval.reenactment", reenactment=reenactment)
