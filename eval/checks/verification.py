"""How well the face descriptor tells people apart on photos of one's own, whole and with a part of the face covered.

    python -m selftrack.eval.checks.verification PHOTOS

PHOTOS has a folder of pictures for each person. All pairs of pictures count; the boxes are black, as in Table 6 of Wen
et al. 2021, and lie on the aligned face.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer

from selftrack.command import run
from selftrack.errors import UserError
from selftrack.io import markdown_table
from selftrack.tracker.identity.descriptor import aligned, describe_aligned, distance, places
from selftrack.tracker.identity.network import SIDE
from selftrack.tracker.landmarks.base import LandmarkSource
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.sources.images import read_picture
from selftrack.tracker.sources.names import is_picture

COVERED = ("nothing", "upper: eyes", "middle: nose", "lower: mouth")
"""What of a face boxes hide."""
_WIDTH = 0.65
"""Of the boxes, share of the picture's side; each is as tall as a half of what lies between eyes and mouth."""


class Verification(NamedTuple):
    """How well distances tell pairs of one person from pairs of two."""

    auc: float
    """Probability that a pair of one person is nearer than one of two, ties counted half: the area under the ROC."""
    eer: float
    """Equal error rate: at some distance as large a share of pairs of one person is farther as of two people nearer."""
    threshold: float
    """That distance."""


def verify(same: np.ndarray, other: np.ndarray) -> Verification:
    """Judge distances (N,) of pairs of one person by those (M,) of pairs of two. Raises ValueError where one is
    empty."""
    if not len(same) or not len(other):
        raise ValueError(f"expected pairs of both kinds, got {len(same)} of one person and {len(other)} of two")
    one, two = np.sort(same), np.sort(other)
    nearer = np.searchsorted(one, two, "left") + np.searchsorted(one, two, "right")
    at = np.unique(np.concatenate([one, two]))
    missed = 1 - np.searchsorted(one, at, "right") / len(one)  # of one person, farther than a distance
    taken = np.searchsorted(two, at, "right") / len(two)  # of two, nearer or as near
    row = int(np.abs(missed - taken).argmin())
    return Verification(float(nearer.mean() / 2 / len(one)), float((missed + taken)[row] / 2), float(at[row]))


def cover(picture: np.ndarray, part: str) -> np.ndarray:
    """An aligned face (150,150,3) with a black box over a part of `COVERED`."""
    if part == COVERED[0]:
        return picture
    right, left, mouth = places()
    eyes = (right + left) / 2
    middle = eyes + (mouth - eyes) * (COVERED.index(part) - 1) / 2
    width, height = round(_WIDTH * SIDE), round(float(np.linalg.norm(mouth - eyes)) / 2)
    x, y = np.rint(middle - np.array([width, height]) / 2).astype(int)
    out = picture.copy()
    out[y : y + height, x : x + width] = 0
    return out


def pairs(descriptors: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances of all pairs of descriptors (N,128) of one person, and of those of two, by their numbers (N,)."""
    rows, columns = np.triu_indices(len(people), 1)
    far = np.concatenate([distance(descriptors[row], descriptors[row + 1 :]) for row in range(len(people))])
    one = people[rows] == people[columns]
    return far[one], far[~one]


def read_people(folder: Path, landmarks: LandmarkSource) -> tuple[dict[str, list[np.ndarray]], int]:
    """Aligned faces by person, the largest of each picture, and the number of pictures without one.

    Raises:
        UserError: a picture cannot be read, or there are not two people, or of none of them two pictures.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one that has a folder of photos for each person")
    people, without = dict[str, list[np.ndarray]](), 0
    for home in sorted(place for place in folder.iterdir() if place.is_dir()):
        for path in sorted(file for file in home.iterdir() if is_picture(file)):
            picture = read_picture(path)
            faces = landmarks.faces(picture, DetectConfig())
            without += not faces
            if faces:
                people.setdefault(home.name, []).append(aligned(picture, faces[0].points))
    if len(people) < 2 or max(map(len, people.values())) < 2:
        raise UserError(
            f"{folder}: faces of {len(people)} people were found; a folder for each of two or more is needed, one of "
            "them with two photos or more"
        )
    return people, without


def main(photos: Annotated[Path, typer.Argument(help="A folder that has a folder of photos for each person.")]) -> None:
    """Print how well the face descriptor tells the people of some photos apart, as Markdown."""
    torch.set_num_threads(1)
    people, without = read_people(photos, AttentionMesh(torch.device("cpu")))
    pictures = [picture for own in people.values() for picture in own]
    numbers = np.repeat(np.arange(len(people)), [len(own) for own in people.values()])
    rows = []
    for part in COVERED:
        same, other = pairs(describe_aligned([cover(picture, part) for picture in pictures]), numbers)
        found = verify(same, other)
        cells = (f"{same.mean():.2f}", f"{other.mean():.2f}", f"{found.auc:.4f}", f"{100 * found.eer:.1f}")
        rows.append([part, *cells, f"{found.threshold:.2f}"])
    count = f"{len(pictures)} faces of {len(people)} people: {len(same)} pairs of one person, {len(other)} of two"
    print(f"{count}; {without} pictures without a face were left out\n")
    header = ["covered", "distance, one person", "two people", "AUC", "equal error rate, %", "at distance"]
    print(markdown_table(header, rows), end="")


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.verification", verification=main)
