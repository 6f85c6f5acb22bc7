"""Shapes that mean what ARKit's mean, for build_head.py: a mesh's own shapes, bent until the detector's points on it
move as arkit_reference.py measured it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags, identity
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.landmarks import CHIN, FACE_OVAL, OUTER_EYE_CORNERS
from selftrack.synthetic.rigs.rig import GAZE, IRIS_RADIUS

SMOOTHNESS = 3e-3
"""Weight of the field's roughness against the points."""
CONTOUR = 0.03
"""Weight of the points of the contour: they lie where a view has it, not on one place of the skin."""
TUCK = 0.003
"""Metres by which what is behind the lips is moved back."""
SEATS = {"teeth_upper": (0.94, 0.003, -0.0065), "teeth_lower": (0.9, -0.0006, -0.005)}
"""How rows of teeth are moved to where a person has them: width by a factor, and metres down and back. MakeHuman's
lie 11 mm behind the lips, are as wide as each other, and end where shut lips meet; a person's upper ones go 2 to 4 mm
below that, and pass before 3 mm of the lower ones."""
STILL = 0.02
"""Weight of an expression's rest far from the points: ears, neck and the back of the head."""
TOGETHER = 0.02
"""Weight with which these move alike from person to person."""
LIDS = (
    ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
)
"""Edge of the upper and of the lower lid, of the right and the left eye, point for point."""
INNER_LIPS = ((191, 80, 81, 82, 13, 312, 311, 310, 415), (95, 88, 178, 87, 14, 317, 402, 318, 324))
"""The lips' inner edges, upper and lower, point for point."""
FLIP = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Reference:
    """What arkit_reference.py measured, head frame, metres."""

    mean: np.ndarray
    """(478,3)."""
    expression: np.ndarray
    """(52,478,3)."""
    identity: np.ndarray
    """(K,478,3) of a standard deviation each."""
    known: np.ndarray
    """(52,) bool, the curves that it has shapes for."""

    @classmethod
    def load(cls, path: Path) -> Reference:
        with np.load(path, allow_pickle=False) as data:
            return cls(*(data[name] for name in ("mean", "expression", "identity", "known")))

    def scaled(self, points: np.ndarray) -> Reference:
        """The same for a face whose eyes are as far apart as those of points (478,3)."""
        right, left = OUTER_EYE_CORNERS
        ratio = np.linalg.norm(points[right] - points[left]) / np.linalg.norm(self.mean[right] - self.mean[left])
        return Reference(self.mean * ratio, self.expression * ratio, self.identity * ratio, self.known)


class Mesh:
    """A face's mesh with the detector's points on it."""

    def __init__(
        self, vertices: np.ndarray, faces: np.ndarray, parts: np.ndarray, points: csr_matrix, mirror: np.ndarray
    ) -> None:
        """`vertices` (V,3); `faces` (F,3); `parts` (F,) names; `points` (478,V) interpolates; `mirror` (V,) is each
        vertex's mirror image."""
        self.vertices, self.faces, self.parts, self.points, self.mirror = vertices, faces, parts, points, mirror
        self.skin = self.of("head", "neck", "mouth", "cavity_left", "cavity_right")
        self._skin_moves, self._face_moves = self._field(0.0, TOGETHER), self._field(STILL, 0.0)

    def of(self, *names: str) -> np.ndarray:
        """Find the vertices of some parts."""
        return np.unique(self.faces[np.isin(self.parts, names)])

    def _field(self, still: float, together: float) -> Callable[[np.ndarray], np.ndarray]:
        """Factorise the least squares of `spread`."""
        count = len(self.vertices)
        edges = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        edges = np.unique(np.sort(edges, axis=1), axis=0)
        i, j = np.concatenate([edges, edges[:, ::-1]]).T
        adjacency = coo_matrix((np.ones(len(i)), (i, j)), (count, count)).tocsr()
        degree = np.asarray(adjacency.sum(1)).ravel().clip(min=1)
        laplacian = self._laplacian = identity(count) - diags(1 / degree) @ adjacency
        weight = np.ones(478)
        beside = np.abs((self.points @ self.vertices)[:, 0]) > 0.05
        weight[list(FACE_OVAL)] = CONTOUR
        weight[beside & np.isin(np.arange(478), FACE_OVAL)] = CONTOUR / 100
        self._weights = diags(weight)
        system = self.points.T @ self._weights @ self.points
        distance = cKDTree(self.points @ self.vertices).query(self.vertices)[0]
        far = ((distance - 0.01) / 0.02).clip(0, 1)
        pair = coo_matrix((np.minimum(far[i], far[j]), (i, j)), (count, count)).tocsr()
        membrane = diags(np.asarray(pair.sum(1)).ravel()) - pair
        system = system + SMOOTHNESS * (laplacian.T @ laplacian) + together * membrane + diags(still * far + 1e-7)
        return splu(system.tocsc()).solve

    def spread(self, moved: np.ndarray, expression: bool = False) -> np.ndarray:
        """Find the smoothest displacements (K,V,3) of the skin that move its points by (K,478,3); those of an
        expression end at the ears."""
        solve = self._face_moves if expression else self._skin_moves
        right = np.moveaxis(moved, 1, 0).reshape(478, -1)
        right = self.points.T @ (self._weights @ right)
        field = np.moveaxis(solve(np.asarray(right)).reshape(len(self.vertices), len(moved), 3), 1, 0).copy()
        rest = np.setdiff1d(np.arange(len(self.vertices)), self.skin)
        field[:, rest] = 0
        return field

    def lined(self, shapes: np.ndarray) -> np.ndarray:
        """Let the mouth's lining follow the lips in displacements (K,V,3): harmonic from its rim, for what is only
        smooth overshoots and comes through them."""
        lining = self.of("mouth")
        inside = np.setdiff1d(lining, self.of("head"))
        rim = np.setdiff1d(lining, inside)
        laplacian = self._laplacian.tocsr()[inside]
        solve = splu(laplacian[:, inside].tocsc()).solve
        lined = shapes.copy()
        pulled = -laplacian[:, rim] @ np.moveaxis(shapes[:, rim], 1, 0).reshape(len(rim), -1)
        lined[:, inside] = np.moveaxis(solve(pulled).reshape(len(inside), len(shapes), 3), 1, 0)
        return lined

    def tucked(self) -> np.ndarray:
        """Move the mouth's lining and the tongue back from the lips, and seat the teeth behind: vertices (V,3)."""
        tucked, lining = self.vertices.copy(), self.of("mouth")
        inside = np.setdiff1d(lining, self.of("head"))
        distance = cKDTree(self.vertices[np.setdiff1d(lining, inside)]).query(self.vertices[inside])[0]
        tucked[inside, 2] += np.minimum(0.4 * distance, TUCK)
        tucked[self.of("teeth_upper", "teeth_lower", "tongue"), 2] += TUCK / 2
        return seated(tucked, {row: self.of(row) for row in SEATS})

    def at(self, values: np.ndarray) -> np.ndarray:
        """Interpolate (K,478,3) of per-vertex values (K,V,3)."""
        flat = self.points @ np.moveaxis(values, 1, 0).reshape(len(self.vertices), -1)
        return np.moveaxis(flat.reshape(478, len(values), 3), 1, 0)

    def mirrored(self, shapes: np.ndarray) -> np.ndarray:
        """Mirror displacements (K,V,3)."""
        return shapes[:, self.mirror] * FLIP


def seated(vertices: np.ndarray, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Move rows of teeth, which are these of the vertices (V,3), by `SEATS`."""
    moved = vertices.copy()
    for name, row in rows.items():
        width, down, back = SEATS[name]
        moved[row] = vertices[row] * [width, 1, 1] + [0, down, back]
    return moved


def mirror_vertices(template: np.ndarray) -> np.ndarray:
    """Find the index (V,) of each vertex's mirror image in a symmetric mesh (V,3)."""
    distance, mirror = cKDTree(template).query(template * FLIP)
    assert distance.max() < 1e-4, f"the mesh is not symmetric: {1000 * distance.max():.2f} mm"
    return mirror


def mirror_points(points: np.ndarray) -> np.ndarray:
    """Find the index (478,) of each point's mirror image among points (478,3)."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    return linear_sum_assignment(cdist(points, points * FLIP) ** 2)[1]


def pitch_between(mean: np.ndarray, other: np.ndarray) -> float:
    """Find the angle about x, radians, by which points (478,3) must turn to lie as `other` (478,3)."""
    keep = np.setdiff1d(np.arange(468), FACE_OVAL)
    a, b = mean[keep] - mean[keep].mean(0), other[keep] - other[keep].mean(0)
    turn, _ = Rotation.align_vectors(b, a)
    return float(turn.as_euler("xyz")[0])


def people(mesh: Mesh, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Take the reference's mean and components onto the mesh: (V,3) and (K,V,3) displacements, eyes and teeth along."""
    here = mesh.at(mesh.vertices[None])[0]
    there = reference.mean - reference.mean[:468].mean(0) + here[:468].mean(0)
    upper, lower = (list(edge) for edge in INNER_LIPS)  # seen with parted lips; those at rest are this mesh's
    parted = (there[lower] - there[upper]) - (here[lower] - here[upper])
    there[lower], there[upper] = there[lower] - parted / 2, there[upper] + parted / 2
    moved = np.concatenate([(there - here)[None], reference.identity])
    pairs = mirror_points(here)
    moved[:1] = (moved[:1] + moved[:1, pairs] * FLIP) / 2
    fields = mesh.spread(moved)
    for part, points in (("eye_left", range(473, 478)), ("eye_right", range(468, 473))):
        fields[:, mesh.of(part)] = moved[:, list(points)].mean(1, keepdims=True)
    lips = np.concatenate(INNER_LIPS)
    fields[:, mesh.of("teeth_upper", "teeth_lower", "tongue")] = moved[:, lips].mean(1, keepdims=True)
    return fields[0], fields[1:]


def arkit_shapes(mesh: Mesh, own: np.ndarray, reference: Reference) -> np.ndarray:
    """Correct the mesh's own shapes (52,V,3) to ARKit's.

    The points move as the reference's. A blink shuts the lids of this mesh, whatever their opening; lips meet at
    jawOpen and mouthClose; eyeballs turn by `GAZE`; left and right are mirror images, and one eye's shapes leave the
    other alone.
    """
    own = own.copy()
    names = list(ARKIT_NAMES)
    here = mesh.at(mesh.vertices[None])[0]
    goal = reference.expression.copy()
    pairs = mirror_points(here)
    goal = symmetric(goal, lambda values: values[:, pairs] * FLIP)
    _shut_lids(goal, here, names)
    _close_lips(goal, mesh.at(own), names)
    kept = ~reference.known
    kept[names.index("tongueOut")] = True
    goal[kept] = mesh.at(own)[kept]
    inside = mesh.of("teeth_lower", "tongue")
    chin = mesh.at(own)[:, CHIN]
    for name in ("jawOpen", "jawLeft", "jawRight", "jawForward"):
        row = names.index(name)
        own[row, inside] *= np.linalg.norm(goal[row, CHIN]) / np.linalg.norm(chin[row])
    shapes = own + mesh.lined(mesh.spread(goal - mesh.at(own), expression=True))
    _turn_eyes(shapes, mesh, names)
    shapes = symmetric(shapes, mesh.mirrored)
    side = 1 / (1 + np.exp(-mesh.vertices[:, 0] / 0.003))  # 1 on the subject's left
    for row, name in enumerate(names):
        if name.startswith("eye"):
            shapes[row] *= (side if name.endswith("Left") else 1 - side)[:, None]
    shapes[np.abs(shapes) < 1e-5] = 0
    return shapes


def symmetric(shapes: np.ndarray, mirror: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Make (52,N,3) mirror images of each other, or of themselves; `mirror` mirrors such values."""
    names = list(ARKIT_NAMES)
    partner = [names.index(_other_side(name)) for name in names]
    return (shapes + mirror(shapes)[partner]) / 2


def _other_side(name: str) -> str:
    return name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")


def _shut_lids(goal: np.ndarray, here: np.ndarray, names: list[str]) -> None:
    for (upper, lower), side in zip(LIDS, ("Right", "Left"), strict=True):
        row = names.index(f"eyeBlink{side}")
        met = here[list(lower)] + goal[row, list(lower)]
        goal[row, list(upper), 1:] = (met - here[list(upper)])[:, 1:]


def _close_lips(goal: np.ndarray, own: np.ndarray, names: list[str]) -> None:
    """Let mouthClose take back of jawOpen what the mesh's own (52,478,3) do; the lips' inner edges meet as at rest."""
    jaw, close = names.index("jawOpen"), names.index("mouthClose")
    share = -(own[close] * own[jaw]).sum(1) / (own[jaw] ** 2).sum(1).clip(min=1e-8)
    goal[close] = -share.clip(0, 1)[:, None] * goal[jaw]
    upper, lower = (list(edge) for edge in INNER_LIPS)
    gap = (goal[jaw, lower] + goal[close, lower]) - (goal[jaw, upper] + goal[close, upper])
    goal[close, lower] -= gap / 2
    goal[close, upper] += gap / 2


def _turn_eyes(shapes: np.ndarray, mesh: Mesh, names: list[str]) -> None:
    """Let eyeballs turn by `GAZE` a unit, their irises by as much as a human's."""
    for part, side in (("eye_left", "Left"), ("eye_right", "Right")):
        rows = mesh.of(part)
        ball = mesh.vertices[rows]
        middle = (ball.min(0) + ball.max(0)) / 2
        radius = middle[2] - ball[:, 2].min()
        for way, unit in GAZE.items():
            angle = np.arcsin(np.sin(unit) * IRIS_RADIUS / radius)
            outward = 1 if side == "Right" else -1
            turn = {"Down": (angle, 0), "Up": (-angle, 0), "Out": (0, outward * angle), "In": (0, -outward * angle)}
            rotation = Rotation.from_euler("xy", turn[way]).as_matrix()
            shapes[names.index(f"eyeLook{way}{side}"), rows] = (ball - middle) @ (rotation - np.eye(3)).T
