"""The curves of the user's own character by its own names, and its .glb with an animation."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter

if TYPE_CHECKING:
    import numpy as np

    from selftrack.decoders.rigs.character import Character
    from selftrack.tracker.results.track_file import Track


@exporter("character-csv", "character.csv", needs=[Need.ARKIT_CURVES], asks=["character"])
def export_csv(track: Track, path: Path, options: ExportOptions) -> None:
    """Write time (seconds) and the weights of the character's shapes, 0..1, one row per frame."""
    character, weights = _driven(track, options)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["time", *character.mesh.names])
        for time, row in zip(track.times.tolist(), weights.tolist(), strict=True):
            writer.writerow([f"{time:.6f}", *(f"{value:.5f}" for value in row)])


@exporter("character-glb", "character.glb", needs=[Need.ARKIT_CURVES], asks=["character"])
def export_glb(track: Track, path: Path, options: ExportOptions) -> None:
    """Write the character's .glb with one more animation: weights of its shapes and the turn of its head."""
    from selftrack.tracker.export.characters._animation import animated
    from selftrack.tracker.geometry.camera import camera_pose, focal_length

    character, weights = _driven(track, options)
    turns, _ = camera_pose(track, focal_length(track, options.focal))
    name = Path(track.clip).stem
    path.write_bytes(animated(character, name, track.times, weights, turns))


def _driven(track: Track, options: ExportOptions) -> tuple[Character, np.ndarray]:
    """The character, and the weights (T,K) of its shapes."""
    from selftrack.decoders.head.model import load_head
    from selftrack.decoders.rigs.character import Character
    from selftrack.tracker.characters.fit import drive

    assert options.character
    character = Character.load(options.character)
    return character, drive(character, track.curves(), load_head())
