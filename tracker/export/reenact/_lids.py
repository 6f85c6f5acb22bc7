"""Shut lids: of a photo with open eyes they are a strip of lashes and shadow, drawn out over the whole eye."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.base import Decoder
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize
from selftrack.tracker.export.reenact._field import sampled
from selftrack.tracker.geometry.pose import project

_CLOSING = (0.5, 0.85)  # share of the photo's opening that is gone, between which lids turn plain
_OPEN = (0.003, 0.005)  # metres that the photo's eye is open, up to which its own lids are shut, and from where on not
_THERE = (0.006, 0.01)  # metres from the lids' edges on the mesh, between which what is seen is no more of the eye
_FOLLOWS = (0.05, 0.35)  # share of its edge's way that the skin of a lid goes, between which it does
_AROUND = (0.001, 0.003)  # metres from the edge, up to which all does, and from where on the lower lid is as it was
_LINE, _DARK = 0.0008, 0.55  # metres of the line of lashes, and how far it has their colour
_SHADOW, _DIM = 0.003, 0.15  # likewise of the shadow around it
_ENDS = 0.2  # of the line's length, in which it gets faint towards the corners of the eye
_BROW = (0.002, 0.007)  # metres from the brow, up to which nothing is of the lid, and from where on all can be
_BESIDE, _ABOVE = 0.008, 0.002  # metres beside the eye, within which a lid ends, and above its corners, where it begins
_CHEEK, _FINE = 2.0, 0.06  # of the way from lid to brow, that is as far below where skin has its grain; its size
_REACH = 0.02  # metres around an eye, in which its lids lie
_UPPER = 9  # points of a lid's edge in a contour, from the outer corner to the inner one
_LASHES = 0.15  # share of the pixels at it that are lashes


class Lid:
    """Draws the lids of an eye where it is shut: plain skin, and the line of lashes along the edge."""

    def __init__(
        self,
        head: Decoder,
        contour: tuple[int, ...],
        brow: tuple[int, ...],
        photo: tuple[np.ndarray, np.ndarray],
        geometry: Tensor,
        vertices: Tensor,
    ) -> None:
        """Look at the eye in the photo.

        Args:
            head: the decoder.
            contour: the eye's points, of `EYE_CONTOURS`.
            brow: those of the brow above it, of `BROWS`.
            photo: it, and it with plain skin, see `plain_skin`: (H,W,3) uint8 RGB.
            geometry: (V,3) metres, head frame, of its face.
            vertices: (V,3) of that in the photo.
        """
        points = head.landmarks478
        self._head, self._contour = head, points.subset(contour)
        self._brow, self._middle = points.subset(brow), points.subset(contour[3:6])
        (image, self._plain), self._geometry, self._places = photo, geometry, vertices[:, :2]
        self._open = _opening(self._contour(geometry[None])[0])
        away = torch.cdist(head.mean, self._contour(head.mean[None])[0]).amin(1)
        self._near, self._there = away < _REACH, ((_THERE[1] - away) / (_THERE[1] - _THERE[0])).clamp(0, 1)
        self._lid = self._upper_lid()
        above, middle = (of(vertices[None])[0, :, :2].mean(0).numpy() for of in (self._brow, self._middle))
        self._cheek, fine = middle + _CHEEK * (middle - above), _FINE * float(np.linalg.norm(middle - above))
        self._grain = cv2.addWeighted(image, 1, cv2.GaussianBlur(image, (0, 0), fine), -1, 128)
        self._lashes = _darkest(image, self._contour(vertices[None])[0, :_UPPER, :2].numpy())

    def __call__(self, picture: np.ndarray, geometry: Tensor, pose: Tensor, inverse_distance: float) -> None:
        """Draw them over a picture (H,W,3) uint8 with the face (V,3) under a pose (6,), in place."""
        shut = self._shut(geometry)
        vertices = project(geometry[None], pose[None], inverse_distance)
        around = vertices[0, self._near, :2]
        left, top = around.amin(0).floor().clamp(min=0).long().tolist()
        right, bottom = (around.amax(0).ceil().long() + 1).tolist()
        part = picture[top : max(bottom, 0), left : max(right, 0)]
        if shut == 0 or not part.size:
            return
        vertices = vertices - torch.tensor([left, top, 0.0])
        edge, size = self._contour(vertices)[0, :_UPPER, :2].numpy(), part.shape[:2]
        places, plain, seen = self._skin(geometry, vertices, size)
        distance, along = _from_line(edge, size, float(pose[0].exp()))
        inwards = seen * (np.minimum(along, 1 - along) / _ENDS).clip(0, 1)
        near = ((_AROUND[1] - distance) / (_AROUND[1] - _AROUND[0])).clip(0, 1)
        share = shut * np.maximum(plain, near * inwards)[..., None]
        grain = sampled(self._grain, _grid(size) - edge[_UPPER // 2] + self._cheek) - 128.0
        skin = part * (1 - share) + (sampled(self._plain, places) + grain) * share
        line = _DARK * np.exp(-((distance / _LINE) ** 2)) + _DIM * np.exp(-((distance / _SHADOW) ** 2))
        line = (shut * line * inwards)[..., None]
        part[:] = np.rint(skin * (1 - line) + self._lashes * line).clip(0, 255).astype(np.uint8)

    def _shut(self, geometry: Tensor) -> float:
        """How far the lids of a face (V,3) are to be drawn, 0..1: as far as they are shut and the photo's are open."""
        opening = _opening(self._contour(geometry[None])[0])
        return _eased(self._open, _OPEN) * _eased(1 - opening / max(self._open, _OPEN[0]), _CLOSING)

    def _upper_lid(self) -> Tensor:
        """How far vertices (V,) can be of the upper lid, 0..1: above the corners, between them and below the brow."""
        mean = self._head.mean
        contour, brow = (points(mean[None])[0] for points in (self._contour, self._brow))
        outer, inner = contour[0], contour[_UPPER - 1]
        across = (mean[:, 0] - outer[0]) / (inner[0] - outer[0])
        above = outer[1] + across.clamp(0, 1) * (inner[1] - outer[1]) - mean[:, 1]
        beside = (across - across.clamp(0, 1)).abs() * (inner[0] - outer[0]).abs()
        away = (torch.cdist(mean, brow).amin(1) - _BROW[0]) / (_BROW[1] - _BROW[0])
        return away.clamp(0, 1) * (1 - beside / _BESIDE).clamp(0, 1) * (above / _ABOVE).clamp(0, 1)

    def _skin(
        self, geometry: Tensor, vertices: Tensor, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find where in the photo the skin of a part of the picture (h,w) is.

        Returns:
            The places (h,w,2); how far it is the upper lid's, (h,w) in 0..1: what goes down as its edge does, beside
            the brow; and how far it is the eye's at all: of a turned head, the nose can be before it, or nothing.
        """
        down = (geometry - self._geometry)[:, 1:2]
        brow, way = (points(down[None])[0, :, 0].mean() for points in (self._brow, self._middle))
        follows = (down[:, 0] - brow) / (way - brow).clamp(min=1e-4)
        follows = ((follows - _FOLLOWS[0]) / (_FOLLOWS[1] - _FOLLOWS[0])).clamp(0, 1) * self._lid
        seen = rasterize(vertices, self._head.faces, size)
        values = torch.cat([self._places, follows[:, None], self._there[:, None]], 1)
        places, shares = interpolate(values, self._head.faces, seen)[0].split((2, 2), -1)
        lid, there = (shares * (seen.face_index[0] >= 0)[..., None]).unbind(-1)
        return places.numpy(), lid.numpy(), there.numpy()


def _darkest(image: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """The colour (3,) of lashes along the edge (N,2) of a lid in a picture (H,W,3)."""
    steps = np.linspace(0, 1, 10)[:, None]
    line = np.concatenate([a + steps * (b - a) for a, b in zip(edge[:-1], edge[1:], strict=True)])
    colours = sampled(image, line[None].astype(np.float32))[0].astype(float)
    light = colours.mean(1)
    return colours[light <= np.quantile(light, _LASHES)].mean(0)


def _opening(contour: Tensor) -> float:
    """How far an eye is open at its middle, by its contour (16,3), metres; not less than shut, where lids overlap."""
    return max(float(contour[11:14, 1].mean() - contour[3:6, 1].mean()), 0)


def _eased(value: float, limits: tuple[float, float]) -> float:
    """How far a value is from the first of the limits to the second, 0..1, with no slope at both."""
    share = min(max((value - limits[0]) / (limits[1] - limits[0]), 0), 1)
    return share**2 * (3 - 2 * share)


def _grid(size: tuple[int, int]) -> np.ndarray:
    """The places (h,w,2) of the pixels of a picture (h,w), x and y."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([columns, rows], -1).astype(np.float32)


def _from_line(line: np.ndarray, size: tuple[int, int], unit: float) -> tuple[np.ndarray, np.ndarray]:
    """How far the pixels of a picture (h,w) are from a line of points (N,2), in metres of `unit` pixels, and how far
    along it they are, 0..1."""
    pixels, start, way = _grid(size)[..., None, :], line[:-1], np.diff(line, axis=0)
    share = (((pixels - start) * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-9)).clip(0, 1)
    distance = np.linalg.norm(pixels - start - share[..., None] * way, axis=-1)
    nearest = distance.argmin(-1)[..., None]
    along = (np.take_along_axis(share, nearest, 2)[..., 0] + nearest[..., 0]) / len(way)
    return np.take_along_axis(distance, nearest, 2)[..., 0] / unit, along
