"""Meshes with known geometry, and a capture made from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor


@pytest.fixture(scope="session")
def sphere() -> tuple[Tensor, Tensor]:
    """Closed unit sphere: vertices (V, 3) and faces (F, 3), counter-clockwise from outside, y down."""
    rows, columns = 33, 64
    polar = torch.linspace(0, math.pi, rows)[1:-1, None]
    turn = torch.arange(columns) / columns * 2 * math.pi
    x, z = polar.sin() * turn.sin(), -polar.sin() * turn.cos()
    rings = torch.stack([x, (-polar.cos()).expand_as(x), z], -1).reshape(-1, 3)
    vertices = torch.cat([rings, torch.tensor([[0.0, -1, 0], [0, 1, 0]])])
    top, bottom = len(rings), len(rings) + 1
    here = torch.arange(columns)
    beside = (here + 1) % columns
    ring = torch.arange(rows - 3)[:, None] * columns
    a, b = (ring + here).reshape(-1), (ring + beside).reshape(-1)
    last = (rows - 3) * columns
    faces = [
        torch.stack([a, a + columns, b], -1),
        torch.stack([b, a + columns, b + columns], -1),
        torch.stack([here, beside, torch.full_like(here, top)], -1),
        torch.stack([last + beside, last + here, torch.full_like(here, bottom)], -1),
    ]
    return vertices, torch.cat(faces)


SIDE, TEXELS, SPREAD = 9, 64, 50.0  # vertices along a side, side of the textures, half width in millimetres


@dataclass(frozen=True)
class Layout:
    """What a folder in Multiface's layout was made from; millimetres, the head's y up and z towards the camera."""

    folder: Path
    vertices: dict[str, np.ndarray]  # by frame (V,3)
    turn: np.ndarray  # (3,3) of the head in the world
    place: np.ndarray  # (3,)
    cameras: dict[str, tuple[np.ndarray, np.ndarray]]  # intrinsics (3,3), extrinsics (3,4)
    texture: np.ndarray  # (T,T,3) uint8 of every picture, top row first


@pytest.fixture
def multiface(tmp_path: Path) -> Callable[..., Layout]:
    """Writes a small capture as Multiface publishes them: a dome whose height changes from frame to frame."""

    def write(frames: int = 10, name: str = "m--0000--GHS") -> Layout:
        folder = tmp_path / name
        rng = np.random.default_rng(0)
        x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
        height = 0.5 * (1 - x**2) * (1 - y**2)
        at = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
        a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel(), at[1:, :-1].ravel()
        faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]) + 1
        uv = np.stack([(x + 1) / 2, (y + 1) / 2], -1).reshape(-1, 2)  # OBJ: v up, as y
        turn = Rotation.from_euler("xyz", [4, -6, 3], degrees=True).as_matrix()
        place = np.array([10.0, -20.0, 30.0])
        flip = np.diag([1.0, -1, -1])  # a world with y up, seen by a camera with y down
        cameras = {}
        for number, yaw in enumerate((-30, 0, 30)):
            around = Rotation.from_euler("y", yaw, degrees=True).as_matrix()
            extrinsics = np.concatenate([around @ flip, [[0], [0], [1000.0]]], 1)
            cameras[f"40000{number}"] = (np.array([[900.0, 0, 63.5], [0, 900, 47.5], [0, 0, 1]]), extrinsics)
        texture = rng.integers(40, 220, (8, 8, 3)).astype(np.uint8)
        texture = cv2.resize(texture, (TEXELS, TEXELS), interpolation=cv2.INTER_NEAREST)
        texture[:8, :8] = 0  # a hole at the top left
        vertices = {}
        segment = "E001_Neutral_Eyes_Open"
        for frame in range(frames):
            label = f"{100 + 3 * frame:06d}"
            bent = height * (1 + 0.5 * np.sin(frame))
            vertices[label] = (SPREAD * np.stack([x, y, bent], -1)).reshape(-1, 3).astype(np.float32)
            mesh = folder / "tracked_mesh" / segment
            mesh.mkdir(parents=True, exist_ok=True)
            vertices[label].tofile(mesh / f"{label}.bin")
            np.savetxt(mesh / f"{label}_transform.txt", np.concatenate([turn, place[:, None]], 1))
            lines = [f"v {p[0]} {p[1]} {p[2]}" for p in vertices[label]] + [f"vt {u} {v}" for u, v in uv]
            lines += ["f " + " ".join(f"{i}/{i}" for i in face) for face in faces]
            (mesh / f"{label}.obj").write_text("\n".join(lines))
            for camera in (*cameras, "average"):
                unwrapped = folder / "unwrapped_uv_1024" / segment / camera
                unwrapped.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(unwrapped / f"{label}.png"), texture[..., ::-1])
            for camera in cameras:
                images = folder / "images" / segment / camera
                images.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(images / f"{label}.png"), np.full((96, 128, 3), 90, np.uint8))
        (folder / "frame_list.txt").write_text("".join(f"{segment} {label}\n" for label in vertices))
        rows = []
        for camera, (intrinsics, extrinsics) in cameras.items():
            rows += [camera, *(" ".join(map(str, row)) for row in intrinsics), "0 0 0 0 0"]
            rows += [*(" ".join(map(str, row)) for row in extrinsics), ""]
        (folder / "KRT").write_text("\n".join(rows))
        np.mean(list(vertices.values()), 0).astype(np.float32).tofile(folder / "vert_mean.bin")
        cv2.imwrite(str(folder / "tex_mean.png"), texture[..., ::-1])
        return Layout(folder, vertices, turn, place, cameras, texture)

    return write
