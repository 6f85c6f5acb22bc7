"""A mesh with shapes by name, as a file has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ShapedMesh:
    """All meshes of a face, with the shapes that move them; units and axes are those of whoever made it."""

    neutral: np.ndarray
    """(V,3)"""
    faces: np.ndarray
    """(F,3) int64."""
    names: tuple[str, ...]
    """Of the K shapes, in the file's order; meshes that have a name in common move together."""
    deltas: np.ndarray
    """(K,V,3) float32, what a shape at 1 adds."""
    corners: np.ndarray
    """(F,3,2) texture coordinates of the triangles' corners, v down."""
    skin: np.ndarray
    """(F,) bool, triangles of the skin, without eyes, teeth and the mouth's inside."""
    moist: np.ndarray
    """(F,) bool, triangles of the eyes."""
    inner: np.ndarray
    """(F,) bool, triangles within the mouth."""
    texture: np.ndarray
    """(T,T,3) uint8 sRGB."""
