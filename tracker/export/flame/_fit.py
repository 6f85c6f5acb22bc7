"""FLAME's parameters of a take from the 68 points of its face in space.

Least squares, in units of what is to be expected: landmarks to 1 mm, coefficients as FLAME's own standard deviations,
the jaw as far as jaws turn. The shape is one for the take, fitted together with some of its frames; then each frame is
fitted alone. The neck stays straight: points of the face do not part it from the head's own rotation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.func import jacfwd, vmap

from selftrack.tracker.export.flame._model import EXPRESSION, SHAPE, FlameLandmarks

_INSIDE = 51  # of 68 points the last; the others are the face's outline, which slides with the head's turn
_METRES = 0.001
_OUTLINE = 0.25  # weight beside that of the others
_JAW = torch.tensor([0.3, 0.05, 0.05], dtype=torch.float64)  # radians: opening, sideways, tilt
_JAW_BOUNDS = torch.tensor([[-0.05, -0.2, -0.2], [0.8, 0.2, 0.2]], dtype=torch.float64)
_MOST = 3.0  # standard deviations of a coefficient
_SHAPE_FRAMES = 12
_STEPS = 12
_CHUNK = 32  # frames at a time
_TURN, _JAW_AT, _MOVE = (slice(EXPRESSION + 3 * i, EXPRESSION + 3 * (i + 1)) for i in range(3))  # after the expression
_SIZE = EXPRESSION + 9
_TURNS = slice(EXPRESSION, EXPRESSION + 6)  # of head and jaw
_CLOSE = 1e-4  # a step at which a fit ends


@dataclass(frozen=True)
class FlameTake:
    """FLAME's parameters of T frames; rotations are axis times angle, radians."""

    shape: np.ndarray  # (300,)
    expression: np.ndarray  # (T,100)
    rotation: np.ndarray  # (T,3) of the head
    jaw: np.ndarray  # (T,3)
    eyes: np.ndarray  # (T,6), left and right
    translation: np.ndarray  # (T,3) metres
    error: np.ndarray  # (T,) metres, root mean square distance of the inner landmarks


def fit(flame: FlameLandmarks, points: np.ndarray, eyes: np.ndarray) -> FlameTake:
    """Fit FLAME to points of the face.

    Args:
        points: (T,68,3) metres, y up, those of 300-W.
        eyes: (T,6) rotations of left and right eye within the head.
    """
    targets = torch.from_numpy(points[:, -len(flame.barycentric) :].astype(np.float64))
    gaze = torch.from_numpy(eyes.astype(np.float64))
    frames = _start(flame, targets)
    some = torch.linspace(0, len(targets) - 1, min(_SHAPE_FRAMES, len(targets))).round().long()
    shape = _fit_shape(flame, frames[some], gaze[some], targets[some])
    parts = zip(frames.split(_CHUNK), gaze.split(_CHUNK), targets.split(_CHUNK), strict=True)
    fitted = torch.cat([_fit_frames(flame, shape, *part) for part in parts])
    landmarks = vmap(lambda frame, look: _landmarks(flame, shape, frame, look))(fitted, gaze)
    inner = (landmarks - targets)[:, -_INSIDE:]
    error = inner.square().sum(-1).mean(-1).sqrt()
    columns = (fitted[:, :EXPRESSION], fitted[:, _TURN], fitted[:, _JAW_AT], gaze, fitted[:, _MOVE], error)
    return FlameTake(shape.numpy(), *(column.numpy() for column in columns))


def _landmarks(flame: FlameLandmarks, shape: Tensor, frame: Tensor, look: Tensor) -> Tensor:
    """Place the landmarks (L,3) of one frame (109,)."""
    return flame(torch.cat([shape, frame[:EXPRESSION]]), _rotations(frame[_TURNS], look), frame[_MOVE])


def _rotations(turns: Tensor, look: Tensor) -> Tensor:
    """Those of all joints (5,3), of head and jaw (6,) and eyes (6,); the neck stays straight."""
    return torch.cat([turns[:3], torch.zeros_like(turns[:3]), turns[3:], look]).unflatten(0, (-1, 3))


def _start(flame: FlameLandmarks, targets: Tensor) -> Tensor:
    """Frames (T,109) at rest, each laid over its points as a rigid body; it turns about the root joint."""
    still = flame(*(torch.zeros(size, dtype=torch.float64) for size in ((SHAPE + EXPRESSION,), (5, 3), (3,)))).numpy()
    frames = torch.zeros(len(targets), _SIZE, dtype=torch.float64)
    root, middle = flame.joints[0].numpy(), still.mean(0)
    for frame, target in zip(frames, targets.numpy(), strict=True):
        turn, _ = Rotation.align_vectors(target - target.mean(0), still - middle)
        frame[_TURN] = torch.from_numpy(turn.as_rotvec())
        frame[_MOVE] = torch.from_numpy(target.mean(0) - root - turn.apply(middle - root))
    return frames


def _fit_shape(flame: FlameLandmarks, frames: Tensor, looks: Tensor, targets: Tensor) -> Tensor:
    """The shape (300,) of K frames, by Gauss and Newton over it and all of these (K,109)."""
    shape, count = torch.zeros(SHAPE, dtype=torch.float64), len(frames)
    for _ in range(_STEPS):
        values, by_shape, by_frame = _linear(flame, shape, frames, looks, targets)
        normal = torch.zeros(SHAPE + count * _SIZE, SHAPE + count * _SIZE, dtype=torch.float64)
        normal[:SHAPE, :SHAPE] = torch.einsum("krs,krt->st", by_shape, by_shape) + torch.eye(SHAPE)
        right = [torch.einsum("krs,kr->s", by_shape, values) + shape]
        for i in range(count):
            own = slice(SHAPE + i * _SIZE, SHAPE + (i + 1) * _SIZE)
            normal[own, own] = by_frame[i].T @ by_frame[i]
            normal[:SHAPE, own] = by_shape[i].T @ by_frame[i]
            normal[own, :SHAPE] = normal[:SHAPE, own].T
            right.append(by_frame[i].T @ values[i])
        step = torch.linalg.solve(normal, torch.cat(right))
        shape = (shape - step[:SHAPE]).clamp(-_MOST, _MOST)
        frames = _bounded(frames - step[SHAPE:].unflatten(0, (count, _SIZE)))
        if step.abs().max() < _CLOSE:
            break
    return shape


def _fit_frames(flame: FlameLandmarks, shape: Tensor, frames: Tensor, looks: Tensor, targets: Tensor) -> Tensor:
    """Frames (T,109) of a known shape, each by Gauss and Newton."""
    for _ in range(_STEPS):
        values, _, by_frame = _linear(flame, shape, frames, looks, targets)
        step = torch.linalg.solve(by_frame.mT @ by_frame, by_frame.mT @ values[..., None])[..., 0]
        frames = _bounded(frames - step)
        if step.abs().max() < _CLOSE:
            break
    return frames


def _linear(
    flame: FlameLandmarks, shape: Tensor, frames: Tensor, looks: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Residuals (T,R) and their derivatives by the shape (T,R,300) and by the frames (T,R,109)."""
    count = targets.shape[1]
    weights = torch.full((count, 1), 1 / _METRES, dtype=torch.float64)
    weights[: count - _INSIDE] *= _OUTLINE
    prior = torch.zeros(EXPRESSION + 3, _SIZE, dtype=torch.float64)
    prior[:EXPRESSION, :EXPRESSION] = torch.eye(EXPRESSION)
    prior[EXPRESSION:, _JAW_AT] = torch.diag(1 / _JAW)

    def of_frame(frame: Tensor, look: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def turned(turns: Tensor) -> Tensor:
            return _landmarks(flame, shape, torch.cat([frame[:EXPRESSION], turns, frame[_MOVE]]), look)

        basis = flame.basis(_rotations(frame[_TURNS], look))
        moves = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)
        by_frame = torch.cat([basis[..., SHAPE:], jacfwd(turned)(frame[_TURNS]), moves], -1)
        by_shape = (weights[..., None] * basis[..., :SHAPE]).flatten(0, 1)
        away = weights * (turned(frame[_TURNS]) - target)
        return (
            torch.cat([away.flatten(), prior @ frame]),
            torch.cat([by_shape, torch.zeros(len(prior), SHAPE, dtype=torch.float64)]),
            torch.cat([(weights[..., None] * by_frame).flatten(0, 1), prior]),
        )

    values, by_shape, by_frame = vmap(of_frame)(frames, looks, targets)
    return values, by_shape, by_frame


def _bounded(frames: Tensor) -> Tensor:
    expression = frames[:, :EXPRESSION].clamp(-_MOST, _MOST)
    return torch.cat([expression, frames[:, _TURN], frames[:, _JAW_AT].clamp(*_JAW_BOUNDS), frames[:, _MOVE]], 1)
