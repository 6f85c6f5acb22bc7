"""What a rig is drawn by: its triangles, where its pictures lie, and how its parts shine."""

from __future__ import annotations

import numpy as np

from selftrack.synthetic.clip_render import Surface
from selftrack.synthetic.rigs.rig import Rig
from selftrack.synthetic.studio_render import mesh_normals


def rig_surface(rig: Rig) -> Surface:
    """Take what a rig is drawn by."""
    gloss, sharp = np.where(rig.moist, 4.0, 1.0), np.where(rig.moist, 20.0, 1.0)
    reach = np.select([rig.inner, rig.moist], [0.35, 0.75], 1.0)
    corners = np.arange(3 * len(rig.faces)).reshape(-1, 3)
    normals = mesh_normals(rig.neutral, rig.faces)
    outward = float(-np.sign(normals[rig.neutral[:, 2].argmin(), 2]))
    return Surface(rig.faces, corners, rig.corners.reshape(-1, 2).astype(float), gloss, sharp, reach, outward)
