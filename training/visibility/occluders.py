"""What hides parts of a face, drawn over a picture: masks, hands, dark glasses, things, strands of hair, the frame's
edge. Thin spectacles hide nothing. Pictures are (S,S,3) in 0..1; points (478,2) are the dense detector's, in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from selftrack.decoders.landmarks import EYE_CONTOURS
from selftrack.synthetic.clip_render import hand_sprite, pink_noise

Layer = tuple[np.ndarray, np.ndarray]
"""A mask (S,S) in 0..1 and what is seen there, (S,S,3) in 0..1."""
_BRIDGE, _CHIN, _JAW = (6, 197, 195, 5, 4), 152, (127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148)
_OTHER_JAW = (356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
_TONES = np.array([[0.85, 0.66, 0.55], [0.68, 0.47, 0.36], [0.42, 0.27, 0.2], [0.25, 0.16, 0.12]])


def occlude(
    rng: np.random.Generator, picture: np.ndarray, points: np.ndarray, always: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Hide parts of a face, or in one picture of four nothing, unless something is to be hidden `always`.

    Returns:
        The picture (S,S,3) in 0..1, and how much of each pixel is hidden (S,S) in 0..1.
    """
    picture, hidden = picture.astype(np.float32).copy(), np.zeros(picture.shape[:2], np.float32)
    if rng.random() < 0.25:
        picture = _spectacles(rng, picture, points)
    if rng.random() < 0.25 and not always:
        return picture, hidden
    for _ in range(1 if rng.random() < 0.8 else 2):
        draw = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))]
        mask, colour = draw(rng, points, len(picture))
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1.5))
        picture = picture * (1 - mask[..., None]) + colour * mask[..., None]
        hidden = np.maximum(hidden, mask)
    return picture, hidden


def _cloth(rng: np.random.Generator, size: int) -> np.ndarray:
    """A colour with folds, light from one side, perhaps stripes (S,S,3)."""
    y, x = np.mgrid[:size, :size] / size
    colour = rng.uniform(0, 1, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.02, 0.98))
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    shade = 1 + rng.uniform(0, 0.5) * (along - 0.5) + rng.uniform(0, 0.25) * pink_noise(rng, size)
    if rng.random() < 0.4:
        shade = shade * (1 + rng.uniform(0.05, 0.3) * np.sign(np.sin(rng.uniform(15, 80) * along)))
    return (colour * shade[..., None]).clip(0, 1).astype(np.float32)


def _skin(rng: np.random.Generator, size: int) -> np.ndarray:
    tone = _TONES[int(rng.integers(len(_TONES)))] * rng.uniform(0.6, 1.15) + rng.normal(0, 0.03, 3)
    return (tone * (1 + 0.08 * pink_noise(rng, size))[..., None]).clip(0, 1).astype(np.float32)


def _fill(size: int, outline: np.ndarray) -> np.ndarray:
    mask = np.zeros((size, size), np.float32)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1.0, cv2.LINE_AA)
    return mask


def _face_mask(rng: np.random.Generator, points: np.ndarray, size: int) -> Layer:
    """From the nose, at some height of it, to below the chin, along the jaw."""
    top = points[_BRIDGE[int(rng.integers(len(_BRIDGE)))]]
    begin = int(rng.integers(1, 4))
    grow = rng.uniform(1.0, 1.12)
    jaw = points[[*_JAW[begin:], _CHIN, *reversed(_OTHER_JAW[begin:])]]
    outline = np.concatenate([jaw, top[None]])
    outline = (outline - outline.mean(0)) * grow + outline.mean(0) + rng.normal(0, 0.01 * size, outline.shape)
    return _fill(size, outline), _cloth(rng, size)


def _hand(rng: np.random.Generator, points: np.ndarray, size: int) -> Layer:
    """A hand with a forearm, or a few fingers, anywhere on the face."""
    face = np.ptp(points, axis=0).max()
    at = points[int(rng.integers(468))] + rng.normal(0, 0.1 * face, 2)
    if rng.random() < 0.6:
        sprite = hand_sprite(rng, 128)
        scale = face * rng.uniform(0.5, 1.1) / len(sprite)
        angle = rng.uniform(-np.pi, np.pi)
        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = np.concatenate([linear, (at - linear @ np.full(2, len(sprite) / 2))[:, None]], 1)
        laid = cv2.warpAffine(sprite, matrix, (size, size), flags=cv2.INTER_LINEAR)
        tone = _TONES[int(rng.integers(len(_TONES)))] * rng.uniform(0.6, 1.2)
        grey = laid[..., :3].mean(2, keepdims=True) / max(float(laid[..., :3].mean(2).max()), 1e-3)
        return laid[..., 3], (tone * (0.55 + 0.45 * grey)).clip(0, 1).astype(np.float32)
    mask, colour = np.zeros((size, size), np.float32), _skin(rng, size)
    angle, across = rng.uniform(0, np.pi), face * rng.uniform(0.07, 0.13)
    along = np.array([np.cos(angle), np.sin(angle)])
    for finger in range(int(rng.integers(1, 6))):
        middle = at + (finger - 2) * across * 0.95 * np.array([-along[1], along[0]])
        half = along * face * rng.uniform(0.15, 0.4)
        first, last = (np.round(end).astype(int).tolist() for end in (middle - half, middle + half))
        cv2.line(mask, first, last, 1.0, max(round(across), 2), cv2.LINE_AA)
        ridge = colour.mean((0, 1)) * rng.uniform(0.8, 1.2)
        cv2.line(colour, first, last, ridge.tolist(), max(round(0.6 * across), 1))
    return mask, cv2.GaussianBlur(colour, (0, 0), 1.0)


def _dark_glasses(rng: np.random.Generator, points: np.ndarray, size: int) -> Layer:
    mask = np.zeros((size, size), np.float32)
    lens, tall = rng.uniform(0.8, 1.5), rng.uniform(0.6, 1.1)
    squareness = rng.uniform(2, 5)
    centres = []
    for contour in EYE_CONTOURS:
        eye = points[list(contour)]
        centre, width = eye.mean(0), np.linalg.norm(np.ptp(eye, axis=0))
        centres.append(centre + [0, rng.uniform(-0.05, 0.15) * width])
        turn = np.linspace(0, 2 * np.pi, 40)
        wave = np.stack([np.cos(turn), np.sin(turn)], 1)
        ring = np.sign(wave) * np.abs(wave) ** (2 / squareness) * [lens * width, lens * tall * width]
        mask = np.maximum(mask, _fill(size, centres[-1] + ring))
    first, last = (np.round(centre).astype(int).tolist() for centre in centres)
    cv2.line(mask, first, last, 1.0, max(round(0.01 * size), 1), cv2.LINE_AA)
    colour = np.full((size, size, 3), rng.uniform(0, 0.25), np.float32) * rng.uniform(0.7, 1.3, 3)
    gleam = np.linspace(0, rng.uniform(0, 0.5), size)[:, None, None]
    return mask * rng.uniform(0.85, 1.0), (colour + gleam[:: int(rng.choice([-1, 1]))]).clip(0, 1).astype(np.float32)


def _thing(rng: np.random.Generator, points: np.ndarray, size: int) -> Layer:
    """A cup, a phone, a microphone: a rounded or straight shape."""
    face = np.ptp(points, axis=0).max()
    at = points[int(rng.integers(468))] + rng.normal(0, 0.1 * face, 2)
    width, height = face * rng.uniform(0.08, 0.45, 2)
    angle, mask = rng.uniform(0, 180), np.zeros((size, size), np.float32)
    shape = ((float(at[0]), float(at[1])), (float(2 * width), float(2 * height)), float(angle))
    if rng.random() < 0.5:
        cv2.ellipse(mask, shape, 1.0, -1)
    else:
        mask = _fill(size, cv2.boxPoints(shape))
    return mask, _skin(rng, size) if rng.random() < 0.3 else _cloth(rng, size)


def _hair(rng: np.random.Generator, points: np.ndarray, size: int) -> Layer:
    """Strands from above over a side of the face."""
    mask = np.zeros((size, size), np.float32)
    low, high = points.min(0), points.max(0)
    middle, spread = rng.uniform(low[0], high[0]), rng.uniform(0.03, 0.25) * (high[0] - low[0])
    end = rng.uniform(low[1] + 0.3 * (high[1] - low[1]), high[1] + 0.2 * (high[1] - low[1]))
    lean = rng.normal(0, 0.25) * (high[0] - low[0])
    for _ in range(int(rng.integers(8, 60))):
        x, t = middle + rng.normal(0, spread), np.linspace(0, 1, 12)
        bend = rng.normal(lean, 0.1 * (high[0] - low[0]))
        path = np.stack([x + bend * t**2, low[1] - 0.3 * (high[1] - low[1]) + (end - low[1]) * 1.3 * t], 1)
        cv2.polylines(mask, [np.round(path).astype(np.int32)], False, 1.0, int(rng.integers(1, 4)), cv2.LINE_AA)
    colour = np.array([0.5, 0.35, 0.2]) * rng.uniform(0.05, 1.6) + rng.normal(0, 0.03, (size, size, 1))
    return mask, colour.clip(0, 1).astype(np.float32)


def _edge(rng: np.random.Generator, points: np.ndarray, size: int) -> Layer:
    """The frame ends within the face; beyond it a crop is black."""
    low, high = points.min(0), points.max(0)
    side, y, x = int(rng.integers(4)), *np.mgrid[:size, :size]
    share = rng.uniform(0.1, 0.65)
    place = low + share * (high - low) if side < 2 else high - share * (high - low)
    across, where = (x, place[0]) if side % 2 == 0 else (y, place[1])
    mask = (across < where) if side < 2 else (across > where)
    return mask.astype(np.float32), np.zeros((size, size, 3), np.float32)


def _spectacles(rng: np.random.Generator, picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Thin frames, and lenses that gleam a little: the eyes are seen."""
    mask, _ = _dark_glasses(rng, points, len(picture))
    inner = cv2.erode(mask, np.ones((3, 3)), iterations=int(rng.integers(1, 3)))
    frame = ((mask > 0.5) & (inner <= 0.5)).astype(np.float32)[..., None]
    gleam = rng.uniform(0, 0.12) * (inner > 0.5)[..., None]
    return (picture * (1 - frame) + rng.uniform(0, 0.6) * frame).astype(np.float32) * (1 - gleam) + gleam


_KINDS: tuple[Callable[[np.random.Generator, np.ndarray, int], Layer], ...]
_KINDS = (_face_mask, _hand, _dark_glasses, _thing, _hair, _edge)
_SHARES = (0.2, 0.25, 0.15, 0.2, 0.1, 0.1)
