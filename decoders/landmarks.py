"""Which of a detector's points is what: every index set of every detector.

Two detectors are known. MediaPipe's attention mesh has 478 points: 468 of the canonical face mesh, then five of each
iris (centre, right, top, left, bottom). 300-W's scheme (iBUG) has 68, which FAN finds. Left and right are the
subject's own; the subject's right is on the left of the image.
"""

from __future__ import annotations

from typing import NamedTuple

MESH_POINTS = 468
"""Points of the face mesh, without the irises."""
POINTS = 478
"""All points of the dense detector."""

IBUG_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)
"""The 68 points of 300-W among the dense ones."""

NOSE_TIP, CHIN, HAIRLINE = 1, 152, 10
EARS = (234, 454)
"""Where the face's contour passes the right and the left ear."""
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
BEARD = (
    *(132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400),
    *(378, 379, 365, 397, 288, 361, 426, 327, 2, 98, 206),
)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
LOWER_LIP = (146, 91, 181, 84, 17, 314, 405, 321, 375)
"""Its outer edge; the corners of the mouth, 61 and 291, belong to both lips."""
UPPER_LIP = (409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS = (61, *LOWER_LIP, 291, *UPPER_LIP)
INNER_LIP_CONTOUR = (
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    *(415, 310, 311, 312, 13, 82, 81, 80, 191),
)
"""From the mouth's right corner along the lower lip's inner edge and back along the upper one's."""
INNER_LIPS = (13, 14)
"""The middles of the upper and the lower lip's inner edge."""

MOUTH_CORNERS = (61, 78, 62, 76, 95, 146, 185, 191, 291, 308, 292, 306, 324, 375, 409, 415)
"""Both and the points beside them."""

OUTER_EYE_CORNERS = (33, 263)
"""Of the right and the left eye: the ends of the inter-ocular distance (IOD)."""
EYE_CORNERS = (33, 133, 362, 263)
"""From the right eye's outer to the left eye's outer corner."""
RIGHT_EYE = (33, 160, 158, 133, 153, 144)
"""Outer corner, upper lid twice, inner corner, lower lid twice."""
LEFT_EYE = (263, 387, 385, 362, 380, 373)
EYE_CONTOURS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
"""The edges of the lids of the right and the left eye: from the outer corner over the upper lid and back."""
IRISES = tuple(range(468, 478))
RIGHT_IRIS, LEFT_IRIS = 468, 473
"""The irises' centres; four points of the edge follow each."""

_MIDLINE = (0, 1, 2, 4, 5, 6, *range(8, 20), 94, 151, 152, 164, 168, 175, 195, 197, 199, 200)
_FIRST_LEFT = 248  # of the mesh; on both sides the points are counted in the same order
_IRIS_PAIRS = ((468, 473), (469, 476), (470, 475), (471, 474), (472, 477))  # right and left of an iris change places


def _mirrored() -> tuple[int, ...]:
    right = [point for point in range(_FIRST_LEFT) if point not in _MIDLINE]
    found = list(range(POINTS))
    for one, other in (*zip(right, range(_FIRST_LEFT, MESH_POINTS), strict=True), *_IRIS_PAIRS):
        found[one], found[other] = other, one
    return tuple(found)


MIRRORED = _mirrored()
"""For each of the dense points the one that a mirror shows in its place."""


def mirrored_points(points: int) -> tuple[int, ...]:
    """For each of 478 or 68 points the one that a mirror shows in its place."""
    return MIRRORED if points == POINTS else tuple(IBUG_68.index(MIRRORED[point]) for point in IBUG_68)


OPENINGS = (
    *((159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373)),
    *((13, 14), (82, 87), (312, 317), (81, 178), (311, 402)),
    *((61, 291), (78, 308), (0, 17)),
    *((1, 152), (1, 148), (1, 377), (17, 152), (17, 148), (17, 377)),
    *((468, 33), (468, 133), (473, 263), (473, 362)),
)
"""Pairs whose difference shows how far lids, lips and jaw are open, how wide the mouth is, where the irises are."""
BROW_HEIGHTS = (
    *((55, 133), (66, 133), (107, 133), (105, 33), (70, 33)),
    *((285, 362), (296, 362), (336, 362), (334, 263), (300, 263)),
)
"""Pairs of a brow's point and the eye's corner below it, whose difference shows how far the brow is raised."""

DISTANCES = {
    "right lids": (159, 145),
    "left lids": (386, 374),
    "lip gap": INNER_LIPS,
    "mouth width": (61, 291),
    "right brow": (105, 33),
    "left brow": (334, 263),
    "nose to chin": (NOSE_TIP, CHIN),
}
"""Pairs whose distance follows one movement of the face each."""


class Layout(NamedTuple):
    """What a detector's points outline, by their indices."""

    eyes: tuple[int, int]
    """The outer eye corners, the image's left one first."""
    chin: int
    midline: int
    """A point of the midline above the eyes."""
    contour: tuple[int, ...]
    """Points of the face's silhouette."""
    outline: tuple[int, ...]
    """Points whose convex hull is the face."""
    features: tuple[tuple[int, ...], ...]
    """Eyes, brows and lips, each by points whose convex hull it is."""


MESH_LAYOUT = Layout(OUTER_EYE_CORNERS, CHIN, HAIRLINE, FACE_OVAL, FACE_OVAL, (RIGHT_EYE, LEFT_EYE, *BROWS, LIPS))
_IBUG_FEATURES = ((17, 22), (22, 27), (36, 42), (42, 48), (48, 60))  # brows, eyes, outer lips
IBUG_LAYOUT = Layout(
    (36, 45), 8, 27, tuple(range(17)), tuple(range(27)), tuple(tuple(range(*group)) for group in _IBUG_FEATURES)
)
LAYOUTS = {POINTS: MESH_LAYOUT, MESH_POINTS: MESH_LAYOUT, len(IBUG_68): IBUG_LAYOUT}


def layout(points: int) -> Layout:
    """Find the layout of a detector with that many points.

    Raises:
        ValueError: not 478, 468 (the dense detector with and without irises) or 68.
    """
    if points not in LAYOUTS:
        raise ValueError(f"expected 478, 468 or 68 landmarks, got {points}")
    return LAYOUTS[points]
