"""A synthetic light stage: a virtual actor before a ring of cameras, drawn when asked for.

The actor is given as a neutral mesh in the head's topology with a blend shape per ARKit curve, which need not be the
head's own, and an albedo; the performance as curves and head poses. Skin shines: what a camera sees depends on where
it is. Cameras differ a little in colour, as real ones do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.capture.base import Calibrated, Camera, in_camera, mean_of
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import Fragments, interpolate, rasterize
from selftrack.decoders.mesh.unwrap import TexelMap, texel_map, unwrap
from selftrack.errors import UserError
from selftrack.io import atomic_path

GAMMA = 2.2
IMAGE = 512  # side of the pictures in pixels
DISTANCE = 1.1  # camera to head, metres
HEIGHT = 0.30  # of what a picture shows at the head, metres
RING = tuple((yaw, pitch) for pitch in (-18, 18) for yaw in (-60, -35, -12, 12, 35, 60)) + ((0, 0), (0, 35))
"""Where the cameras stand, degrees: to the image's right and downwards, from the front."""
LAMPS = tuple((yaw, pitch) for pitch in (-50, 0) for yaw in (-70, -25, 25, 70))
LAMP, AMBIENT = 0.22, 0.35  # linear
NOISE = 0.006


@dataclass(frozen=True)
class Performance:
    """An actor and N moments of acting; what `studio.npz` holds."""

    neutral: np.ndarray  # (V,3) metres, head frame, the head's topology
    shapes: np.ndarray  # (52,V,3) metres, by how much each curve moves the vertices
    albedo: np.ndarray  # (T,T,3) float, linear
    gloss: float  # of the skin
    sharpness: float  # exponent of the highlight
    curves: np.ndarray  # (N,52) ARKit values
    angles: np.ndarray  # (N,3) of the head, radians, R = Rz Ry Rx
    offset: np.ndarray  # (N,3) of the head's origin in the world, metres
    camera_gain: np.ndarray  # (C,3) of the cameras' colours

    def save(self, folder: Path) -> Path:
        """Write `studio.npz` into a folder; it gets its name only when it is complete."""
        folder.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        with atomic_path(folder / Studio.MARK) as part:
            np.savez_compressed(part, **values)
        return folder / Studio.MARK

    def vertices(self, frame: int) -> np.ndarray:
        """Compute the mesh (V,3) float32 of a frame."""
        return (self.neutral + np.tensordot(self.curves[frame], self.shapes, 1)).astype(np.float32)


def around(yaw: float, pitch: float) -> np.ndarray:
    """Compute the unit vector (3,) from the head towards a place, degrees; (0, 0) is the front."""
    y, p = np.radians([yaw, pitch])
    return np.array([np.sin(y) * np.cos(p), np.sin(p), -np.cos(y) * np.cos(p)])


def ring_camera(number: int) -> Camera:
    """Make camera `number` of the ring; all look at the world's origin."""
    towards = around(*RING[number])
    right = np.cross([0.0, 1.0, 0.0], -towards)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(-towards, right), -towards])
    focal, middle = IMAGE / HEIGHT * DISTANCE, (IMAGE - 1) / 2
    intrinsics = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    return Camera(f"{number:02d}", intrinsics, np.concatenate([rotation, [[0], [0], [DISTANCE]]], 1))


class Studio(Calibrated):
    """See the module; a `selftrack.decoders.capture.Capture`. Unwrapped textures are kept beside `studio.npz`."""

    MARK = "studio.npz"
    missing: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        """Raises ValueError when the file is not the studio's."""
        self.folder = Path(folder)
        try:
            with np.load(self.folder / self.MARK, allow_pickle=False) as data:
                self.acted = Performance(**{f.name: data[f.name] for f in fields(Performance)})
        except Exception as error:
            raise UserError(f"{self.folder / self.MARK}: not a studio's ({error}); make it again") from error
        head = load_head()
        self.topology = head.topology
        self.cameras = tuple(ring_camera(c) for c in range(len(self.acted.camera_gain)))
        self.frames = tuple(f"{n:05d}" for n in range(len(self.acted.curves)))
        self._albedo = torch.from_numpy(self.acted.albedo.astype(np.float32)).permute(2, 0, 1)[None]
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._averages: dict[tuple[int, int], np.ndarray] = {}
        self._map: TexelMap | None = None
        # an eye is wet: its highlights are bright and small
        wet = torch.tensor([name.startswith("eye") for name in head.part_names])[head.face_parts]
        self._gloss = torch.where(wet, 3.0, 1.0) * float(self.acted.gloss)
        self._sharpness = torch.where(wet, 20.0, 1.0) * float(self.acted.sharpness)

    def views(self, frame: int) -> tuple[int, ...]:
        return tuple(range(len(self.cameras)))

    def vertices(self, frame: int) -> np.ndarray:
        return self.acted.vertices(frame)

    def head(self, frame: int) -> np.ndarray:
        rotation = Rotation.from_euler("xyz", self.acted.angles[frame]).as_matrix()
        return np.concatenate([rotation, self.acted.offset[frame][:, None]], 1)

    def image(self, frame: int, camera: int) -> np.ndarray:
        faces, at = self.topology.faces, self.cameras[camera]
        vertices = self.vertices(frame)
        projected = torch.from_numpy(in_camera(self, frame, camera, vertices))[None]
        fragments = rasterize(projected, faces, (IMAGE, IMAGE))
        drawn = fragments.face_index[0] >= 0
        pixels = Fragments(*(value[0][drawn][None, None] for value in fragments))
        head = self.head(frame)
        rotated = torch.from_numpy((vertices @ head[:, :3].T).astype(np.float32))[None]
        normals = functional.normalize(interpolate(vertex_normals(rotated, faces), faces, pixels)[0, 0], dim=1)
        light = self._light(normals, at, pixels.face_index[0, 0])
        uv = interpolate(self.topology.uvs, self.topology.uv_faces, pixels)
        albedo = functional.grid_sample(self._albedo, 2 * uv - 1, align_corners=False)[0, :, 0].T
        linear = torch.full((IMAGE, IMAGE, 3), 0.02)
        linear[drawn] = albedo * light[:, :1] + light[:, 1:]
        rng = np.random.default_rng([frame, camera, len(self.frames)])
        picture = (linear.numpy() * self.acted.camera_gain[camera]).clip(0, 1) ** (1 / GAMMA)
        picture += NOISE * rng.standard_normal(picture.shape, np.float32)
        return (255 * picture.clip(0, 1) + 0.5).astype(np.uint8)

    def _light(self, normals: Tensor, camera: Camera, faces: Tensor) -> Tensor:
        """(P,2) diffuse and mirrored light (Blinn-Phong) of the lamps on triangles (P,) with normals (P,3), world
        frame; lamps and camera are far away."""
        lamps = torch.tensor(np.stack([around(*lamp) for lamp in LAMPS]), dtype=torch.float32)
        towards = functional.normalize(torch.tensor(camera.centre, dtype=torch.float32), dim=0)
        diffuse = (normals @ lamps.T).clamp(min=0).sum(1) * LAMP + AMBIENT
        half = functional.normalize(lamps + towards, dim=1)
        spark = (normals @ half.T).clamp(min=0) ** self._sharpness[faces, None]
        return torch.stack([diffuse, self._gloss[faces] * LAMP * spark.sum(1)], 1)

    def texture(self, frame: int, camera: int, size: int) -> np.ndarray:
        textures, done = self._cache(size)
        if not done[frame, camera]:
            textures[frame, camera] = self._unwrap(frame, camera, size)
            done[frame, camera] = 1
        return np.array(textures[frame, camera])

    def average(self, frame: int, size: int) -> np.ndarray:
        if (frame, size) not in self._averages:
            views = self.views(frame)
            self._averages[frame, size] = mean_of([self.texture(frame, camera, size) for camera in views])
        return self._averages[frame, size]

    def mean_vertices(self) -> np.ndarray:
        return np.mean([self.vertices(frame) for frame in range(len(self.frames))], 0)

    def mean_texture(self, size: int) -> np.ndarray:
        some = np.unique(np.linspace(0, len(self.frames) - 1, 40).astype(int))
        return mean_of([self.average(int(frame), size) for frame in some])

    def _unwrap(self, frame: int, camera: int, size: int) -> np.ndarray:
        image = torch.from_numpy(self.image(frame, camera)).permute(2, 0, 1)[None].float()
        projected = torch.from_numpy(in_camera(self, frame, camera, self.vertices(frame)))[None]
        texture, weight = unwrap(image, projected, self.topology.faces, self._texels(size))
        # what is visible is no hole, however dark
        texture = torch.where(weight[:, None] > 0, texture.clamp(min=1), 0)
        return texture[0].permute(1, 2, 0).round().byte().numpy()

    def _texels(self, size: int) -> TexelMap:
        if self._map is None or self._map.size != size:
            self._map = texel_map(self.topology, size, torch.ones(1, 1, dtype=torch.bool))
        return self._map

    def _cache(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Textures (N,C,T,T,3) uint8 on disk and which of them are there (N,C)."""
        if size not in self._kept:
            shape = (len(self.frames), len(self.cameras))
            wanted = ((f"textures{size}.npy", (*shape, size, size, 3)), (f"textures{size}.done.npy", shape))
            kept = []
            for name, form in wanted:
                path = self.folder / name
                kept.append(open_memmap(path, "r+" if path.exists() else "w+", np.uint8, form))
            self._kept[size] = (kept[0], kept[1])
        return self._kept[size]
