"""ICT-FaceKit (Li et al. 2020, MIT) as a rig: people from scans with shapes near ARKit's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import Head
from selftrack.decoders.mesh.closest import closest_points
from selftrack.errors import UserError
from selftrack.synthetic.rigs.rig import Eyeball, Rig, eyeball

_AXES = np.array([0.01, -0.01, -0.01])  # centimetres, y up, z to the viewer -> head frame
_UNSEEN = ("M_LacrimalFluid", "M_EyeBlend", "M_EyeOcclusion", "M_EyeLashes")  # transparent ones
# Where the bundled head's texture shows what the face's skin does not: u0, v0, u1, v1.
_EYES = {"Left": (0.0, 0.79, 0.14, 1.0), "Right": (0.15, 0.79, 0.29, 1.0)}
_GUMS, _TEETH = (0.53, 0.895), (0.755, 0.84)


def read_ict(path: Path, head: Head) -> Rig:
    """Read the rig from its .npz, to be drawn with skins in the layout of `head`.

    The file has `neutral` (V,3), `faces` (F,4) quads, `face_material` (F,), `materials`, `identity` (K,V,3),
    `expression` (E,V,3), `expression_names` and `index_idx_to_landmark_verts` (68,), in centimetres.

    Raises:
        UserError: it is another file.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            values = {name: data[name] for name in data.files}
        materials = [str(name) for name in values["materials"]]
        quads, material = values["faces"], np.array(materials)[values["face_material"]]
        neutral, ibug = values["neutral"] * _AXES, values["index_idx_to_landmark_verts"].astype(np.int64)
        expression = dict(zip(map(str, values["expression_names"]), values["expression"], strict=True))
        identity = values["identity"].astype(np.float32) * _AXES.astype(np.float32)
    except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not ICT-FaceKit as an .npz ({error}); see docs/evaluation.md") from error
    visible = ~np.isin(material, _UNSEEN)
    quads, material = quads[visible].astype(np.int64), np.tile(material[visible], 2)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    eyes = tuple(_eyeball(side, neutral, faces, material) for side in ("Left", "Right"))
    shapes = np.stack([_shape(name, expression, neutral) for name in ARKIT_NAMES]).astype(np.float32)
    return Rig(
        neutral,
        faces,
        shapes,
        eyes,
        _corners(neutral, faces, material, eyes, neutral[ibug], head),
        skin=material == "M_Face",
        moist=np.isin(material, [f"M_{part}{side}" for part in ("Sclera", "Iris") for side in ("Left", "Right")]),
        inner=np.isin(material, ("M_GumsTongue", "M_Teeth")),
        identity=identity,
        ibug=ibug,
    )


def _shape(name: str, expression: dict[str, np.ndarray], neutral: np.ndarray) -> np.ndarray:
    """The displacements (V,3) of one of ARKit's curves: sides are _L and _R, and some of the middle are two."""
    own = name
    if name not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        own = name.replace("Left", "_L").replace("Right", "_R")
    parts = [expression[part] for part in (own, own + "_L", own + "_R") if part in expression]
    return np.sum(parts, axis=0) * _AXES if parts else np.zeros_like(neutral)


def _eyeball(side: str, neutral: np.ndarray, faces: np.ndarray, material: np.ndarray) -> Eyeball:
    vertices = np.unique(faces[np.isin(material, (f"M_Sclera{side}", f"M_Iris{side}"))])
    return eyeball(side, neutral, vertices, np.unique(faces[material == f"M_Sclera{side}"]))


def _corners(
    neutral: np.ndarray,
    faces: np.ndarray,
    material: np.ndarray,
    eyes: tuple[Eyeball, ...],
    points: np.ndarray,
    head: Head,
) -> np.ndarray:
    """Texture coordinates (F,3,2) in the head's layout.

    The skin is bent onto the head's by the 68 points (68,3) that both have, and takes the nearest place there.
    """
    target = head.landmarks68(head.mean[None])[0].numpy()
    bent = RBFInterpolator(points, target, kernel="thin_plate_spline")(neutral)
    names = np.array(head.part_names)[head.face_parts.numpy()]
    triangles = np.flatnonzero(names == "head")
    nearest, weights = closest_points(bent, head.mean.numpy().astype(float), head.faces.numpy()[triangles])
    uvs = head.uvs.numpy()[head.uv_faces.numpy()[triangles[nearest]]]
    corners = (uvs * weights[..., None]).sum(1)[faces]
    for eye in eyes:
        rows = np.isin(material, (f"M_Sclera{eye.side}", f"M_Iris{eye.side}"))
        u0, v0, u1, v1 = _EYES[eye.side]
        across = ((neutral[faces[rows]] - eye.middle)[..., :2] / eye.radius / 2 + 0.5).clip(0.01, 0.99)
        corners[rows] = np.array([u0, v0]) + across * [u1 - u0, v1 - v0]
    corners[material == "M_GumsTongue"], corners[material == "M_Teeth"] = _GUMS, _TEETH
    return corners
