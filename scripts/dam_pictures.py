"""Pictures of a person's own model, from a track that was made with it (`track CLIP --decoder me.safetensors`).

    python scripts/dam_pictures.py me_track docs/images/dam.png

A row per frame: of the whole clip that the model was made from, frames that its training held out. In it the frame, the
model painted into it in its own texture, that texture unwrapped, and the head turned to views that may not be in it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import typer

from selftrack.tracker import load
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig
from selftrack.tracker.results.texture import clip_texture, evenly, own_texture
from selftrack.tracker.results.track_file import Track
from selftrack.training.dam import split_frames

SIDE = 256  # of a tile
YAWS = (-40.0, -20.0, 20.0, 40.0)  # degrees, instead of the frame's own
GREY = 96


def turned(track: Track, row: int, yaw: float) -> Track:
    """The track with the head of one frame turned to a yaw in degrees, no pitch and no roll."""
    pose = track.H_image.copy()
    pose[row, 1:4] = 0.0, math.radians(yaw), 0.0
    return replace(track, H_image=pose)


def tile(image: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """The square around the vertices (V,3), SIDE pixels wide."""
    low, high = vertices[:, :2].min(0), vertices[:, :2].max(0)
    half, (x, y) = 0.4 * (high - low).max(), (low + high) / 2
    scale = SIDE / (2 * half)
    matrix = np.array([[scale, 0, SIDE / 2 - scale * x], [0, scale, SIDE / 2 - scale * y]])
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)


def sheet(track: Track, rows: np.ndarray) -> np.ndarray:
    """One row of tiles per frame, RGB."""
    median = clip_texture(track)
    painter = MeshPainter(track.model(), OverlayConfig(mode="texture"), median)
    look, lines = own_texture(track, median), []

    def painted(of: Track, row: int, image: np.ndarray, texture: torch.Tensor) -> np.ndarray:
        vertices = of.vertices(slice(row, row + 1))[0]
        painter.texture = texture[None]
        return tile(painter(image, vertices), vertices)

    def view(row: int, yaw: float, image: np.ndarray) -> np.ndarray:
        side = turned(track, row, yaw)
        return painted(side, row, image, own_texture(side, median)(row))

    with open_clip(track) as source:
        for frame in source.frames(only=set(rows.tolist())):
            row, grey = frame.index, np.full_like(frame.image, GREY)
            flat = (255 * look(row)).byte().permute(1, 2, 0).numpy()
            unwrapped = cv2.resize(flat, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            seen = tile(frame.image, track.vertices(slice(row, row + 1))[0])
            views = [view(row, yaw, grey) for yaw in YAWS]
            lines.append(np.concatenate([seen, painted(track, row, frame.image, look(row)), unwrapped, *views], 1))
    return np.concatenate(lines)


def main(folder: Path, out: Path, count: int = 3) -> None:
    """Write the sheet of COUNT frames of the track in FOLDER to OUT."""
    torch.set_num_threads(1)
    track = load(folder)
    if not track.model().paints_view:
        raise typer.BadParameter(f"{folder}: its decoder paints no texture of its own; track with --decoder first")
    found = np.flatnonzero(track.ok)
    rows = evenly(found[split_frames(len(found))[1]], count)
    if not cv2.imwrite(str(out), cv2.cvtColor(sheet(track, rows), cv2.COLOR_RGB2BGR)):
        raise typer.BadParameter(f"{out}: cannot be written")


if __name__ == "__main__":
    typer.run(main)
