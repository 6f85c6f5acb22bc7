"""FLAME at its landmarks (Li et al. 2017, "Learning a model of facial shape and expression from 4D scans").

Metres, y up, the face towards z. Joints are the root, neck, jaw, left and right eye; rotations are axis times angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from selftrack.errors import UserError
from selftrack.tracker.export.flame._files import read_arrays

SHAPE, EXPRESSION, JOINTS = 300, 100, 5
LANDMARKS = (51, 68)
_EMBEDDINGS = (
    ("full_lmk_faces_idx", "full_lmk_bary_coords"),  # VHAP's and DECA's landmark_embedding.npy, all 68
    ("lmk_face_idx", "lmk_b_coords"),  # the 51 of flame_static_embedding.pkl
    ("static_lmk_faces_idx", "static_lmk_bary_coords"),
)
_MODEL_FILE = "FLAME's model, such as generic_model.pkl or flame2023.pkl, with --flame"
_LANDMARK_FILE = "FLAME's landmarks, landmark_embedding.npy or flame_static_embedding.pkl, with --flame-landmarks"


@dataclass(frozen=True)
class FlameLandmarks:
    """What of FLAME moves the corners of the triangles that its landmarks lie in."""

    corners: Tensor  # (3L,3) metres, of the template
    shapes: Tensor  # (3L,3,400) metres, 300 shapes and 100 expressions
    poses: Tensor  # (3L,3,36) metres, by the entries of the joints' rotations less the identity
    weights: Tensor  # (3L,5) of the joints
    joints: Tensor  # (5,3) metres, of the template
    joint_shapes: Tensor  # (5,3,400)
    parents: tuple[int, ...]  # of the joints, that of the root -1
    barycentric: Tensor  # (L,3)

    @classmethod
    def read(cls, model: Path, landmarks: Path) -> Self:
        """Read the two files. Raises UserError when one is not what it should be."""
        arrays = read_arrays(model, _MODEL_FILE)
        count = len(arrays.get("v_template", ()))
        shapes = {
            "v_template": (count, 3),
            "shapedirs": (count, 3, SHAPE + EXPRESSION),
            "posedirs": (count, 3, 9 * (JOINTS - 1)),
            "J_regressor": (JOINTS, count),
            "weights": (count, JOINTS),
            "kintree_table": (2, JOINTS),
        }
        for name, shape in shapes.items():
            if name not in arrays or arrays[name].shape != shape:
                got = arrays[name].shape if name in arrays else "nothing"
                raise UserError(f"{model}: {name} must be {shape}, is {got}; name {_MODEL_FILE}")
        faces, barycentric = _embedding(landmarks, len(arrays.get("f", ())))
        corners = arrays["f"].astype(np.int64)[faces].reshape(-1)
        if corners.max(initial=0) >= count:
            raise UserError(f"{model}: f names vertices that it does not have; name {_MODEL_FILE}")

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, np.float64))

        regressor, offsets = arrays["J_regressor"], arrays["shapedirs"]
        return cls(
            tensor(arrays["v_template"][corners]),
            tensor(offsets[corners]),
            tensor(arrays["posedirs"][corners]),
            tensor(arrays["weights"][corners]),
            tensor(regressor @ arrays["v_template"]),
            tensor(np.tensordot(regressor, offsets, 1)),
            (-1, *(int(parent) for parent in arrays["kintree_table"][0, 1:])),
            tensor(barycentric),
        )

    def __call__(self, betas: Tensor, rotations: Tensor, translation: Tensor) -> Tensor:
        """Place the landmarks (L,3) of shape and expression (400,), joints' rotations (5,3) and translation (3,)."""
        bent = (rotation_matrices(rotations)[1:] - torch.eye(3, dtype=rotations.dtype)).flatten()
        rest = self.corners + self.shapes @ betas + self.poses @ bent
        joints = self.joints + self.joint_shapes @ betas
        return self._skinned(rest[..., None], joints[..., None], rotations)[..., 0] + translation

    def basis(self, rotations: Tensor) -> Tensor:
        """By how much shape and expression move the landmarks (L,3,400), given the joints' rotations (5,3)."""
        return self._skinned(self.shapes, self.joint_shapes, rotations)

    def _skinned(self, rest: Tensor, joints: Tensor, rotations: Tensor) -> Tensor:
        """Linear blend skinning, which is linear in both: landmarks (L,3,K) of corners (3L,3,K) and joints (5,3,K)."""
        turns = rotation_matrices(rotations)
        turned, placed = [turns[0]], [joints[0]]
        for joint, parent in enumerate(self.parents[1:], start=1):
            turned.append(turned[parent] @ turns[joint])
            placed.append(placed[parent] + turned[parent] @ (joints[joint] - joints[parent]))
        moved = torch.stack([place - turn @ joint for place, turn, joint in zip(placed, turned, joints, strict=True)])
        blended = torch.einsum("cj,jab->cab", self.weights, torch.stack(turned))
        corners = blended @ rest + torch.einsum("cj,jak->cak", self.weights, moved)
        return (self.barycentric[..., None, None] * corners.unflatten(0, (-1, 3))).sum(1)


def rotation_matrices(rotations: Tensor) -> Tensor:
    """Convert axis times angle (N,3) to matrices (N,3,3) by Rodrigues' formula, smooth at 0."""
    angle = (rotations.square().sum(-1) + 1e-16).sqrt()[:, None, None]
    x, y, z = rotations.unbind(-1)
    none = torch.zeros_like(x)
    skew = torch.stack([none, -z, y, z, none, -x, -y, x, none], -1).unflatten(-1, (3, 3)) / angle
    return torch.eye(3, dtype=rotations.dtype) + angle.sin() * skew + (1 - angle.cos()) * (skew @ skew)


def _embedding(path: Path, triangles: int) -> tuple[np.ndarray, np.ndarray]:
    """The triangles (L,) of the landmarks, and where they lie in them (L,3)."""
    arrays = read_arrays(path, _LANDMARK_FILE)
    for face_name, weight_name in _EMBEDDINGS:
        if face_name in arrays and weight_name in arrays:
            faces, weights = arrays[face_name].reshape(-1).astype(np.int64), arrays[weight_name].reshape(-1, 3)
            if len(faces) == len(weights) in LANDMARKS and 0 <= faces.min() <= faces.max() < triangles:
                return faces, weights
            raise UserError(
                f"{path}: {face_name} must name 51 or 68 of the model's {triangles} triangles; name {_LANDMARK_FILE}"
            )
    raise UserError(f"{path}: holds no landmarks of FLAME; name {_LANDMARK_FILE}")
