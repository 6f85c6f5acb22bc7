"""Which faces of a clip are asked for: everyone, so many, these, or the one of a photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.errors import NoFaceError, UserError

if TYPE_CHECKING:
    import numpy as np

    from selftrack.tracker.landmarks.cast import CastFace

EVERYONE = "all"
NEAR = 0.55
"""Distance from a photo up to which a face may be of the same person."""
UNSURE = 0.1
"""Who is farther by less than that from a photo than the nearest may be the one, too."""
LEAST = 1.0
"""Seconds; of everyone, who is seen for less passes by. Of clips shorter than twice that, it is half of the clip."""

Choice = str | int | Sequence[int]
"""Faces of a clip: `EVERYONE`, how many of the first ones, their numbers, or a text of either: "2", "0,2"."""


def check_choice(choice: Choice) -> Choice:
    """Read a choice of faces: a text becomes what it says, and numbers are put in order.

    Raises:
        UserError: it is none.
    """
    read: Choice | None = choice
    if isinstance(choice, str) and choice != EVERYONE:
        parts = [part.strip() for part in choice.split(",")]
        numbers = [int(part) for part in parts if part.isdecimal()]
        read = None if len(numbers) < len(parts) else numbers if len(parts) > 1 else numbers[0]
    if read == EVERYONE or (isinstance(read, int) and read >= 1):
        return read
    if isinstance(read, list | tuple) and read and all(isinstance(part, int) and part >= 0 for part in read):
        return sorted(set(read))
    raise UserError(
        f"--faces takes {EVERYONE}, how many of the first ones (2), or two numbers or more (0,2); got {choice!r}; for "
        "one face alone use --face"
    )


def choose(faces: Sequence[CastFace], choice: Choice, name: str, duration: float | None) -> tuple[list[int], list[str]]:
    """Choose among the faces of a clip, by number.

    Args:
        faces: everyone in the clip, one at least.
        choice: as `check_choice` returns it. `EVERYONE` is without those who pass by, see `LEAST`.
        name: what messages call the clip, see `FrameSource.title`.
        duration: of the clip, seconds; None where that is not known.

    Returns:
        The numbers that were chosen, and notes for the user.

    Raises:
        NoFaceError: one that was asked for is not there.
    """
    why = ""
    if isinstance(choice, str):
        least = LEAST if duration is None else min(LEAST, duration / 2)
        longest = max(face.seen for face in faces)
        numbers = [number for number, face in enumerate(faces) if face.seen >= min(least, longest)]
        why = f" (seen for less than {least:.2g} s)"
    elif isinstance(choice, int):
        numbers = list(range(choice))
    else:
        numbers = list(choice)
    if numbers[-1] >= len(faces):
        asked = choice if isinstance(choice, int) else ",".join(map(str, numbers))
        raise NoFaceError(f"--faces {asked}: the faces of {name} are {listed(faces)}; name these, or {EVERYONE}")
    if len(faces) < 2:
        return numbers, []
    note = f"{name}: {len(faces)} faces were found; followed were {listed(faces, numbers)}"
    others = [number for number in range(len(faces)) if number not in numbers]
    if others:
        note += f"; left out{why}: {listed(faces, others)}; name the numbers of all to follow with --faces"
    return numbers, [note]


def face_or_photo(text: str) -> int | Path:
    """Read what `--face` takes: the number of a face, or the file of a photo.

    Raises:
        UserError: it is neither.
    """
    if text.isdecimal():
        return int(text)
    if not Path(text).is_file():
        raise UserError(f"--face takes the number of a face, see --thumbnails, or a photo; there is no file {text!r}")
    return Path(text)


def most_like(faces: Sequence[CastFace], far: np.ndarray, name: str, photo: str) -> tuple[int, str]:
    """Choose the face of a clip that looks most like a photo.

    Args:
        faces: everyone in the clip, one at least.
        far: (N,) how far each is from the photo, see `photo.distances`.
        name: what messages call the clip, see `FrameSource.title`.
        photo: the file.

    Returns:
        Its number, and a note for the user.

    Raises:
        NoFaceError: nobody is near enough.
    """
    shown = ", ".join(f"{number} ({face}) at {far[number]:.2f}" for number, face in enumerate(faces))
    nearest = int(far.argmin())
    if far[nearest] > NEAR:
        raise NoFaceError(
            f"--face {photo}: nobody in {name} looks like this; the nearest is at {far[nearest]:.2f}, at most {NEAR} "
            f"will do; there are {shown}; name one by its number, or give another photo"
        )
    close = [str(k) for k in range(len(faces)) if k != nearest and far[k] < far[nearest] + UNSURE]
    doubt = f"; face {' and '.join(close)} is hardly farther, look at faces.png" if close else ""
    return nearest, f"{name}: distances from {photo} are {shown}; face {nearest} was followed{doubt}"


def listed(faces: Sequence[CastFace], numbers: Sequence[int] | None = None) -> str:
    """Faces, by default all, with their numbers; "none" without any."""
    shown = range(len(faces)) if numbers is None else numbers
    return ", ".join(f"{number} ({faces[number]})" for number in shown) or "none"
