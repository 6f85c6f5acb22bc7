"""How far the mesh that Blender shows of an exported track, through the exported camera, covers that of the overlay.

pip install --no-deps 'bpy>=5,<6'
python scripts/compare_outline.py TRACK [TRACK ...] --pictures FOLDER

The scene is what `track-export --to glb,blender` makes of a track; its silhouette is what Blender's path tracer covers.
The overlay's is that of all triangles of its mesh, of which it fades out those behind ears and hairline.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer

from selftrack.decoders.mesh.rasterizer import rasterize
from selftrack.tracker import load
from selftrack.tracker.export import default_path, write
from selftrack.tracker.export.timing import frame_rate
from selftrack.tracker.results.clip import open_clip
from selftrack.tracker.results.track_file import Track

_RENDER = """
import sys
import bpy

script, out, *frames = sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
exec(compile(open(script).read(), script, "exec"), {"__name__": "__main__", "__file__": script})
scene.camera.data.show_background_images = False
scene.world = bpy.data.worlds.new("none")
scene.render.engine, scene.render.film_transparent = "CYCLES", True
scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 4, False
scene.cycles.pixel_filter_type = "BOX"
scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
scene.render.threads_mode, scene.render.threads = "FIXED", 1
for index, frame in enumerate(map(float, frames)):
    scene.frame_set(int(frame), subframe=frame % 1)
    scene.render.filepath = f"{out}/{index}.png"
    bpy.ops.render.render(write_still=True)
"""


def blenders_outlines(track: Track, rows: np.ndarray, folder: Path) -> list[np.ndarray]:
    """What Blender covers of the clip's picture in frames (N,) of a track: (H,W) bool each; files lie in a folder."""
    glb, script = (default_path(track.clip, to, folder) for to in ("glb", "blender"))
    write(track, "glb", glb)
    write(track, "blender", script)
    rate = frame_rate(track.times)
    frames = [f"{round(float(track.times[row]) * rate, 3):.3f}" for row in rows]
    command = [sys.executable, "-c", _RENDER, str(script), str(folder), *frames]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    drawn = [cv2.imread(str(folder / f"{index}.png"), cv2.IMREAD_UNCHANGED) for index in range(len(rows))]
    return [picture[..., 3] > 127 for picture in drawn]


def overlays_outline(track: Track, row: int) -> np.ndarray:
    """What the triangles of the track's mesh cover of the clip's picture in a frame: (H,W) bool."""
    width, height = track.size
    vertices = torch.from_numpy(track.vertices(slice(row, row + 1)))
    return (rasterize(vertices, track.model().faces, (height, width)).face_index[0] >= 0).numpy()


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two silhouettes."""
    return float((one & other).sum() / (one | other).sum())


def main(
    folders: list[Path],
    frames: Annotated[int, typer.Option(help="Frames of each track, evenly spread.")] = 3,
    pictures: Annotated[Path | None, typer.Option(help="Where to put pictures of the two outlines.")] = None,
) -> None:
    """Print the least and the mean overlap of each track."""
    for folder in folders:
        track = load(folder)
        rows = np.flatnonzero(track.ok)[np.linspace(0, track.ok.sum() - 1, frames).round().astype(int)]
        with tempfile.TemporaryDirectory() as files:
            theirs = blenders_outlines(track, rows, Path(files))
        ours = [overlays_outline(track, row) for row in rows]
        values = [overlap(one, other) for one, other in zip(ours, theirs, strict=True)]
        print(f"{folder.name}: least {min(values):.4f}, mean {np.mean(values):.4f} of {len(rows)} frames", flush=True)
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
            worst = int(np.argmin(values))
            cv2.imwrite(str(pictures / f"{folder.name}.png"), _drawn(track, rows[worst], ours[worst], theirs[worst]))


def _drawn(track: Track, row: int, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The clip's frame (H,W,3) BGR with the overlay's outline in green and Blender's in red."""
    with open_clip(track) as source:
        image = next(frame.image for frame in source if frame.index == row)[..., ::-1].copy()
    for outline, colour in ((ours, (0, 220, 0)), (theirs, (0, 0, 255))):
        edges, _ = cv2.findContours(outline.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, edges, -1, colour, 1)
    return image


if __name__ == "__main__":
    typer.run(main)
