"""A picture of a character: its face with the detector's points, and each of its shapes at 1."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from selftrack.decoders.landmarks import INNER_LIP_CONTOUR, LIPS
from selftrack.decoders.rigs.character import Character
from selftrack.io import atomic_path
from selftrack.tracker.characters.views import flat, picture, seen

_TILE, _LINE, _ACROSS = 180, 34, 8
"""Pixels of a shape's picture and of the words below it; pictures in a row."""
_REACH = 0.22
"""Metres that a picture shows."""
_FONT, _INK = cv2.FONT_HERSHEY_SIMPLEX, (30, 30, 30)


def draw(character: Character, weights: np.ndarray, side: int, turn: np.ndarray | None = None) -> np.ndarray:
    """Draw a character's face with weights (K,) of its shapes: (side,side,3) uint8 RGB.

    Args:
        turn: (3,3) that the head is turned by, in the head frame's axes.
    """
    mesh = character.mesh
    placed = _placed(character, mesh.neutral + np.tensordot(weights, mesh.deltas, 1), side, turn)
    return picture(mesh, placed, seen(mesh, placed, side))


def preview(character: Character) -> np.ndarray:
    """Show the face at rest with the points, large, and all shapes with their names: (H,W,3) uint8 RGB."""
    mesh, count = character.mesh, len(character.mesh.names)
    side = 3 * _TILE
    large = np.ascontiguousarray(draw(character, np.zeros(count), side))
    for number, (x, y, _) in enumerate(character.places(_placed(character, mesh.neutral, side, None))):
        colour = (255, 80, 60) if number in (*LIPS, *INNER_LIP_CONTOUR) else (60, 230, 90)
        cv2.circle(large, (round(float(x)), round(float(y))), 1, colour, -1, cv2.LINE_AA)
    tiles = [_named(draw(character, np.eye(count)[row], _TILE), _words(character, row)) for row in range(count)]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-count % _ACROSS)
    rows = [np.concatenate(tiles[i : i + _ACROSS], 1) for i in range(0, len(tiles), _ACROSS)]
    top = np.full((side, rows[0].shape[1], 3), 255, np.uint8)
    top[:, :side] = large
    facts = [
        character.source_name,
        f"{len(mesh.neutral)} vertices, {count} shapes",
        f"{len(character.follows)} follow ARKit's curves by name",
        f"{len(character.fitted)} are fitted",
        f"points: {character.error:.2f} % of the eyes' distance",
    ]
    for row, line in enumerate(facts):
        cv2.putText(top, line, (side + 20, 40 + 30 * row), _FONT, 0.7, _INK, 1, cv2.LINE_AA)
    return np.concatenate([top, *rows])


def write_preview(character: Character, path: Path) -> Path:
    """Write `preview` as a PNG."""
    with atomic_path(path) as part:
        cv2.imwrite(str(part), preview(character)[..., ::-1])
    return path


def _placed(character: Character, vertices: np.ndarray, side: int, turn: np.ndarray | None) -> np.ndarray:
    middle = character.places(character.mesh.neutral.astype(float)).mean(0)
    return flat(vertices, np.eye(3) if turn is None else turn, middle, side / _REACH, side)


def _words(character: Character, row: int) -> tuple[str, str]:
    """A shape's name, and what moves it and by how much."""
    name = character.mesh.names[row]
    most = 1000 * float(np.linalg.norm(character.mesh.deltas[row], axis=1).max())
    role = character.follows.get(name, "fitted" if name in character.fitted else "stays 0")
    return name[-28:], f"{role}, {most:.0f} mm"


def _named(tile: np.ndarray, words: tuple[str, str]) -> np.ndarray:
    line = np.full((_LINE, tile.shape[1], 3), 255, np.uint8)
    for number, text in enumerate(words):
        cv2.putText(line, text, (4, 13 + 15 * number), _FONT, 0.38, _INK, 1, cv2.LINE_AA)
    return np.concatenate([tile, line])
