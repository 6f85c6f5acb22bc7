"""Any .glb or .gltf with a face as a rig: ARKit's shapes by their names, or none, as of a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.rigs import gltf
from selftrack.decoders.rigs.names import arkit_names
from selftrack.synthetic.rigs.rig import Rig


def read_gltf(path: Path, texture: Path | None = None) -> Rig:
    """Read a rig. Its units are the file's: see `metric.to_metres`.

    Args:
        path: of a .glb, or of a .gltf with its files beside it; the face looks along +z.
        texture: a picture in place of the materials' own, with v up, as OBJ and three.js's loaders have it.

    Raises:
        UserError: as `decoders.rigs.gltf.read_gltf`.
    """
    mesh = gltf.read_gltf(path, texture)
    shapes = np.zeros((len(ARKIT_NAMES), *mesh.neutral.shape), np.float32)
    for name, curve in arkit_names(mesh.names).items():
        shapes[ARKIT_NAMES.index(curve)] += mesh.deltas[mesh.names.index(name)]
    return Rig(
        mesh.neutral,
        mesh.faces,
        shapes,
        (),
        mesh.corners,
        skin=mesh.skin,
        moist=mesh.moist,
        inner=mesh.inner,
        texture=mesh.texture,
    )
