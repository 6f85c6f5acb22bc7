"""How a whole photo moves with the head in it: a grid over the photo whose nodes are carried along.

On the face the nodes move as the mesh does. Hair, ears and neck turn rigidly with the head, as a relief whose depth
goes on smoothly from the face's; that fades towards the background, and what the expression moves fades outside of the
face. At the grid's border nothing moves, and between the nodes the photo is stretched: it has no seam and no hole.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import BROWS, EYE_CONTOURS, FACE_OVAL, LIPS, NOSE_TIP
from selftrack.decoders.mesh.normals import vertex_normals
from selftrack.decoders.mesh.rasterizer import Fragments, interpolate, pixel_grid, rasterize
from selftrack.decoders.teeth import OF_MOUTH, TEETH, front_teeth, row_of
from selftrack.tracker.export.reenact._lattice import Harmonic, Lattice
from selftrack.tracker.geometry.pose import project, rotation
from selftrack.tracker.results.painter import nearness
from selftrack.tracker.results.texture import EYES

SOCKETS = ("cavity_left", "cavity_right")
"""What lies around the eyeballs."""
_FEATURES = (*(point for part in (*EYE_CONTOURS, *BROWS) for point in part), *LIPS, NOSE_TIP)
"""Points whose convex hull moves as the mesh does, however it lies: lids, nose and lips."""
_NODES = 60_000  # of the grid, about
_FACING, _EVEN = 0.3, 0.5  # cosines to the view from which a node moves as the mesh, and from which its depth counts
_EVENED = 2.0  # nodes over which the movement of the face's outline is averaged
_ZOOM, _TURN = 0.06, 0.05  # noise of the head's size, as a share, and of its turn, radians
# heights of the head:
_MARGIN = 0.8  # by which the grid goes beyond the head
_BORDER = 0.08  # in which all movement ends towards the grid's border
_HAIR = 0.16  # around the head, which turns with it
_NECK = 0.55  # below the head's middle, where the body begins, which stays
_REACH = (0.06, 0.3)  # in which an expression's movement falls to 1/e outside of the face, above and below
_BEHIND = 0.15  # by which lids and lips pass before what is inside
_SOFT = 0.005  # over which the plain colour of lids sets in
_SKIN, _UPPER, _LOWER = 0, 1, 2  # what nodes show: all else; eyes and upper teeth; the lower part of the mouth's inside
_OWN = 0.009  # metres below the mesh's upper teeth, down to where what a photo shows is taken for upper teeth
_LASHES = 0.001  # metres of the lids' edges, which keep their lashes
_WHOLE, _TORN = 1.15, 1.5  # how much longer triangles may get of which the inside is shown fully, and not at all
_DRAWN_OUT = (1.5, 3.0)  # times the area, between which the skin of lids fades to its plain colour
_PLAIN = 0.9  # how far it does
_SPECK = 1e-3  # pixels^2, of a triangle that the photo does not show, at least


class Moved(NamedTuple):
    """Where each pixel of a part of a picture comes from."""

    rows: slice
    columns: slice
    places: np.ndarray
    """(h,w,2) float32, x and y in the photo."""
    kept: np.ndarray
    """(h,w) float32 in 0..1, 1 where the photo's own eyes or teeth can be seen: not where it is drawn out."""
    drawn_out: np.ndarray
    """(h,w) float32 in 0..1, how far the skin of lids is drawn out."""


class Field:
    """The grid over a photo with a head in it."""

    def __init__(
        self, head: Decoder, geometry: Tensor, pose: Tensor, inverse_distance: float, size: tuple[int, int]
    ) -> None:
        """Lay the grid.

        Args:
            head: the decoder.
            geometry: (V,3) metres, head frame, of the face as the photo shows it.
            pose: (6,) of the head in the photo.
            inverse_distance: of the camera, 1/metres.
            size: (H,W) of the photo.
        """
        self._pose = pose
        self._head, self._geometry, self._inverse_distance = head, geometry, inverse_distance
        vertices = project(geometry[None], pose[None], inverse_distance)
        self._photo = vertices[0, :, :2]
        least, most = self._photo.numpy().min(0), self._photo.numpy().max(0)
        self._unit = float((most - least)[1])
        last = np.array(size[::-1]) - 1
        low = np.clip(least - _MARGIN * self._unit, 0, last - 1).astype(int)
        high = np.maximum(np.clip(most + _MARGIN * self._unit, 0, last).astype(int), low + 1)
        self._lattice = Lattice(low, high, (least, most), _NODES)
        self._triangles, self._nodes = self._lattice.triangles(), self._lattice.nodes
        self._of_skin = head.of_parts(("head", *SOCKETS))
        lids, lips = (
            head.landmarks478.subset(points)(head.mean[None])[0]
            for points in (tuple(point for eye in EYE_CONTOURS for point in eye), LIPS)
        )
        self._lids = nearness(head.mean, lids)
        self._near = torch.maximum(self._lids, nearness(head.mean, lips))
        self._margin = (2 - torch.cdist(head.mean, lids).amin(1) / _LASHES).clamp(0, 1)
        self._look(pose, vertices)

    def __call__(self, geometry: Tensor, pose: Tensor) -> Moved:
        """Move the photo to the face of another geometry (V,3) under another pose (6,) in it."""
        low, high = self._lattice.low, self._lattice.high
        corner = torch.tensor([*low.tolist(), 0.0])
        columns, rows = (high - low + 1).tolist()
        nodes = torch.from_numpy(self.moved_nodes(geometry, pose)).float()
        seen = rasterize((nodes - corner)[None], self._triangles, (rows, columns))
        beside = seen.face_index[0] < 0
        places = interpolate(torch.from_numpy(self._nodes).float(), self._triangles, seen)[0]
        places = torch.where(beside[..., None], pixel_grid((rows, columns), places) + corner[:2], places)
        kept = self._kept(nodes[:, :2])[seen.face_index[0].clamp(min=0)] * ~beside
        drawn_out = torch.zeros(rows, columns)
        vertices = project(geometry[None], pose[None], self._inverse_distance) - corner
        self._draw_edges(vertices, places, drawn_out)
        part = slice(int(low[1]), int(high[1]) + 1), slice(int(low[0]), int(high[0]) + 1)
        return Moved(*part, places.numpy(), cv2.blur(kept.numpy(), (3, 3)), drawn_out.numpy())

    def moved_nodes(self, geometry: Tensor, pose: Tensor) -> np.ndarray:
        """Place the nodes (N,3): x, y and depth in pixels, larger = farther."""
        sure = self._surely_moved(pose)
        acting = project(geometry[None], pose[None], self._inverse_distance)[0]
        change = (acting - project(self._geometry[None], sure[None], self._inverse_distance)[0]).numpy()
        expression = self._spread(self._at_known(change))
        for shown, row in ((_UPPER, self._upper_teeth), (_LOWER, self._lower_teeth)):
            expression[self._inside == shown] = change[row].mean(0)
        turned = project(torch.from_numpy(self._relief)[None], sure[None].double(), self._inverse_distance)[0].numpy()
        moved = self._evened(self._with[:, None] * (turned - self._start) + expression)
        moved = self._start + self._end[:, None] * moved
        moved[:, 2] += self._deeper
        return moved

    def _surely_moved(self, pose: Tensor) -> Tensor:
        """A pose (6,) without what may be noise of size and turn: on the face points and skin make up for it, but hair
        and ears would shake."""
        change = pose - self._pose
        for part, noise in ((slice(0, 1), _ZOOM), (slice(1, 4), _TURN)):
            power = change[part].square().sum()
            change[part] *= power / (power + noise**2)
        return self._pose + change

    def _evened(self, change: np.ndarray) -> np.ndarray:
        """A movement (N,3) of the nodes without the steps that it has along the face's outline."""
        grid = cv2.GaussianBlur(change.reshape(*self._lattice.shape, 3), (0, 0), _EVENED)
        return self._sure[:, None] * change + (1 - self._sure[:, None]) * grid.reshape(-1, 3)

    def _draw_edges(self, vertices: Tensor, places: Tensor, drawn_out: Tensor) -> None:
        """Let skin around eyes and mouth come from where the mesh itself, with vertices (1,V,3) in the part, has it:
        its edges run along lids and lips, the grid's across. Changes `places` (h,w,2) and `drawn_out` (h,w)."""
        head, around = self._head, vertices[0, self._near > 0, :2]
        low = around.amin(0).floor().clamp(min=0).long()
        high = torch.minimum(around.amax(0).ceil().long() + 1, torch.tensor(places.shape[1::-1]))
        if (high <= low).any():
            return
        columns, rows = (high - low).tolist()
        seen = rasterize(vertices - torch.tensor([*low.tolist(), 0.0]), head.faces, (rows, columns))
        index = seen.face_index[0]
        skin = (index >= 0) & self._of_skin[index.clamp(min=0)]
        least, most = _DRAWN_OUT
        shown, before = (_area(at, head.faces).clamp(min=0) for at in (vertices[0, :, :2], self._photo))
        grown = shown / before.clamp(min=_SPECK)
        stretched = ((grown - least) / (most - least)).clamp(0, 1)
        plain = _PLAIN * self._lids * (1 - self._margin) * _to_corners(stretched, head.faces)
        values = torch.cat([self._photo, self._near[:, None], plain[:, None]], -1)
        x_y, near, thin = interpolate(values, head.faces, seen)[0].split((2, 1, 1), -1)
        box = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
        places[box] += near * skin[..., None] * (x_y - places[box])
        smooth = cv2.GaussianBlur((thin[..., 0] * skin).numpy(), (0, 0), _SOFT * self._unit)
        drawn_out[box] = torch.from_numpy(smooth)

    def _kept(self, nodes: Tensor) -> Tensor:
        """How far the triangles (F,) can show what the photo has of eyes and the inside of the mouth, 0..1: not where
        they are drawn out by nodes (N,2) that go apart."""
        own = torch.from_numpy(self._nodes).float()
        after, before = (
            (at[self._triangles] - at[self._triangles.roll(1, 1)]).norm(dim=-1).amax(1) for at in (nodes, own)
        )
        return ((_TORN - after / before) / (_TORN - _WHOLE)).clamp(0, 1)

    def _look(self, pose: Tensor, vertices: Tensor) -> None:
        """Find what each node shows, and how far it moves with the head of these vertices (1,V,3) in the photo."""
        covered, part, depth = self._read_mesh(pose, vertices)
        self._start = np.concatenate([self._nodes, depth], 1)
        self._relief = unproject(self._start, pose, self._inverse_distance)
        self._with = self._moving(covered, pose)
        edge = np.minimum(self._nodes - self._lattice.low, self._lattice.high - self._nodes).min(1)
        self._end = _eased(np.minimum(edge / (_BORDER * self._unit), 1))
        self._inside = self._behind(part, pose)
        self._upper_teeth, self._lower_teeth = (row_of(self._head, name) for name in TEETH)
        # neck and background lie behind the face, whose chin and cheeks pass before them
        self._deeper = self._away + (1 - self._with + self._inside * _BEHIND) * self._unit

    def _read_mesh(self, pose: Tensor, vertices: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find where the nodes lie on the mesh, and how surely they do.

        Returns:
            Which pixels (h,w) of the part the mesh covers; the name (N,) of the part that each node shows, "" beside
            the mesh; the depth (N,1) of the surface there, spread evenly beside what is seen from the front.
        """
        from scipy.spatial import cKDTree

        head, lattice = self._head, self._lattice
        columns, rows = (lattice.high - lattice.low + 1).tolist()
        whole = rasterize(vertices - torch.tensor([*lattice.low.tolist(), 0.0]), head.faces, (rows, columns))
        covered = (whole.face_index[0] >= 0).numpy()
        seen = Fragments(*(torch.from_numpy(lattice.at_nodes(part[0].numpy()))[None, None] for part in whole))
        index = seen.face_index[0, 0]
        part = np.where(index >= 0, np.array(head.part_names)[head.face_parts[index.clamp(min=0)]], "")
        normals = vertex_normals(self._geometry[None], head.faces)[0] @ rotation(pose[1:4]).T
        facing = -interpolate(normals[None, :, 2:], head.faces, seen)[0, 0, :, 0].numpy()
        inner, face = (self._within(points, vertices, (rows, columns)) for points in (_FEATURES, FACE_OVAL))
        known = (part == "head") & (inner | (face & (facing > _FACING)))
        self._corners, self._weights = head.faces[index[known]].numpy(), seen.barycentric[0, 0, known].numpy()
        down = _eased((self._below(pose) / _NECK + 0.5).clip(0, 1))
        self._spread = Harmonic(lattice, known, (_REACH[0] + (_REACH[1] - _REACH[0]) * down) * self._unit)
        even = known & (facing > _EVEN)
        sure = (inner | (facing > _EVEN)).astype(np.float32).reshape(lattice.shape)
        self._sure = cv2.GaussianBlur(cv2.erode(sure, np.ones((5, 5))), (0, 0), _EVENED).ravel()
        self._away, _ = cKDTree(self._nodes[known]).query(self._nodes)  # pixels from the nearest of these
        return covered, part, Harmonic(lattice, even)(seen.depth[0, 0, even].numpy()[:, None])

    def _within(self, points: tuple[int, ...], vertices: Tensor, size: tuple[int, int]) -> np.ndarray:
        """Which nodes (N,) lie in the convex hull of points of the head in a part of that size (h,w)."""
        places = self._head.landmarks478.subset(points)(vertices)[0, :, :2].numpy() - self._lattice.low
        hull = cv2.convexHull(places.round().astype(np.int32))
        return self._lattice.at_nodes(cv2.fillConvexPoly(np.zeros(size, np.uint8), hull, 1)) > 0

    def _moving(self, covered: np.ndarray, pose: Tensor) -> np.ndarray:
        """How far the nodes (N,) turn with the head, 0..1, whose mesh covers those pixels (h,w) of the part."""
        lattice = self._lattice
        away = cv2.distanceTransform((~covered).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / self._unit
        distance, covered = lattice.at_nodes(away), lattice.at_nodes(covered)
        below = self._below(pose)
        turns = covered | ((distance < _HAIR) & (below < _NECK / 2))
        at_edge = (self._nodes == lattice.low).any(1) | (self._nodes == lattice.high).any(1)
        known = turns | (below > _NECK) | at_edge
        return _eased(Harmonic(lattice, known)(turns[known].astype(float)[:, None]))[:, 0]

    def _below(self, pose: Tensor) -> np.ndarray:
        """How far the nodes (N,) lie below the middle of the head, in its heights."""
        down = rotation(pose[1:4])[:2, 1].numpy()
        middle = (self._photo.amin(0) + self._photo.amax(0)).numpy() / 2
        return (self._nodes - middle) @ (down / np.linalg.norm(down)) / self._unit

    def _behind(self, part: np.ndarray, pose: Tensor) -> np.ndarray:
        """What nodes (N,) show, `_SKIN` and so on, that see these parts of the mesh."""
        edge = self._geometry[front_teeth(self._head, TEETH[0])[0]].mean(0)
        place = project(edge[None, None], pose[None], self._inverse_distance)[0, 0, :2].numpy()
        below = (self._nodes - place) @ rotation(pose[1:4])[:2, 1].numpy() > _OWN * float(pose[0].exp())
        mouth = np.isin(part, OF_MOUTH)
        return np.where(mouth & below, _LOWER, np.where(mouth | np.isin(part, (*EYES, *SOCKETS)), _UPPER, _SKIN))

    def _at_known(self, values: np.ndarray) -> np.ndarray:
        """Values (V,C) of the mesh's vertices at the known nodes, (K,C)."""
        return np.einsum("kc,kcd->kd", self._weights, values[self._corners])


def unproject(places: np.ndarray, pose: Tensor, inverse_distance: float) -> np.ndarray:
    """Find the points (N,3) of the head frame that `project` takes to places (N,3) under a pose (6,)."""
    pose = pose.double()
    turned = (places - np.array([*pose[4:6].tolist(), 0.0])) / float(pose[0].exp())
    turned[:, :2] *= 1 + inverse_distance * turned[:, 2:]
    return turned @ rotation(pose[1:4]).numpy()


def resampled(photo: np.ndarray, moved: Moved) -> np.ndarray:
    """Draw a photo (H,W,3) uint8 moved, on a copy; pixels that stay are as they were."""
    out = photo.copy()
    out[moved.rows, moved.columns] = sampled(photo, moved.places)
    return out


def sampled(photo: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Take the colours (h,w,3) of a photo (H,W,3) uint8 at places (h,w,2); beyond its border, those of the border."""
    x, y = (np.ascontiguousarray(places[..., axis]) for axis in (0, 1))
    return cv2.remap(photo, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _area(points: Tensor, faces: Tensor) -> Tensor:
    """Twice the areas (F,) of triangles of points (V,2): positive where they face the viewer."""
    a, b, c = points[faces].unbind(1)
    return (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1]) - (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1])


def _to_corners(values: Tensor, faces: Tensor) -> Tensor:
    """Values (F,) of triangles as the mean (V,) of those around each vertex."""
    count = int(faces.max()) + 1
    index, repeated = faces.flatten(), values.repeat_interleave(3)
    total = torch.zeros(count).index_add(0, index, repeated)
    return total / torch.zeros(count).index_add(0, index, torch.ones_like(repeated)).clamp(min=1)


def _eased(share: np.ndarray) -> np.ndarray:
    """0..1 likewise, with no slope at both ends."""
    return share**2 * (3 - 2 * share)
