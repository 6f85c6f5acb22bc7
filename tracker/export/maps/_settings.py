"""What maps there are, what their numbers mean, and which part of the frame they show."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from selftrack.errors import UserError

FRAME, FACE = "frame", "face"
"""Crops by name: all of the frame; the square that the tracker saw, upright and in step with the face."""
SIDES = (16, 8192)
"""Least and largest width or height of a picture, pixels."""
_REACH = (
    1e5  # pixels: no frame is larger; far beyond, or of less than one, the scale of a picture is no number any more
)


@dataclass(frozen=True)
class Channel:
    """One number of a pixel: 0 in a file means `low`, and the largest whole number `high`."""

    meaning: str
    low: float = 0.0
    high: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class MapKind:
    """One map."""

    meaning: str
    channels: tuple[Channel, ...]
    """One or three; of three, red, green and blue."""
    bits: int = 8
    """Of a channel, where it is written in whole numbers."""
    landmarks: bool = False
    """Whether the decoder has to know where its landmarks are."""
    of_clip: bool = False
    """Whether it shows the clip, which has to be there, and not the mesh; it is drawn where it is named."""

    @property
    def largest(self) -> int:
        """The value that is written for `high`."""
        return 2**self.bits - 1


_DEPTH_STEP = 1e-5  # metres
KINDS = {
    "pncc": MapKind(
        "projected normalised coordinate code: the place of the surface's point on the decoder's mean, in the share of "
        "the mean's extent",
        tuple(
            Channel(meaning)
            for meaning in ("to the picture's right, the face being seen from the front", "up", "towards the viewer")
        ),
    ),
    "normals": MapKind(
        "unit normal of the surface, in the picture's axes",
        tuple(Channel(meaning, -1.0) for meaning in ("to the picture's right", "up", "towards the viewer")),
    ),
    "depth": MapKind(
        "depth of the surface along the line of sight, from the head's origin on",
        (Channel("away from the viewer", -32768 * _DEPTH_STEP, 32767 * _DEPTH_STEP, "m"),),
        bits=16,
    ),
    "uv": MapKind(
        "where the surface's point is in the texture, such as texture.png",
        (Channel("u, to the texture's right"), Channel("v, down"), Channel("1 on the mesh")),
        bits=16,
    ),
    "parts": MapKind("number of the mesh's part, by `labels`", (Channel("the number itself", 0.0, 255.0),)),
    "landmarks": MapKind(
        "the 68 points of 300-W on the mesh, joined by lines, each group in its colour; as numbers in landmarks.npy",
        tuple(Channel(colour) for colour in ("red", "green", "blue")),
        landmarks=True,
    ),
    "image": MapKind(
        "the clip's own picture, in its colours as displayed",
        tuple(Channel(colour) for colour in ("red", "green", "blue")),
        of_clip=True,
    ),
}
"""The maps by name. What is written as 0 in all channels is no part of the mesh, if it is shown."""
COLOURS = {
    "jaw": (255, 255, 255),
    "right brow": (255, 160, 0),
    "left brow": (255, 220, 0),
    "nose": (0, 200, 80),
    "right eye": (0, 120, 255),
    "left eye": (0, 220, 255),
    "outer lips": (255, 0, 80),
    "inner lips": (255, 0, 255),
}
"""Of the map of landmarks, RGB; right and left are the subject's own."""


def map_names(text: str) -> tuple[str, ...]:
    """Read names with commas between them, once each.

    Raises:
        UserError: one of them is no map.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in names or ("",):
        if name not in KINDS:
            close = difflib.get_close_matches(name, KINDS, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(KINDS)}"
            raise UserError(f"--maps: there is no map {name!r}; {hint}")
    return names


def crop_box(text: str) -> tuple[float, float, float, float] | None:
    """Read a rectangle x, y, width, height in the frame's pixels; None for one of the crops by name.

    Raises:
        UserError: it is neither.
    """
    if text in (FRAME, FACE):
        return None
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        width = height = 0.0
    if not (1 <= width <= _REACH and 1 <= height <= _REACH and abs(x) <= _REACH and abs(y) <= _REACH):
        raise UserError(
            f"--crop must be {FRAME}, {FACE}, or X,Y,WIDTH,HEIGHT in pixels of the clip, width and height from 1 to "
            f"{_REACH:.0f}; got {text!r}"
        )
    return x, y, width, height


def check_side(side: int) -> None:
    """Make sure that a picture can be so wide or high.

    Raises:
        UserError: it cannot.
    """
    if not SIDES[0] <= side <= SIDES[1]:
        raise UserError(f"maps can be {SIDES[0]} to {SIDES[1]} pixels wide and high; got {side}; choose another --size")
