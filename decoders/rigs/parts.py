"""Parts of a face, told by the names of materials, meshes and nodes."""

from __future__ import annotations

import re

import numpy as np

_UNSEEN = re.compile(r"lash|occlusion|tear|lacrimal|cornea|eye_?blend|eye_?wet|hair", re.IGNORECASE)
_EYE = re.compile(r"eye(?!brow|_?lid)|iris|sclera|pupil", re.IGNORECASE)
_INNER = re.compile(r"teeth|tooth|tongue|gum|mouth|cavity", re.IGNORECASE)


def is_unseen(name: str) -> bool:
    """Whether what has this name is mostly transparent, so that it is left out of pictures."""
    return bool(_UNSEEN.search(name))


def kinds(name: str, count: int) -> np.ndarray:
    """Tell for `count` triangles of what has this name whether they are skin, eye, or within the mouth: (count,3)."""
    eye, inner = bool(_EYE.search(name)), bool(_INNER.search(name))
    return np.tile([not eye and not inner, eye, inner and not eye], (count, 1))
