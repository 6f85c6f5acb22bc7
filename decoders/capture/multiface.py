"""Reader of captures in the layout of Multiface (Wuu et al. 2022, github.com/facebookresearch/multiface).

    frame_list.txt                                     segment and frame, one pair a line
    KRT                                                per camera: name, intrinsics (3x3), distortion, extrinsics (3x4)
    vert_mean.bin, tex_mean.png                        means over all frames
    images/SEGMENT/CAMERA/FRAME.png
    unwrapped_uv_1024/SEGMENT/{CAMERA,average}/FRAME.png
    tracked_mesh/SEGMENT/FRAME{.bin,.obj,_transform.txt}

Lengths there are millimetres, the head's axes its own: they are turned to ours by the quarter turns nearest to the
average camera. OBJ's v points up, so a texel's row is (1 - v) T and pictures need no flip (the reference program flips
them instead). Black texels are holes. What frame_list.txt and KRT promise and is not there is listed in `missing`; what
is there and corrupt is a ValueError that names the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import permutations, product
from pathlib import Path

import cv2
import numpy as np
import torch

from selftrack.decoders.base import Topology
from selftrack.decoders.capture.base import Calibrated, Camera, mean_of
from selftrack.errors import UserError

UNWRAPPED = "unwrapped_uv_1024"
_MILLIMETRE = 1e-3


class Multiface(Calibrated):
    """See the module; a `selftrack.decoders.capture.Capture`."""

    MARK = "KRT"

    def __init__(self, folder: Path) -> None:
        """Raises ValueError when a part that everything needs is missing or corrupt."""
        self.folder = Path(folder)
        self.cameras = read_krt(self._need("KRT"))
        listed = [line.split() for line in self._need("frame_list.txt").read_text().splitlines() if line.strip()]
        bad = [" ".join(line) for line in listed if len(line) != 2]
        if bad or not listed:
            raise UserError(
                f"{self.folder / 'frame_list.txt'}: expected lines of segment and frame, got {bad[:1]}; correct them"
            )
        self._need("vert_mean.bin")
        self._need("tex_mean.png")
        self._mean = read_vertices(self.folder / "vert_mean.bin")
        missing: list[str] = []
        self._frames, self._views = [], []
        for segment, frame in listed:
            lacks = [path for path in self._mesh_files(segment, frame) if not path.is_file()]
            views = []
            for number, camera in enumerate(self.cameras):
                path = self._texture_path(segment, frame, camera.name)
                views += [number] if path.is_file() else []
                missing += [] if path.is_file() else [str(path.relative_to(self.folder))]
            missing += [str(path.relative_to(self.folder)) for path in lacks]
            if not lacks:
                self._frames.append((segment, frame))
                self._views.append(tuple(views))
        self.missing = tuple(missing)
        if not any(self._views):
            raise UserError(
                f"{self.folder}: no frame is complete; missing are {', '.join(missing[:3])} and so on; download them"
            )
        self.frames = tuple("/".join(frame) for frame in self._frames)
        self.topology = self._read_topology()
        self._axes = self._find_axes()

    def views(self, frame: int) -> tuple[int, ...]:
        return self._views[frame]

    def vertices(self, frame: int) -> np.ndarray:
        path = self._mesh_files(*self._frames[frame])[0]
        found = read_vertices(path)
        if found.shape != self._mean.shape:
            raise UserError(
                f"{path}: expected {len(self._mean)} vertices as in vert_mean.bin, got {len(found)}; download it again"
            )
        return (_MILLIMETRE * found @ self._axes.T).astype(np.float32)

    def head(self, frame: int) -> np.ndarray:
        transform = self._transform(frame)
        return np.concatenate([transform[:, :3] @ self._axes.T, _MILLIMETRE * transform[:, 3:]], 1)

    def image(self, frame: int, camera: int) -> np.ndarray:
        segment, number = self._frames[frame]
        return read_picture(self.folder / "images" / segment / self.cameras[camera].name / f"{number}.png")

    def texture(self, frame: int, camera: int, size: int) -> np.ndarray:
        return shrink(read_picture(self._texture_path(*self._frames[frame], self.cameras[camera].name)), size)

    def average(self, frame: int, size: int) -> np.ndarray:
        path = self._texture_path(*self._frames[frame], "average")
        if path.is_file():
            return shrink(read_picture(path), size)
        return mean_of([self.texture(frame, camera, size) for camera in self.views(frame)])

    def mean_vertices(self) -> np.ndarray:
        return (_MILLIMETRE * self._mean @ self._axes.T).astype(np.float32)

    def mean_texture(self, size: int) -> np.ndarray:
        return shrink(read_picture(self.folder / "tex_mean.png"), size)

    def _need(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing; download it, a capture in Multiface's layout needs it")
        return path

    def _mesh_files(self, segment: str, frame: str) -> tuple[Path, Path]:
        folder = self.folder / "tracked_mesh" / segment
        return folder / f"{frame}.bin", folder / f"{frame}_transform.txt"

    def _texture_path(self, segment: str, frame: str, camera: str) -> Path:
        return self.folder / UNWRAPPED / segment / camera / f"{frame}.png"

    def _transform(self, frame: int) -> np.ndarray:
        path = self._mesh_files(*self._frames[frame])[1]
        return _matrix(path.read_text().splitlines(), (3, 4), path)

    def _find_axes(self) -> np.ndarray:
        """(3,3) from the capture's head axes to ours: the quarter turns nearest to the mean camera's."""
        mean = sum(camera.extrinsics[:, :3] for camera in self.cameras) @ self._transform(0)[:, :3]
        quarter = [np.eye(3)[list(p)] * np.array(s)[:, None] for p in permutations(range(3)) for s in _SIGNS]
        return max((q for q in quarter if np.linalg.det(q) > 0), key=lambda q: float((q * mean).sum()))

    def _read_topology(self) -> Topology:
        folders = dict.fromkeys(segment for segment, _ in self._frames)
        path = next((p for s in folders for p in sorted((self.folder / "tracked_mesh" / s).glob("*.obj"))), None)
        if path is None:
            raise UserError(f"{self.folder / 'tracked_mesh'}: no .obj with the topology in it; download it again")
        uvs, faces, uv_faces = read_obj(path)
        if faces.max() >= len(self._mean):
            raise UserError(
                f"{path}: names vertex {faces.max() + 1} of {len(self._mean)} in vert_mean.bin; download it again"
            )
        return Topology(
            faces=torch.from_numpy(faces),
            uvs=torch.from_numpy(uvs),
            uv_faces=torch.from_numpy(uv_faces),
            face_parts=torch.zeros(len(faces), dtype=torch.long),
            part_names=("head",),
            skin_faces=torch.ones(len(faces), dtype=torch.bool),
            skin_texels=torch.from_numpy(self._seen_texels),
            landmarks=None,
        )

    @cached_property
    def _seen_texels(self) -> np.ndarray:
        return np.asarray(self.mean_texture(256).any(2))


_SIGNS = tuple(product((1, -1), repeat=3))


def read_krt(path: Path) -> tuple[Camera, ...]:
    """Read the cameras of a KRT file, extrinsics in metres. Raises ValueError where it is not one."""
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    if not lines or len(lines) % 8:
        raise UserError(
            f"{path}: expected 8 lines a camera (name, 3 intrinsics, distortion, 3 extrinsics); download it again"
        )
    cameras = []
    for first in range(0, len(lines), 8):
        name, *rest = lines[first : first + 8]
        extrinsics = _matrix(rest[4:], (3, 4), path)
        extrinsics[:, 3] *= _MILLIMETRE
        cameras.append(Camera(name.strip(), _matrix(rest[:3], (3, 3), path), extrinsics))
    return tuple(cameras)


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read uvs (N,2), v down, triangles (F,3) and their uvs (F,3) of an OBJ file; polygons become fans of triangles."""
    uvs, faces, uv_faces = [], [], []
    try:
        for line in path.read_text().splitlines():
            kind, *values = line.split() or [""]
            if kind == "vt":
                uvs.append([float(values[0]), 1 - float(values[1])])
            elif kind == "f":
                corners = np.array([value.split("/")[:2] for value in values], np.int64) - 1
                for last in range(2, len(corners)):
                    fan = corners[[0, last - 1, last]]
                    faces.append(fan[:, 0])
                    uv_faces.append(fan[:, 1])
        found = np.array(uvs, np.float32), np.stack(faces), np.stack(uv_faces)
        if found[2].max() >= len(found[0]):
            raise ValueError(f"uv {found[2].max() + 1} of {len(found[0])}")
        return found
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: not an OBJ of triangles with uvs ({error}); download it again") from error


def read_vertices(path: Path) -> np.ndarray:
    """Read (V,3) of a file of 32-bit floats, as it is."""
    size = path.stat().st_size
    values = np.fromfile(path, np.float32) if size % 12 == 0 else np.zeros(0)
    if not len(values) or not np.isfinite(values).all():
        raise UserError(
            f"{path}: corrupt; expected finite 32-bit x, y, z of vertices, got {size} bytes; download it again"
        )
    return values.reshape(-1, 3)


def read_picture(path: Path) -> np.ndarray:
    """Read a picture file as (H,W,3) uint8 RGB. Raises ValueError where it is missing or corrupt."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        raise UserError(f"{path}: {'corrupt' if path.is_file() else 'missing'} picture; download it again")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def shrink(texture: np.ndarray, size: int) -> np.ndarray:
    """Resize a texture (T,T,3) uint8; a texel is a hole (black) where it touches one."""
    if len(texture) == size:
        return texture
    mode = cv2.INTER_AREA if size < len(texture) else cv2.INTER_LINEAR
    solid = np.asarray(texture.any(2), np.float32)
    there = cv2.resize(solid, (size, size), interpolation=mode) > 0.999
    return cv2.resize(texture, (size, size), interpolation=mode) * there[..., None]


def _matrix(lines: Iterable[str], shape: tuple[int, int], path: Path) -> np.ndarray:
    """Numbers in text. Raises ValueError that names the file."""
    try:
        values = np.array([line.split() for line in lines if line.strip()], float)
        if values.shape != shape or not np.isfinite(values).all():
            raise ValueError(f"shape {values.shape}")
    except ValueError as error:
        raise UserError(
            f"{path}: corrupt; expected {shape[0]}x{shape[1]} numbers ({error}); download it again"
        ) from error
    return values
