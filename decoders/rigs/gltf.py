"""Any .glb or .gltf with a face: its meshes with all their morph targets by name, and its pictures as one.

Axes are glTF's: y up, z towards the viewer; here y and z are turned round, so that a face that looks along +z is in the
head frame's axes. Parts are told by the names of their materials, meshes and nodes.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

import cv2
import numpy as np
import pygltflib
from scipy.spatial.transform import Rotation

from selftrack.decoders.rigs.parts import is_unseen, kinds
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.errors import UserError, of_extra

TILE = 1024
"""Side of a material's picture in the one of all, texels."""
AXES = np.array([1.0, -1.0, -1.0])
"""From glTF's axes to those of the head frame, and back."""
_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_DRACO = "KHR_draco_mesh_compression"
_PACKED = ("EXT_meshopt_compression", "KHR_meshopt_compression")


class _Piece(NamedTuple):
    """What is drawn with one material."""

    points: np.ndarray
    """(V,3) in the head frame's axes, in the file's units."""
    faces: np.ndarray
    """(F,3)"""
    uvs: np.ndarray
    """(V,2) v down."""
    shapes: dict[str, np.ndarray]
    """(V,3) by name."""
    material: int
    name: str
    """Of the material, the mesh and the node."""


def read_gltf(path: Path, texture: Path | None = None) -> ShapedMesh:
    """Read all triangles of a file's scene.

    Args:
        path: of a .glb, or of a .gltf with its files beside it.
        texture: a picture in place of the materials' own, with v up, as OBJ and three.js's loaders have it.

    Raises:
        UserError: it is no such file, has no triangles, or needs a package that is not installed.
    """
    try:
        document = pygltflib.GLTF2().load(str(path))
        if packed := set(_PACKED) & set(document.extensionsRequired or ()):
            raise UserError(f"{path}: is compressed with {packed.pop()}; export it again without compression")
        reader = _Reader(document, path.parent)
        every = reader.pieces()
        pieces = [piece for piece in every if not is_unseen(piece.name)]
        picture, places = reader.atlas(sorted({piece.material for piece in pieces}), texture)
        if not pieces:
            raise UserError(f"{path}: has no triangles of a face; export the meshes with their morph targets")
        return _join(pieces, tuple(dict.fromkeys(name for piece in every for name in piece.shapes)), picture, places)
    except UserError:
        raise
    except Exception as error:  # pygltflib checks nothing, so that a damaged file can end anywhere
        raise UserError(f"{path}: not a glTF file that can be read ({error}); export it again as .glb") from error


def _join(
    pieces: list[_Piece], names: tuple[str, ...], picture: np.ndarray, places: dict[int, np.ndarray]
) -> ShapedMesh:
    """One mesh of all pieces; `places` (4,) are where a material's picture lies: u, v, width, height."""
    starts = np.cumsum([0, *(len(piece.points) for piece in pieces)])
    deltas = np.zeros((len(names), starts[-1], 3), np.float32)
    faces, corners, parts = [], [], []
    for piece, start in zip(pieces, starts, strict=False):
        for name, shape in piece.shapes.items():
            deltas[names.index(name), start : start + len(shape)] = shape
        faces.append(piece.faces + start)
        place = places[piece.material]
        corners.append((place[:2] + piece.uvs * place[2:])[piece.faces])
        parts.append(kinds(piece.name, len(piece.faces)))
    skin, moist, inner = np.concatenate(parts).T
    neutral = np.concatenate([piece.points for piece in pieces])
    if not np.isfinite(neutral).all() or not np.isfinite(deltas).all():
        raise ValueError("some of its vertices are no numbers")
    every = np.concatenate(faces)
    if len(every) and not 0 <= every.min() <= every.max() < len(neutral):
        raise ValueError("its triangles name vertices that are not there")
    return ShapedMesh(neutral, every, names, deltas, np.concatenate(corners), skin, moist, inner, picture)


class _Reader:
    """Reads what is needed of a glTF document."""

    def __init__(self, document: pygltflib.GLTF2, folder: Path) -> None:
        self._document, self._folder = document, folder
        self._buffers: dict[int, bytes] = {}

    def pieces(self) -> list[_Piece]:
        """All triangles of the scene."""
        found = []
        for index, place in self._places().items():
            node = self._document.nodes[index]
            if node.mesh is None:
                continue
            mesh = self._document.meshes[node.mesh]
            still = np.eye(4) if node.skin is not None else place  # joints place a skinned mesh, at rest where it is
            for primitive in mesh.primitives:
                names = target_names(mesh, len(primitive.targets or ()))
                if primitive.mode in (None, 4):
                    found.append(self._piece(primitive, still, names, f"{mesh.name} {node.name}"))
        return found

    def _places(self) -> dict[int, np.ndarray]:
        """The matrix (4,4) of each node of the scene."""
        document, places = self._document, {}
        roots = document.scenes[document.scene or 0].nodes
        waiting = [(root, np.eye(4)) for root in roots or []]
        while waiting:
            index, parent = waiting.pop()
            node = document.nodes[index]
            places[index] = parent @ _matrix(node)
            waiting += [(child, places[index]) for child in node.children or []]
        return dict(sorted(places.items()))

    def _piece(self, primitive: Any, place: np.ndarray, names: list[str], called: str) -> _Piece:
        packed = (primitive.extensions or {}).get(_DRACO)
        if packed:
            points, faces, uvs = self._unpacked(packed["bufferView"])
        else:
            points = self._accessor(primitive.attributes.POSITION)
            faces = np.arange(len(points)) if primitive.indices is None else self._accessor(primitive.indices)
            at = primitive.attributes.TEXCOORD_0
            uvs = np.zeros((len(points), 2)) if at is None else self._accessor(at)
        turn = place[:3, :3]
        shapes: dict[str, np.ndarray] = {}
        for name, target in zip(names, primitive.targets or [], strict=True):
            at = target.get("POSITION") if isinstance(target, dict) else target.POSITION
            shapes[name] = np.zeros_like(points) if at is None else (self._accessor(at) @ turn.T) * AXES
        material = -1 if primitive.material is None else primitive.material
        named = "" if material < 0 else f"{self._document.materials[material].name}"
        placed = (points @ turn.T + place[:3, 3]) * AXES
        return _Piece(
            placed,
            faces.astype(np.int64).reshape(-1, 3),
            np.where((uvs < 0) | (uvs > 1), uvs % 1, uvs),
            shapes,
            material,
            f"{named} {called}",
        )

    def _unpacked(self, view: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with of_extra("draco"):
            import DracoPy
        mesh = DracoPy.decode(self._view(view))
        uvs = mesh.tex_coord if mesh.tex_coord is not None else np.zeros((len(mesh.points), 2))
        return np.asarray(mesh.points, float), np.asarray(mesh.faces), np.asarray(uvs, float)

    def _accessor(self, index: int) -> np.ndarray:
        """The numbers (N,W) of an accessor, or (N,) of a scalar one."""
        accessor = self._document.accessors[index]
        width, kind = _WIDTHS[accessor.type], np.dtype(_TYPES[accessor.componentType])
        values = np.zeros((accessor.count, width), kind)
        if accessor.bufferView is not None:
            values = self._strided(accessor.bufferView, accessor.byteOffset or 0, accessor.count, width, kind)
        if accessor.sparse is not None:
            sparse = accessor.sparse
            where, what = sparse.indices, sparse.values
            number = np.dtype(_TYPES[where.componentType])
            rows = self._strided(where.bufferView, where.byteOffset or 0, sparse.count, 1, number)[:, 0]
            values = values.copy()
            values[rows] = self._strided(what.bufferView, what.byteOffset or 0, sparse.count, width, kind)
        if accessor.normalized:
            values = np.maximum(values / float(np.iinfo(str(kind)).max), -1)
        return values[:, 0] if width == 1 else values.astype(float)

    def _strided(self, view: int, offset: int, count: int, width: int, kind: np.dtype) -> np.ndarray:
        stride = self._document.bufferViews[view].byteStride or width * kind.itemsize
        return np.ndarray((count, width), kind, self._view(view), offset, (stride, kind.itemsize))

    def _view(self, index: int) -> bytes:
        view = self._document.bufferViews[index]
        start = view.byteOffset or 0
        return self._buffer(view.buffer)[start : start + view.byteLength]

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            uri = self._document.buffers[index].uri
            self._buffers[index] = self._document.binary_blob() if uri is None else self._file(uri)
        return self._buffers[index]

    def _file(self, uri: str) -> bytes:
        """What a URI names: data, or a file beside the document."""
        if uri.startswith("data:"):
            return base64.b64decode(uri.split(",", 1)[1])
        return (self._folder / unquote(uri)).read_bytes()

    def atlas(self, materials: list[int], texture: Path | None) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """The pictures of materials, side by side (S,S,3) uint8 sRGB, and where each lies: u, v, width, height (4,)."""
        given = None if texture is None else _picture(texture.read_bytes())[::-1]
        own = [self._picture(material) if given is None else given for material in materials]
        side = int(np.ceil(np.sqrt(len(own))))
        whole = np.zeros((side * TILE, side * TILE, 3), np.uint8)
        places = {}
        for number, (material, picture) in enumerate(zip(materials, own, strict=True)):
            row, column = divmod(number, side)
            tile = cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA)
            whole[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = tile
            edge = 0.5 / TILE  # half a texel within, so that neighbours do not bleed
            places[material] = np.array([column + edge, row + edge, 1 - 2 * edge, 1 - 2 * edge]) / side
        return whole, places

    def _picture(self, material: int) -> np.ndarray:
        """A material's base colour (H,W,3) uint8 sRGB."""
        surface = self._document.materials[material].pbrMetallicRoughness if material >= 0 else None
        factor = np.array((surface and surface.baseColorFactor) or [0.8, 0.8, 0.8, 1.0])[:3]
        textured = surface and surface.baseColorTexture
        if not textured:
            return np.full((1, 1, 3), 255 * factor ** (1 / 2.2)).astype(np.uint8)
        image = self._document.images[cast(int, self._document.textures[textured.index].source)]
        data = self._file(image.uri) if image.bufferView is None else self._view(image.bufferView)
        return (_picture(data) * factor ** (1 / 2.2)).astype(np.uint8)


def target_names(mesh: Any, count: int) -> list[str]:
    """Names of the morph targets of a pygltflib mesh, of which there are `count`; numbers after the mesh's name where
    it has none."""
    names = (mesh.extras or {}).get("targetNames") or []
    return [str(names[k]) if k < len(names) else f"{mesh.name or 'mesh'}_{k}" for k in range(count)]


def _picture(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("a picture in it cannot be decoded")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _matrix(node: Any) -> np.ndarray:
    """A node's own matrix (4,4)."""
    if node.matrix:
        return np.array(node.matrix, float).reshape(4, 4).T
    matrix = np.eye(4)
    turn = Rotation.from_quat(node.rotation or [0.0, 0.0, 0.0, 1.0]).as_matrix()
    matrix[:3, :3] = turn * np.array(node.scale or [1.0, 1.0, 1.0])
    matrix[:3, 3] = node.translation or [0.0, 0.0, 0.0]
    return matrix
