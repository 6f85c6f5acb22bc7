"""What the curves mean: a rig that is not ours is filmed with known curves, and the tracker's are held against them.

    python -m selftrack.eval.meaning.benchmark RIG TAKES OUT --clips 8

films the clips (`synthetic.rigs.film`), tracks them and writes OUT/meaning.md and OUT/meaning.json. What is in OUT
already is not made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.spatial.transform import Rotation

from selftrack.command import run
from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.eval.meaning.curves import CurveSums, summary
from selftrack.eval.meaning.surface import similarity_distance
from selftrack.io import json_text, markdown_table, write_text
from selftrack.synthetic.people import face_vertices
from selftrack.synthetic.rigs.film import Film, film_clip
from selftrack.synthetic.rigs.opening import read_rig
from selftrack.synthetic.rigs.performance import SUFFIX, Performance, read_takes
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.results.track_file import NAME, Track


@dataclass(frozen=True)
class Meaning:
    """What one clip's track says of a known performance."""

    sums: CurveSums
    known: np.ndarray
    """(52,) bool, the curves that the rig can show."""
    turn: float
    """Mean angle of the head's rotation to the true one against the ray through the head, degrees."""
    shape: float
    """Mean distance of the tracked face, without expression, from the true surface, similarity removed, mm."""
    mean_shape: float
    """The same of the mean head."""


def judge(track: Track, performance: Performance) -> Meaning:
    """Hold a track against the performance that it is of."""
    ok = track.ok
    turned = Rotation.from_euler("xyz", track.H_image[ok, 1:4]) * apparent(performance)[ok].inv()
    head, decoder = load_head(), track.model()
    face, mean = face_vertices(head), head.mean.numpy().astype(float)
    at_rest = torch.zeros(1, decoder.size)
    at_rest[0, decoder.identity] = torch.from_numpy(track.identity)
    person = decoder.geometry(at_rest)[0].numpy().astype(float)
    surface = performance.neutral.astype(float), performance.faces
    return Meaning(
        CurveSums.of(performance.curves[ok], track.curve_values[ok]),
        performance.known,
        float(np.degrees(turned.magnitude()).mean()),
        similarity_distance(person[face], *surface) * 1000,
        similarity_distance(mean[face], *surface) * 1000,
    )


def apparent(performance: Performance) -> Rotation:
    """The head's rotations (T,) against the ray through its origin, which are what a picture shows."""
    ray = performance.position / np.linalg.norm(performance.position, axis=1, keepdims=True)
    axis = np.cross([0.0, 0.0, 1.0], ray)
    half = np.sqrt((1 + ray[:, 2:]) / 2)
    to_ray = Rotation.from_quat(np.concatenate([axis / (2 * half), half], 1))
    return to_ray.inv() * Rotation.from_euler("xyz", performance.angles)


def measure(folder: Path, progress: Callable[[str], None]) -> list[Meaning]:
    """Track the clips in a folder that have their performance beside them, and judge the tracks."""
    model, rows = None, []
    for path in sorted(folder.glob("*" + SUFFIX)):
        clip = path.with_name(path.name.removesuffix(SUFFIX) + ".mp4")
        work = folder / "tracks" / clip.stem
        if not (work / NAME).exists():
            model = model or load_model(TrackConfig())
            track_clip(clip, work, TrackConfig(overlay=False), model=model)
        rows.append(judge(load(work), Performance.load(path)))
        progress(clip.stem)
    return rows


def figures(rows: list[Meaning]) -> dict[str, float]:
    """The figures of several clips together."""
    sums, known = joined(rows)
    shapes = np.array([(row.shape, row.mean_shape) for row in rows])
    return summary(sums, known) | {
        "turn": float(np.mean([row.turn for row in rows])),
        "shape": float(shapes[:, 0].mean()),
        "shape_of_mean_head": float(shapes[:, 1].mean()),
    }


def joined(rows: list[Meaning]) -> tuple[CurveSums, np.ndarray]:
    """Add up the sums of several clips; also the curves (52,) that their rigs can show."""
    sums = rows[0].sums
    for row in rows[1:]:
        sums = sums + row.sums
    return sums, np.logical_or.reduce([row.known for row in rows])


def table(rows: list[Meaning]) -> str:
    """A Markdown table of the curves that move."""
    sums, known = joined(rows)
    r, gain, rest, talk = sums.correlation(), sums.gain(), sums.rest_offset(), sums.cross_talk()
    lines = []
    for i in np.flatnonzero(sums.moving & known):
        others = np.where(np.arange(len(ARKIT_NAMES)) == i, 0, talk[i])
        most = int(np.abs(others).argmax())
        leak = f"{ARKIT_NAMES[most]} {others[most]:+.2f}"
        lines.append([ARKIT_NAMES[i], f"{r[i]:.2f}", f"{gain[i]:.2f}", f"{rest[i]:+.3f}", leak])
    return markdown_table(["curve", "r", "gain", "at rest", "leaks most into"], lines)


def main(
    rig: Annotated[Path, typer.Argument(help="The rig: a .glb, or ICT-FaceKit as an .npz.")],
    takes: Annotated[Path, typer.Argument(help="Recordings of ARKit's curves: a CSV, or an .npz of several.")],
    folder: Annotated[Path, typer.Argument(help="Folder for clips, tracks and figures.", metavar="OUT")],
    clips: Annotated[int, typer.Option(help="Number of clips (default 8).", min=1)] = 8,
    seconds: Annotated[float, typer.Option(help="Length of each clip (default 5).", min=0.2)] = 5.0,
    only: Annotated[list[str] | None, typer.Option(help="Use this take of several; may be repeated.")] = None,
    texture: Annotated[Path | None, typer.Option(help="A picture of the skin, in place of the .glb's own.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed (default 0).", min=0)] = 0,
) -> None:
    """Measure what the tracker's curves mean."""
    known = [take for take in read_takes(takes) if not only or take.name in only]
    if not known:
        raise UserError(f"{takes}: no take named {', '.join(only or [])}")
    folder.mkdir(parents=True, exist_ok=True)
    film = None
    for number in range(clips):
        path = folder / f"clip{number:02d}.mp4"
        if not path.with_name(path.stem + SUFFIX).exists():
            film = film or Film(read_rig(rig, load_head(), texture))
            film_clip(path, film, known[number % len(known)], seconds, seed, number)
    rows = measure(folder, lambda name: print(name, flush=True))
    values = figures(rows)
    summed = markdown_table(["figure", "value"], [[name, f"{value:.3f}"] for name, value in values.items()])
    write_text(folder / "meaning.md", f"{summed}\n{table(rows)}")
    write_text(folder / "meaning.json", json_text(values))
    print(summed)


if __name__ == "__main__":
    run("python -m selftrack.eval.meaning.benchmark", meaning=main)
