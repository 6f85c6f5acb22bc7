"""How a whole photo moves with the head in it: a grid over the photo whose nodes are carried along.

On the face the nodes move as the mesh does. Hair, ears and neck turn rigidly with the head, as a relief whose depth goes
on smoothly from the face's; that fades towards the background, and what the expression moves fades outside of the
face. At the grid's border nothing moves, and between the nodes the photo is stretched: it has no seam and no hole.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import BROWS, EYE_CONTOURS, LIPS, NOSE_TIP
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize
from selftrack.tracker.export.reenact._mouth import OF_MOUTH, biting_edge, seated, teeth
from selftrack.tracker.geometry.pose import project, rotation
from selftrack.tracker.results.texture import EYES

_NODES = 60_000  # of the grid at most
_MARGIN = 0.8  # of the head's height, by which the grid goes beyond the head
_EVEN = 0.5  # cosine to the view from which a node's depth counts
_FACING = 0.3  # cosine to the view from which a node moves as the mesh does; beyond, the outline is another's
_HAIR = 0.16  # of the head's height, which turns with it around it
_NECK = 0.55  # of the head's height below its middle, where the body begins, which stays
_BORDER = 0.08  # of the head's height, in which what is left of the movement ends at the grid's border
_REACH = 0.3  # of the head's height, in which an expression's movement falls to 1/e outside of the face
_SKIN, _UPPER, _LOWER = 0, 1, 2  # what nodes show: all else; eyes and upper teeth; the lower half of the mouth's inside
_WHOLE, _TORN = 1.15, 1.5  # how much longer triangles may get of which the inside of the mouth is shown, and not at all
_OWN = 0.005  # metres below the mesh's upper teeth, down to where what a photo shows is taken for upper teeth
_BEHIND = 0.15  # of the head's height, by which lids and lips pass before what is inside


_FEATURES = (*(point for part in (*EYE_CONTOURS, *BROWS) for point in part), *LIPS, NOSE_TIP)
"""Points whose convex hull moves as the mesh does, however it lies: lids, nose and lips."""
IN_SOCKET = (*EYES, "cavity_left", "cavity_right")


class Harmonic:
    """The smooth continuation of values known at some nodes of a grid to all others."""

    def __init__(self, known: np.ndarray, reach: float = np.inf) -> None:
        """Prepare for nodes (R,C) of which those are `known`, one at least; the rest solves Laplace's equation, with no
        slope across the border. With a `reach`, in nodes, values fall to 1/e in that distance (screened)."""
        from scipy.sparse import coo_matrix, diags
        from scipy.sparse.linalg import splu

        self._known, count = known.ravel(), known.size
        at = np.arange(count).reshape(known.shape)
        pairs = [(at[:, :-1].ravel(), at[:, 1:].ravel()), (at[:-1].ravel(), at[1:].ravel())]
        one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
        ones = np.ones(len(one))
        beside = coo_matrix((ones, (one, other)), (count, count)).tocsr()
        beside = beside + beside.T
        laplacian = (diags(np.asarray(beside.sum(1)).ravel() + reach**-2.0) - beside).tocsr()
        free = laplacian[~self._known]
        self._to_known = -free[:, self._known]
        self._solve = splu(free[:, ~self._known].tocsc()).solve if (~self._known).any() else None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Continue values (K,N) at the known nodes, row by row of the grid: (R*C,N)."""
        out = np.empty((len(self._known), values.shape[1]))
        out[self._known] = values
        if self._solve is not None:
            out[~self._known] = self._solve(self._to_known @ values.astype(float))
        return out


class Moved(NamedTuple):
    """Where each pixel of a picture comes from."""

    rows: slice
    columns: slice
    """The part of the picture that moves."""
    places: np.ndarray
    """(h,w,2) float32, x and y in the photo of its pixels."""
    kept: np.ndarray
    """(h,w) float32 in 0..1, 1 where the photo's own teeth are seen."""


class Field:
    """The grid over a photo with a head in it."""

    def __init__(
        self, head: Decoder, geometry: torch.Tensor, pose: torch.Tensor, inverse_distance: float, size: tuple[int, int]
    ) -> None:
        """Lay the grid.

        Args:
            head: the decoder.
            geometry: (V,3) metres, head frame, of the face as the photo shows it.
            pose: (6,) of the head in the photo.
            inverse_distance: of the camera, 1/metres.
            size: (H,W) of the photo.
        """
        self._inverse_distance = inverse_distance
        vertices = project(seated(head, geometry)[None], pose[None], inverse_distance)
        box = vertices[0, :, :2].numpy()
        self._unit = float(np.ptp(box[:, 1]))
        low = np.maximum(np.floor(box.min(0) - _MARGIN * self._unit), 0)
        high = np.minimum(np.ceil(box.max(0) + _MARGIN * self._unit), np.array(size[::-1]) - 1)
        self._low, self._high = low.astype(int), np.maximum(high, low + 1).astype(int)
        extent = self._high - self._low
        self._counts = np.maximum(np.ceil(extent / max(1.0, np.sqrt(extent.prod() / _NODES))).astype(int) + 1, 2)
        self._step = extent / (self._counts - 1)
        self._nodes = self._lattice()
        self._look(head, geometry, pose, vertices)
        self._triangles = _triangles(*self._counts.tolist())
        self._of_mouth = torch.from_numpy(self._mouth)[self._triangles].any(1)

    def __call__(self, geometry: torch.Tensor, pose: torch.Tensor) -> Moved:
        """Move the photo to the face of another geometry (V,3) under another pose (6,) in it."""
        moved = torch.from_numpy(self.moved_nodes(geometry, pose)).float()
        fragments = rasterize(
            (moved - torch.tensor([*self._low.tolist(), 0.0]))[None], self._triangles, self._shape_in_pixels()
        )
        at = torch.from_numpy(self._nodes - self._low).float()
        places = interpolate(at, self._triangles, fragments)[0].numpy() + self._low.astype(np.float32)
        seen = (fragments.face_index[0] >= 0).numpy()
        kept = self._kept(moved[:, :2])[fragments.face_index[0].clamp(min=0)].numpy() * seen
        if not seen.all():
            own = np.stack(np.meshgrid(*(np.arange(n) for n in self._shape_in_pixels()[::-1])), -1) + self._low
            places[~seen] = own[~seen]
        rows, columns = (slice(int(a), int(b) + 1) for a, b in zip(self._low[::-1], self._high[::-1], strict=True))
        return Moved(rows, columns, places.astype(np.float32), cv2.blur(kept.astype(np.float32), (3, 3)))

    def _kept(self, moved: torch.Tensor) -> torch.Tensor:
        """How far the triangles (F,) show what the photo has of the inside of the mouth, 0..1: not where they are drawn
        out by nodes (N,2) that go apart."""
        longest = [
            (at[self._triangles] - at[self._triangles.roll(1, 1)]).norm(dim=-1).amax(1)
            for at in (moved, torch.from_numpy(self._nodes).float())
        ]
        stretch = longest[0] / longest[1]
        return self._of_mouth * ((_TORN - stretch) / (_TORN - _WHOLE)).clamp(0, 1)

    def moved_nodes(self, geometry: torch.Tensor, pose: torch.Tensor) -> np.ndarray:
        """Place the nodes (N,3): x, y and depth in pixels, larger = farther."""
        turned = self._project(self._relief, pose)
        with_head = turned - self._start
        acting = project(geometry[None], pose[None], self._inverse_distance)[0]
        still = project(self._geometry[None], pose[None], self._inverse_distance)[0]
        expression = self._spread(self._at_known((acting - still).numpy()))
        expression[self._inside > 0] = 0  # eyes and upper teeth sit in the skull
        expression[self._inside == _LOWER] = (acting - still)[self._lower_teeth].mean(0).numpy()
        moved = self._start + self._end[:, None] * (self._with[:, None] * with_head + expression)
        moved[:, 2] += (1 - self._with) * self._unit  # the background lies behind
        moved[:, 2] += self._inside * _BEHIND * self._unit
        return moved

    def _shape_in_pixels(self) -> tuple[int, int]:
        columns, rows = (self._high - self._low + 1).tolist()
        return rows, columns

    def _lattice(self) -> np.ndarray:
        axes = [np.linspace(a, b, n) for a, b, n in zip(self._low, self._high, self._counts, strict=True)]
        return np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)

    def _look(self, head: Decoder, geometry: torch.Tensor, pose: torch.Tensor, vertices: torch.Tensor) -> None:
        """Find what each node shows, and how far it moves with the head."""
        columns, rows = self._counts.tolist()
        scaled = (vertices - torch.tensor([*self._low.tolist(), 0.0])) / torch.tensor([*self._step.tolist(), 1.0])
        seen = rasterize(scaled.float(), head.faces, (rows, columns))
        index = seen.face_index[0]
        of_head = (head.face_parts[index.clamp(min=0)] == head.part_names.index("head")) & (index >= 0)
        normals = vertex_normals(geometry[None], head.faces)[0] @ rotation(pose[1:4]).T
        facing = -interpolate(normals[None, :, 2:], head.faces, seen)[0, ..., 0]
        features = head.landmarks478.subset(_FEATURES)(vertices)[0, :, :2].numpy()
        hull = cv2.convexHull(np.float32((features - self._low) / self._step)).round().astype(np.int32)
        inner = cv2.fillConvexPoly(np.zeros((rows, columns), np.uint8), hull, 1) > 0
        known = of_head.numpy() & (inner | (facing > _FACING).numpy())
        self._corners = head.faces[index[torch.from_numpy(known)]].numpy()
        self._weights = seen.barycentric[0][torch.from_numpy(known)].numpy()
        self._geometry = geometry
        self._lower_teeth = teeth(head, "teeth_lower")
        part = np.array(head.part_names)[head.face_parts[index.clamp(min=0)].numpy()]
        part = np.where((index >= 0).numpy(), part, "").ravel()
        edge = project(biting_edge(head, seated(head, geometry))[None, None], pose[None], self._inverse_distance)[0, 0]
        down = rotation(pose[1:4])[:2, 1].numpy()
        below = (self._nodes - edge[:2].numpy()) @ down > _OWN * float(pose[0].exp())
        self._mouth = np.isin(part, OF_MOUTH)
        self._inside = np.where(np.isin(part, IN_SOCKET), _UPPER, np.where(self._mouth, np.where(below, _LOWER, _UPPER), _SKIN))
        unit = self._unit / float(self._step.mean())  # the head's height in nodes
        self._spread = Harmonic(known, _REACH * unit)
        even = known & (facing > _EVEN).numpy()
        depth = Harmonic(even)(seen.depth[0].numpy()[even][:, None])
        self._start = np.concatenate([self._nodes, depth], 1)
        self._relief = _unproject(self._start, pose, self._inverse_distance)
        self._with = self._moves((index >= 0).numpy(), pose, unit).ravel()
        distance = np.minimum.reduce([np.arange(columns), columns - 1 - np.arange(columns)])[None]
        distance = np.minimum(distance, np.minimum(np.arange(rows), rows - 1 - np.arange(rows))[:, None])
        self._end = _ease(np.minimum(distance / (_BORDER * unit), 1)).ravel()

    def _moves(self, covered: np.ndarray, pose: torch.Tensor, unit: float) -> np.ndarray:
        """How far the nodes (R,C) turn with the head, 0..1, of which those are `covered` by its mesh."""
        wide = max(round(_HAIR * unit), 1)
        hair = cv2.dilate(covered.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * wide + 1,) * 2))
        down = rotation(pose[1:4])[:2, 1].numpy()
        middle = self._nodes[covered.ravel()].mean(0)
        below = ((self._nodes - middle) @ (down / np.linalg.norm(down)) / self._unit).reshape(covered.shape)
        body = (below > _NECK) & ~covered
        near = (hair > 0) & (below < 0.25) | covered
        edge = np.zeros_like(covered)
        edge[[0, -1]], edge[:, [0, -1]] = True, True
        known = near | body | edge
        return _ease(Harmonic(known)(near[known].astype(float)[:, None])).reshape(covered.shape)

    def _at_known(self, values: np.ndarray) -> np.ndarray:
        """Values (V,C) of the mesh's vertices at the known nodes, (K,C)."""
        return np.einsum("kc,kcd->kd", self._weights, values[self._corners])

    def _project(self, points: np.ndarray, pose: torch.Tensor) -> np.ndarray:
        return project(torch.from_numpy(points)[None], pose[None].double(), self._inverse_distance)[0].numpy()


def _unproject(places: np.ndarray, pose: torch.Tensor, inverse_distance: float) -> np.ndarray:
    """The points (N,3) of the head frame that `project` takes to places (N,3)."""
    scale, pose = float(pose[0].double().exp()), pose.double()
    flat = places - np.array([*pose[4:6].tolist(), 0.0])
    turned = flat / scale
    turned[:, :2] *= 1 + inverse_distance * turned[:, 2:]
    return turned @ rotation(pose[1:4]).numpy()


def _ease(share: np.ndarray) -> np.ndarray:
    """0..1 likewise, with no slope at both ends."""
    return share**2 * (3 - 2 * share)


def _triangles(columns: int, rows: int) -> torch.Tensor:
    """(F,3) of a grid of nodes, row by row."""
    at = torch.arange(columns * rows).view(rows, columns)
    a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]
    return torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])


def resampled(photo: np.ndarray, moved: Moved) -> np.ndarray:
    """Draw the photo (H,W,3) uint8 moved, on a copy; pixels that stay are as they were."""
    out = photo.copy()
    x, y = np.ascontiguousarray(moved.places[..., 0]), np.ascontiguousarray(moved.places[..., 1])
    out[moved.rows, moved.columns] = cv2.remap(photo, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return out


