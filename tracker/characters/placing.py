"""Where the landmark detector's points lie on a face of any make, found by pictures of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from selftrack.decoders.head.model import Head
from selftrack.decoders.landmarks import FACE_OVAL, MESH_POINTS, OUTER_EYE_CORNERS, POINTS
from selftrack.decoders.mesh.rasterizer import Fragments, barycentric_at
from selftrack.decoders.rigs.character import Places
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.errors import UserError
from selftrack.tracker.characters.similarity import moved, similarity
from selftrack.tracker.characters.views import flat, picture, seen
from selftrack.tracker.landmarks.base import Follower
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig

_SIDE = 448
"""Of the pictures, pixels."""
_REACH = 0.2
"""Metres of the head that a picture shows from side to side, as large as the bundled head."""
_TURNS = np.radians([(x, y) for x in (-8, 0, 8) for y in (-18, 0, 18)])
"""About x and y, under which a face is looked at."""
_FRONT = _TURNS[3:6]
"""Of these, those without nodding."""
_SIDES = [
    Rotation.from_euler(axis, angle, degrees=True).as_matrix()
    for axis, angle in (("y", 0), ("y", 90), ("y", 180), ("y", 270), ("x", 90), ("x", -90))
]
"""Ways to look at a file that says nothing of where its face looks."""
_GAP = 0.1
"""Of the distance of the outer eye corners, by which the lips are parted when the points are placed."""
_ODD = 0.3
"""Of the same distance: a look whose points are farther off a head's, place, turn and size apart, is no look at a
face."""
_HIDDEN = 0.4
"""Share of points that are not seen with which a look is no look at a face."""
_SURE = 0.9
"""Confidence of the detector with which no other side of a file is looked at."""
_BESIDE = 0.06
"""Of a picture's side, by which a point may lie beside the face."""
_FACING = 0.4
"""Cosine between a triangle and the line of sight under which a point on it does not count."""
_LIPS = (0, 17)
"""The middles of the outer edges of upper and lower lip; inner ones are too near each other to tell whose they are."""
INNER = np.setdiff1d(np.arange(MESH_POINTS), FACE_OVAL)
"""Points that do not slide along the outline as a face turns."""


@dataclass(frozen=True)
class Placed:
    """The detector's points on a mesh, and the pictures that they were seen in."""

    places: Places
    vertices: np.ndarray
    """(V,3) of the mesh in the pictures, metres, head frame."""
    views: np.ndarray
    """(N,V,3) pixels."""
    found: np.ndarray
    """(N,478,2) pixels, where the detector saw the points; NaN where these are hidden."""

    def error(self, places: Places) -> float:
        """Mean distance of points on the mesh from where the detector saw them, of all pictures and of the points
        that do not slide along the outline, % of the distance of the outer eye corners."""
        apart = np.linalg.norm(places(self.views)[..., :2] - self.found, axis=-1)[:, INNER]
        return float(100 * np.nanmean(apart) / (_SIDE / _REACH * _width(places(self.vertices))))


class Placer:
    """Looks at faces, and finds where they are and where the detector's points lie on them."""

    def __init__(self, head: Head) -> None:
        self._follower: Follower = AttentionMesh(torch.device("cpu")).follower(DetectConfig())
        self.head = head_mesh(head)
        self._start = head.landmarks478(head.mean[None])[0].double().numpy()

    def to_head(self, mesh: ShapedMesh) -> np.ndarray:
        """Find the similarity (4,4) that takes a mesh of whatever units and axes to the head frame.

        Raises:
            UserError: no face is seen on it, from whatever side.
        """
        looks = []
        for turn in _SIDES:
            look = self._look(mesh, turn)
            looks += [] if look is None else [look]
            if look is not None and look[0] > _SURE and turn is _SIDES[0]:
                break
        for _, points in sorted(looks, key=lambda look: -look[0]):
            matrix, _ = self._aligned(points)
            again = self._look(in_head_frame(mesh, matrix), np.eye(3), self._start[INNER].mean(0))
            if again is not None:
                closer, off = self._aligned(again[1])
                if off < _ODD * _width(self._start):
                    return closer @ matrix
        raise UserError(
            "no face is seen on it from any side; it needs skin with brows and lips to be seen, and no hair or helmet "
            "before the face"
        )

    def place(self, mesh: ShapedMesh) -> Placed:
        """Place the points on a mesh in the head frame, with its lips a little apart, if it has a shape for that.

        Raises:
            UserError: the detector finds no face, or does not see all of it.
        """
        weight, opening = _opening(self._place(mesh, mesh.neutral, _FRONT).places, mesh)
        return self._place(mesh, mesh.neutral if opening is None else mesh.neutral + weight * opening, _TURNS)

    def _place(self, mesh: ShapedMesh, vertices: np.ndarray, turns: np.ndarray) -> Placed:
        middle, scale = self._start[INNER].mean(0), _SIDE / _REACH
        part = mesh.skin if mesh.skin.any() else np.ones(len(mesh.faces), bool)
        eyes = mesh.moist if mesh.moist.any() else part
        corners: list[np.ndarray] = []
        weights: list[np.ndarray] = []
        facing: list[np.ndarray] = []
        found, views = [], []
        for x, y in turns:
            placed = flat(vertices, Rotation.from_euler("xy", [x, y]).as_matrix(), middle, scale, _SIDE)
            shown = seen(mesh, placed, _SIDE)
            detection = self._follower.detect_once(picture(mesh, placed, shown))
            if detection is None:
                continue
            skin = _lifted(mesh, placed, shown, detection.points[:MESH_POINTS], part)
            iris = _lifted(mesh, placed, shown, detection.points[MESH_POINTS:], eyes)
            for out, *both in zip((corners, weights, facing), skin, iris, strict=True):
                out.append(np.concatenate(both))
            found.append(detection.points)
            views.append(placed)
        if len(found) <= len(turns) // 2:
            raise UserError(
                f"the detector finds a face in {len(found)} of {len(turns)} pictures of it; it needs skin with brows "
                "and lips to be seen"
            )
        every, front = np.stack(weights), np.stack(facing)
        often = front.sum(0) >= len(front) / 3
        every[~front & often] = np.nan  # what is mostly seen from the side counts all the same
        places = Places(*nearest_to_median(vertices, np.stack(corners), every))
        where = np.where(np.isnan(every).any(-1, keepdims=True), np.nan, np.stack(found))
        return Placed(places, vertices, np.stack(views), where)

    def _look(
        self, mesh: ShapedMesh, turn: np.ndarray, middle: np.ndarray | None = None
    ) -> tuple[float, np.ndarray] | None:
        """The detector's confidence and points (478,3) in the mesh's units, NaN where they are not seen, from one
        side: of all of it, or, in the head frame, of the face around `middle` (3,). None where no face is seen."""
        turned = mesh.neutral @ turn.T
        low, high = turned.min(0), turned.max(0)
        scale = 0.9 * _SIDE / (high - low)[:2].max() if middle is None else _SIDE / _REACH
        middle = np.linalg.solve(turn, (low + high) / 2) if middle is None else middle
        placed = flat(mesh.neutral, turn, middle, scale, _SIDE)
        shown = seen(mesh, placed, _SIDE)
        found = self._follower.detect_once(picture(mesh, placed, shown))
        if found is None:
            return None
        corners, weights, _ = _lifted(mesh, placed, shown, found.points, np.ones(len(mesh.faces), bool))
        points = (mesh.neutral[corners] * weights[..., None]).sum(1)
        return None if np.isnan(points[INNER]).mean() > _HIDDEN else (found.confidence, points)

    def _aligned(self, points: np.ndarray) -> tuple[np.ndarray, float]:
        """The similarity (4,4) that takes points (478,3), NaN where not seen, to the head's, and how far they stay
        off."""
        rows = INNER[~np.isnan(points[INNER]).any(1)]
        matrix = similarity(points[rows], self._start[rows])
        return matrix, float(np.linalg.norm(moved(points[rows], matrix) - self._start[rows], axis=1).mean())


def head_mesh(head: Head) -> ShapedMesh:
    """Take the bundled head as a mesh with shapes."""
    part = np.array(head.part_names)[head.face_parts.numpy()]
    moist = np.isin(part, ("eye_left", "eye_right"))
    inner = np.isin(part, ("mouth", "tongue", "teeth_upper", "teeth_lower", "cavity_left", "cavity_right"))
    return ShapedMesh(
        head.mean.double().numpy(),
        head.faces.numpy(),
        head.expression_names,
        head.blendshapes.numpy(),
        head.uvs[head.uv_faces].numpy(),
        ~moist & ~inner,
        moist,
        inner,
        (255 * head.mean_texture.clamp(0, 1)).byte().permute(1, 2, 0).numpy(),
    )


def in_head_frame(mesh: ShapedMesh, matrix: np.ndarray) -> ShapedMesh:
    """The mesh moved by a similarity (4,4)."""
    deltas = (mesh.deltas @ matrix[:3, :3].T).astype(np.float32)
    return replace(mesh, neutral=moved(mesh.neutral, matrix), deltas=deltas)


def nearest_to_median(neutral: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose, of places of the detector's points on a surface, for each point the one nearest to their median.

    Args:
        neutral: (V,3) vertices.
        corners: (N,478,3) vertices of the triangles that the points are in.
        weights: (N,478,3) of them; NaN where a point was not seen.

    Returns:
        Corners and weights (478,3).

    Raises:
        UserError: a point was never seen.
    """
    places = (neutral[corners] * weights[..., None]).sum(2)  # (N,478,3)
    if np.isnan(places).all(0).any():
        raise UserError("some of the detector's points were never seen on the surface; its skin has holes")
    away = np.linalg.norm(places - np.nanmedian(places, 0), axis=2)
    best, every = np.nanargmin(away, 0), np.arange(POINTS)
    return corners[best, every], weights[best, every]


def _lifted(
    mesh: ShapedMesh, placed: np.ndarray, shown: Fragments, points: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N,3) of the triangles of a part (F,) that are seen at image points (N,2); weights of them, or of the
    nearest vertex that is seen of that part alone; NaN where none is near; and whether the triangle faces the
    viewer."""
    index = shown.face_index[0].numpy()
    x, y = np.clip(np.round(points), 0, _SIDE - 1).astype(int).T
    triangle = index[y, x]
    triangle = np.where((triangle >= 0) & part[triangle], triangle, -1)
    visible = np.unique(index[index >= 0])
    vertices = np.unique(mesh.faces[visible[part[visible]]])
    if not len(vertices):
        return np.zeros((len(points), 3), np.int64), np.full((len(points), 3), np.nan), np.zeros(len(points), bool)
    off, nearest = cKDTree(placed[vertices, :2]).query(points)
    corners = np.where((triangle >= 0)[:, None], mesh.faces[triangle], vertices[nearest][:, None])
    flat_, pixels = (torch.from_numpy(values.astype(float)) for values in (placed, points))
    inside = barycentric_at(flat_[None], torch.from_numpy(mesh.faces), torch.from_numpy(triangle)[None], pixels)
    weights = np.where((triangle >= 0)[:, None], inside[0].numpy().clip(0), [1.0, 0.0, 0.0])
    weights /= weights.sum(1, keepdims=True)
    weights[(triangle < 0) & (off > _BESIDE * _SIDE)] = np.nan
    a, b, c = placed[corners].astype(float).transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    return corners, weights, np.abs(normal[:, 2]) > _FACING * np.maximum(np.linalg.norm(normal, axis=1), 1e-9)


def _opening(places: Places, mesh: ShapedMesh) -> tuple[float, np.ndarray | None]:
    """The shape (V,3) that parts the lips most, and the weight of it that parts them by `_GAP`; None without such."""
    moves = places(mesh.deltas)[..., 1]
    gaps = moves[:, _LIPS[1]] - moves[:, _LIPS[0]]
    width = _width(places(mesh.neutral))
    best = int(gaps.argmax()) if len(gaps) else 0
    if not len(gaps) or gaps[best] < _GAP * width / 2:
        return 0.0, None
    return min(1.0, _GAP * width / gaps[best]), mesh.deltas[best].astype(float)


def _width(points: np.ndarray) -> float:
    """Distance of the outer eye corners."""
    a, b = OUTER_EYE_CORNERS
    return float(np.linalg.norm(points[a] - points[b]))
