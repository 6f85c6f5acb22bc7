"""How far lips are apart: of a mesh, and of a photo, onto whose lips the mesh's are laid."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import INNER_LIP_CONTOUR, INNER_LIPS, LIPS
from selftrack.decoders.mesh.rasterizer import rasterize
from selftrack.decoders.teeth import OF_MOUTH, TEETH, front_teeth
from selftrack.tracker.geometry.pose import project, rotation
from selftrack.tracker.results.texture import mouth_opening

PARTING = ("mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight")
"""Curves that draw the lips apart while the teeth stay."""
_JAW = "jawOpen"
_MIDDLE, _HEIGHT = 0.0015, 0.016  # metres beside, above and below the middle of the lips, where these are
_EDGE, _THICK = 0.004, 0.006  # metres from there to the front of lips, and from that to behind their edges
_LOWER = 0.02  # metres that the lower lip goes down with the jaw, at least: the jaw's point goes 36
_CORNER = INNER_LIP_CONTOUR.index(308)  # of the inner contour, that of the mouth on the left
_COLUMNS = 200  # in which the edges of an opening are looked for
_ROUNDS = 3  # in which the lips are laid onto the photo's
_ALONG, _AROUND = 0.0015, 0.008  # metres over which an error of the lips is averaged, and in which it falls to 1/e
_BEHIND = 0.015  # metres behind the lips where it ends
_SAME, _SHARE = 0.001, 0.25  # metres, and share of the opening, by which that of another mouth differs
_HALF, _SUDDEN = 0.85, 12  # change by which about half is kept, and how suddenly: both at once are two rows of teeth
_SLIT = 0.001  # metres beyond shut lips, from which on a mesh's opening is one


class Lips:
    """Measures lips of a head with ARKit's curves."""

    def __init__(self, head: Decoder) -> None:
        self._head, self._contour = head, head.landmarks478.subset(INNER_LIP_CONTOUR)
        self._middle = head.landmarks478.subset(INNER_LIPS)(head.mean[None])[0].mean(0)
        self._teeth = [front_teeth(head, row)[0] for row in TEETH]
        away = head.mean - self._middle
        skin = _vertices(head, ("head",)) & (away[:, 0].abs() < _MIDDLE) & (away[:, 1].abs() < _HEIGHT)
        front = head.mean[skin & (away[:, 1].abs() < _EDGE), 2].amin() + _THICK
        lips = skin & (head.mean[:, 2] < front)
        down = head.shapes[head.expression][head.expression_names.index(_JAW)][:, 1]
        self._of_lower = (down / _LOWER).clamp(0, 1)
        self._upper, self._lower = (lips & way for way in (down < _LOWER / 2, down > _LOWER))
        self.shut = float(self.apart(head.mean[None]))
        """How far the mean head's lips are apart, which are shut, metres."""

    def apart(self, geometry: Tensor) -> Tensor:
        """Measure how far the lips of heads (B,V,3) in the head frame are apart at the middle, metres (B,): negative
        where they overlap, as shut ones do a little."""
        return geometry[:, self._lower, 1].amin(1) - geometry[:, self._upper, 1].amax(1)

    def alike(self, geometry: Tensor, other: Tensor) -> float:
        """How far the openings of two mouths (V,3) are of one shape and size, and their teeth as far apart, 0..1."""
        one, two = (self._spans(face) for face in (geometry, other))
        size = torch.cat([two[:1].norm(dim=1), two[1:].norm(dim=1).amax().expand(len(two) - 1)])
        change = (one - two).norm(dim=1) / (_SHARE * size).clamp(min=_SAME)
        return float((-((change.amax() / _HALF) ** _SUDDEN)).exp())

    def _spans(self, geometry: Tensor) -> Tensor:
        """The ways (N,3) across an opening: from corner to corner first, then from the lower to the upper lip, and to
        the upper teeth from the lower ones."""
        points = self._contour(geometry[None])[0]
        lower, upper = points[1:_CORNER], points[_CORNER + 1 :].flip(0)
        above, below = (geometry[front].mean(0, keepdim=True) for front in self._teeth)
        return torch.cat([points[_CORNER : _CORNER + 1] - points[:1], upper - lower, above - below])

    def error(
        self, geometry: Tensor, pose: Tensor, inverse_distance: float, points: np.ndarray, size: tuple[int, int]
    ) -> Tensor:
        """Find by how much an open mouth of a photo is drawn beside its lips.

        Args:
            geometry: (V,3) metres, head frame.
            pose: (6,) of the head in the photo.
            inverse_distance: of the camera, 1/metres.
            points: (L,2) of a detector in the photo.
            size: (H,W) of the photo.

        Returns:
            (V,3) metres, head frame: on top of the geometry, the edges of its lips lie where the detector's points
            have them. 0 where the photo's lips or the mesh's are shut, and away from them.
        """
        off = torch.zeros_like(geometry)
        if not mouth_opening(size, points).any() or self.apart(geometry[None]) < self.shut + _SLIT:
            return off
        contour, unit = torch.from_numpy(points[list(INNER_LIP_CONTOUR)]).float(), float(pose[0].exp())
        along = functional.normalize(contour[_CORNER] - contour[0], dim=0)
        axes = torch.stack([along, torch.stack([-along[1], along[0]])])
        seen = (contour - contour[0]) @ axes.T / unit
        halves = torch.cat([seen[:1], seen[_CORNER:].flip(0)]), seen[: _CORNER + 1]
        for _ in range(_ROUNDS):
            vertices = project((geometry + off)[None], pose[None], inverse_distance)[0]
            flat = torch.cat([(vertices[:, :2] - contour[0]) @ axes.T, vertices[:, 2:]], 1) / unit
            edges = self._edges(flat)
            if edges is None:
                break
            upper, lower = (_spread(edge, _onto(edge, half), flat) for edge, half in zip(edges, halves, strict=True))
            shift = (upper + self._of_lower[:, None] * (lower - upper)) * self._reach(flat, torch.cat(edges))
            off = off + functional.pad(shift @ axes, (0, 1)) @ rotation(pose[1:4])
        return off

    def _edges(self, flat: Tensor) -> tuple[Tensor, Tensor] | None:
        """The upper and the lower edge (N,2) of the opening of a mouth of vertices (V,3) that lies straight, from its
        right to its left corner; None where it shows no inside."""
        outline = self._head.landmarks478.subset(LIPS)(flat[None])[0, :, :2]
        low, high = outline.amin(0), outline.amax(0)
        scale = _COLUMNS / float(high[0] - low[0])
        rows = int(float(high[1] - low[1]) * scale) + 1
        seen = rasterize(
            (scale * (flat - torch.cat([low, low.new_zeros(1)])))[None], self._head.faces, (rows, _COLUMNS)
        )
        index = seen.face_index[0]
        opening = ((index >= 0) & self._head.of_parts(OF_MOUTH)[index.clamp(min=0)]).float()
        columns = opening.any(0).nonzero()[:, 0]
        if len(columns) < 2:
            return None
        first, last = opening.argmax(0), rows - 1 - opening.flip(0).argmax(0)
        upper, lower = (
            torch.stack([columns, row[columns] + off], 1) / scale + low for row, off in ((first, -0.5), (last, 0.5))
        )
        return upper, lower

    def _reach(self, flat: Tensor, edges: Tensor) -> Tensor:
        """How far (V,1) vertices (V,3) move with the edges (N,2) of an opening: lips, and what begins behind them."""
        moves = _vertices(self._head, ("head", "mouth"))
        behind = ((self._head.mean[:, 2] - self._middle[2]) / _BEHIND).clamp(0, 1)
        away = torch.cdist(flat[:, :2], edges).amin(1)
        return (moves * (1 - behind) * (-(away / _AROUND).square()).exp())[:, None]


def _onto(edge: Tensor, half: Tensor) -> Tensor:
    """The ways (N,2) from points (N,2) of an edge, from corner to corner, to those as far along another one (M,2)."""
    share = (edge[:, 0] - edge[0, 0]) / (edge[-1, 0] - edge[0, 0])
    along = (half[:, 0] - half[0, 0]) / (half[-1, 0] - half[0, 0])
    order = along.argsort()
    at = [np.interp(share, along[order], half[order, axis]) for axis in (0, 1)]
    return torch.from_numpy(np.stack(at, 1)).float() - edge


def _spread(edge: Tensor, ways: Tensor, flat: Tensor) -> Tensor:
    """The mean (V,2) of ways (N,2) of the points (N,2) of an edge around each vertex (V,3)."""
    weight = (-(torch.cdist(flat[:, :2], edge) / _ALONG).square()).softmax(1)  # Gaussians of however far points
    return weight @ ways


def _vertices(head: Decoder, parts: tuple[str, ...]) -> Tensor:
    """Which vertices (V,) bool are of faces of these parts."""
    chosen = torch.zeros(len(head.mean), dtype=torch.bool)
    chosen[head.faces[head.of_parts(parts)]] = True
    return chosen
