"""Errors against ground truth, where a clip has it: sums that merge by `+`; frames not ok count nowhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from selftrack.decoders.base import Decoder
from selftrack.decoders.landmarks import LEFT_IRIS, RIGHT_IRIS
from selftrack.eval.metrics.procrustes import rigidly_aligned
from selftrack.eval.metrics.registry import Ratio, metric, once
from selftrack.eval.metrics.skin import skin_ratio
from selftrack.eval.metrics.subject import TrackedClip
from selftrack.synthetic.people import face_vertices
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.geometry.pose import rotation
from selftrack.tracker.results.skin_points import SkinPointConfig, frame_step, skin_error

IRISES = {"eye_left": LEFT_IRIS, "eye_right": RIGHT_IRIS}


def vertex_error(vertices: np.ndarray, truth: np.ndarray, ok: np.ndarray, aligned: bool = False) -> Ratio:
    """Average the distance of vertices from the true ones, millimetres.

    Args:
        vertices, truth: (T,V,3) metres, in one frame of axes.
        ok: (T,) bool.
        aligned: rotate and move every frame onto the truth first, never scale it: the error of the shape alone.
    """
    assert vertices.ndim == 3 and vertices.shape == truth.shape, f"got {vertices.shape} and {truth.shape}"
    vertices, truth = vertices[ok].astype(np.float64), truth[ok].astype(np.float64)
    if aligned:
        vertices = rigidly_aligned(vertices, truth)
    return _mean(1000 * np.linalg.norm(vertices - truth, axis=-1))


def pose_error(rotations: np.ndarray, truth: np.ndarray, ok: np.ndarray) -> Ratio:
    """Average the geodesic angle between rotations (T,3,3) and the true ones (T,3,3), degrees."""
    assert rotations.shape == truth.shape and rotations.shape[1:] == (3, 3), f"got {rotations.shape}, {truth.shape}"
    chord = np.linalg.norm(rotations[ok] - truth[ok], axis=(1, 2)) / np.sqrt(8)  # sin of half the angle
    return _mean(np.degrees(2 * np.arcsin(np.clip(chord, 0, 1))))


def gaze_error(directions: np.ndarray, truth: np.ndarray, ok: np.ndarray) -> Ratio:
    """Average the angle between directions (T,...,3) of any length and the true ones, degrees."""
    assert directions.shape == truth.shape and directions.shape[-1] == 3, f"got {directions.shape}, {truth.shape}"
    a, b = _unit(directions[ok]), _unit(truth[ok])
    return _mean(np.degrees(2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))))


def curve_error(curves: np.ndarray, truth: np.ndarray, ok: np.ndarray) -> Ratio:
    """Average the absolute error of curves (T,C), in their own unit (0..1)."""
    assert curves.shape == truth.shape, f"got {curves.shape} and {truth.shape}"
    return _mean(np.abs(curves[ok].astype(np.float64) - truth[ok]))


def slide_error(points: np.ndarray, truth: np.ndarray, iod: np.ndarray, ok: np.ndarray, length: int) -> Ratio:
    """Average by how much the way of points since the first of `length` frames differs from the true way, % IOD.

    Args:
        points, truth: (T,V,2) pixels.
        iod: (T,) pixels.
        ok: (T,) bool; a stretch counts where all of it is.
        length: frames of a stretch.
    """
    assert points.shape == truth.shape and points.shape[2:] == (2,), f"got {points.shape} and {truth.shape}"
    total = Ratio()
    for start in range(0, len(points) - length + 1, length):
        rows = slice(start, start + length)
        if ok[rows].all():
            off = (points[rows] - points[start]) - (truth[rows] - truth[start])
            total += _mean(100 * np.linalg.norm(off[1:], axis=-1) / iod[start])
    return total


def scaled(vertices: np.ndarray, truth: np.ndarray, ok: np.ndarray) -> np.ndarray:
    """Scale vertices (T,V,3) by the one factor that makes them as large as the truth over the frames `ok` (T,)."""

    def size(points: np.ndarray) -> float:
        centred = points[ok] - points[ok].mean(1, keepdims=True)
        return float(np.sqrt((centred.astype(float) ** 2).sum()))

    return vertices * (size(truth) / size(vertices))


def gaze(head: Decoder, vertices: np.ndarray) -> np.ndarray:
    """Find the directions (T,2,3) from the middle of each eyeball to its iris; vertices (T,V,3) in the head frame."""
    points = head.landmarks478(torch.from_numpy(vertices)).numpy()
    directions = []
    for name, iris in IRISES.items():
        ball = head.faces[head.face_parts == head.part_names.index(name)].unique().numpy()
        directions.append(points[:, iris] - vertices[:, ball].mean(1))
    return np.stack(directions, 1)


class Shapes(NamedTuple):
    """What a track has and what is true, of a clip that has its truth."""

    face: np.ndarray
    """(V,) bool, the face's vertices."""
    tracked: np.ndarray
    """(T,V,3) metres, head frame."""
    true: np.ndarray
    """(T,V,3) metres, head frame."""


@once
def shapes(clip: TrackedClip) -> Shapes:
    """Decode the track's shapes."""
    assert clip.track is not None and clip.truth is not None
    head = clip.track.model()
    with torch.no_grad():
        tracked = np.concatenate([head.geometry(z).numpy() for z in torch.from_numpy(clip.track.z).split(64)])
    return Shapes(face_vertices(head), tracked, clip.truth.vertices)


@metric(
    "truth.vertices",
    "Vertex error",
    "mm",
    "Distance on the face after every frame's rigid motion, and one scale for the clip, are removed.",
    needs=("track", "truth"),
)
def vertices(clip: TrackedClip) -> Ratio:
    """Measure shapes; a lone camera cannot tell how large a head is, so one scale for the clip is removed."""
    face, tracked, true = shapes(clip)
    tracked, true = tracked[:, face], true[:, face]
    if not clip.mesh.ok.any():
        return Ratio()
    return vertex_error(scaled(tracked, true, clip.mesh.ok), true, clip.mesh.ok, aligned=True)


@metric(
    "truth.image",
    "Vertex error in the image",
    "% IOD",
    "Distance of the face's vertices from the true ones in the image.",
    needs=("track", "truth"),
)
def image(clip: TrackedClip) -> np.ndarray:
    """Measure projections, frame by frame."""
    assert clip.track is not None and clip.truth is not None
    true, face = clip.truth.in_image(), shapes(clip).face
    iod = inter_ocular(clip.track.model().landmarks478(torch.from_numpy(true))[..., :2].numpy())
    apart = np.linalg.norm(clip.track.vertices()[:, face, :2] - true[:, face, :2], axis=-1).mean(1)
    return np.where(clip.mesh.ok, 100 * apart / iod, np.nan)


@metric(
    "truth.slide",
    "Slide over the true skin",
    "% IOD",
    "The way of the face's vertices in the image within 0.4 s against the true one: the skin-point error without the "
    "points' own.",
    headline=False,
    needs=("track", "truth"),
)
def slide(clip: TrackedClip) -> Ratio:
    """Measure ways."""
    assert clip.track is not None and clip.truth is not None
    track, face, true = clip.track, shapes(clip).face, clip.truth.in_image()
    iod = inter_ocular(track.model().landmarks478(torch.from_numpy(true))[..., :2].numpy())
    length = SkinPointConfig().length(frame_step(track.times))
    return slide_error(track.vertices()[:, face, :2], true[:, face, :2], iod, clip.mesh.ok, length)


@metric(
    "truth.pose",
    "Pose error",
    "degrees",
    "Angle between the head's rotation and the true one against the ray through it, which is what the image shows.",
    needs=("track", "truth"),
)
def pose(clip: TrackedClip) -> Ratio:
    """Measure rotations."""
    assert clip.track is not None and clip.truth is not None
    angles = clip.track.H_image[:, 1:4], clip.truth.apparent_angles()
    tracked, true = (rotation(torch.from_numpy(a)).numpy().astype(float) for a in angles)
    return pose_error(tracked, true, clip.mesh.ok)


@metric(
    "truth.curves",
    "Curve error",
    "0..1",
    "Absolute error of ARKit's 52 curves, mean over curves and frames.",
    needs=("track", "truth"),
)
def curves(clip: TrackedClip) -> Ratio:
    """Measure curves."""
    assert clip.track is not None and clip.truth is not None
    return curve_error(clip.track.curve_values, clip.truth.curves, clip.mesh.ok)


@metric(
    "truth.gaze",
    "Gaze error",
    "degrees",
    "Angle between the directions of the eyes, against the head, and the true ones, mean of both eyes.",
    needs=("track", "truth"),
)
def eyes(clip: TrackedClip) -> Ratio:
    """Measure directions."""
    assert clip.track is not None
    head, (_, tracked, true) = clip.track.model(), shapes(clip)
    return gaze_error(gaze(head, tracked), gaze(head, true), clip.mesh.ok)


@metric(
    "truth.skin",
    "Skin-point error of the truth",
    "% IOD",
    "Skin-point error of the true vertices, the least that a tracker can have: flow follows shading a little.",
    better="neither",
    needs=("track", "truth"),
)
def skin(clip: TrackedClip) -> Ratio:
    """Measure the true vertices by the skin points."""
    assert clip.track is not None and clip.truth is not None
    faces = clip.track.model().faces
    return skin_ratio(skin_error(clip.windows, clip.truth.in_image, faces, clip.size, clip.mesh.ok))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _mean(values: np.ndarray) -> Ratio:
    return Ratio(float(values.sum()), values.size)
