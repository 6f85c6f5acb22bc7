"""Trust region by region: how far eyes, brows, mouth and the head's pose of a frame can be trusted, and what happens to
the curves of a region that something hides: they hold their last sure values.

Left and right are the subject's own.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.landmarks import BROWS, EYE_CONTOURS, IBUG_68, LIPS, POINTS

ASSET = Path(__file__).parents[1] / "assets" / "regions.json"
PARTS = ("eyeLeft", "eyeRight", "browLeft", "browRight", "mouth", "face")
"""What a share of visibility is kept of."""
REGIONS = ("eyes", "brows", "mouth", "pose")
"""What a confidence is told of."""
SURE = 0.85
"""From this share of visibility on, what a region's curves say is remembered."""
_HIDDEN, _SEEN = 0.4, 0.7
"""Shares of visibility at which a region's curves are held, and are what the picture says; between them, between."""
_RETURN = 0.15
"""Seconds in which the curves of a region that is seen again go back to what the picture says."""
BY_CHANCE = 0.3
"""Probability that what is held is right all the same."""
_SIDE = 0.2
"""Of two sides, the one that is seen better by more is not in doubt with the other."""
_GAP = 0.2
"""Seconds that a stretch of hidden frames may be interrupted, and lasts at least, to be spoken of."""
_HELD = 0.5
"""Below this share of what the picture says, curves count as held."""
POINTS_OF = {
    "eyeLeft": EYE_CONTOURS[1],
    "eyeRight": EYE_CONTOURS[0],
    "browLeft": BROWS[1],
    "browRight": BROWS[0],
    "mouth": LIPS,
    "face": (*EYE_CONTOURS[0], *EYE_CONTOURS[1], *BROWS[0], *BROWS[1], *LIPS, 1, 4, 5, 6, 168),
}
"""The dense detector's points of each part."""
_OF = {"eyes": ("eyeLeft", "eyeRight"), "brows": ("browLeft", "browRight"), "mouth": ("mouth",), "pose": ("face",)}


def shares(visible: np.ndarray | None) -> np.ndarray:
    """How much is seen of each of the `PARTS`, (6,) float32 in 0..1, by how visible points (478,) or (68,) are; 1 where
    that is not known."""
    if visible is None:
        return np.ones(len(PARTS), np.float32)
    return np.array([visible[list(rows)].mean() for rows in _rows(len(visible)).values()], np.float32)


@lru_cache
def _rows(points: int) -> dict[str, tuple[int, ...]]:
    if points == POINTS:
        return POINTS_OF
    of_68 = {dense: row for row, dense in enumerate(IBUG_68)}
    return {part: tuple(of_68[dense] for dense in rows if dense in of_68) for part, rows in POINTS_OF.items()}


def points_of(region: str, count: int = POINTS) -> list[int]:
    """The points of one of the `REGIONS`, of the detector that has 478 or 68."""
    return [row for part in _OF[region] for row in _rows(count)[part]]


def _part_of(name: str) -> tuple[str, ...]:
    """The parts of which one has to be seen for a curve to be read."""
    side = ("Left",) if name.endswith("Left") else ("Right",) if name.endswith("Right") else ("Left", "Right")
    if name.startswith("eyeLook"):  # both eyes look at one point
        return _OF["eyes"]
    if name.startswith(("eye", "cheekSquint")):
        return tuple(f"eye{end}" for end in side)
    return tuple(f"brow{end}" for end in side) if name.startswith("brow") else ("mouth",)


def region_of(name: str) -> str:
    """The one of the `REGIONS` that a curve of ARKit is read from."""
    part = _part_of(name)[0]
    return next(region for region, parts in _OF.items() if part in parts)


_READ_FROM = np.array([[part in _part_of(name) for part in PARTS] for name in ARKIT_NAMES])
"""(52,6) the parts that a curve is read from."""


def seen(visible: np.ndarray) -> np.ndarray:
    """How much of each curve is what the picture says, (...,52) in 0..1, by shares (...,6) of the parts."""
    return _told(_best(visible))


def _best(visible: np.ndarray) -> np.ndarray:
    """The share (...,52) of the part that is seen best of those that each curve is read from."""
    return np.where(_READ_FROM, visible[..., None, :], -np.inf).max(-1)


def _told(share: np.ndarray) -> np.ndarray:
    """How much of what is seen to such a share counts, 0..1; the rest is held."""
    return ((share - _HIDDEN) / (_SEEN - _HIDDEN)).clip(0, 1)


def held(visible: np.ndarray) -> np.ndarray:
    """Whether the curves of eyes, brows and mouth are held, (...,3) bool, by shares (...,6) of the parts; of eyes and
    brows, those of one side at least."""
    return np.stack([shown(visible, region) < _HELD for region in REGIONS[:3]], -1)


def spans(times: np.ndarray, flags: np.ndarray) -> list[tuple[float, float]]:
    """First and last time of each stretch in which flags (T,) are set at times (T,), seconds. Gaps of up to `_GAP`
    count as set, and stretches shorter than that as nothing."""
    out: list[tuple[float, float]] = []
    for time in times[flags].tolist():
        if out and time - out[-1][1] <= _GAP:
            out[-1] = (out[-1][0], time)
        else:
            out.append((time, time))
    return [(first, last) for first, last in out if last - first >= _GAP]


class Hold:
    """The curves of a stream, those of hidden regions at their last sure values; before there are any, at rest."""

    def __init__(self) -> None:
        self._last, self._time = np.zeros(len(ARKIT_NAMES)), -np.inf
        self._share = np.ones(len(ARKIT_NAMES))

    def __call__(self, curves: np.ndarray, visible: np.ndarray, time: float) -> np.ndarray:
        """The curves (52,) of the next frame, by those that were read from it (52,), shares (6,) and its time."""
        best, share = _best(visible), seen(visible)
        if np.isfinite(self._time):
            share = np.minimum(share, self._share + max(time - self._time, 0) / _RETURN)
        out = share * curves + (1 - share) * self._last
        self._last = np.where((best >= SURE) & (share == 1), curves, self._last)
        self._share, self._time = share, time
        return out


def doubtful(visible: np.ndarray, confidence: np.ndarray, ok: np.ndarray) -> np.ndarray:
    """Which parts but the face are not to be trusted, (T,5) bool: those of a region that is held, or more likely wrong
    than right, and of its two sides the one that is seen less, or both. Arguments as `region_confidence`."""
    told, kept = region_confidence(visible, confidence, ok), held(visible)
    out = []
    for row, part in enumerate(PARTS[:5]):
        region = next(name for name, parts in _OF.items() if part in parts)
        doubt = (told[region] < 0.5) | kept[:, REGIONS.index(region)]
        out.append(doubt & (visible[:, row] < _least(visible, region) + _SIDE))
    return np.stack(out, 1)


@lru_cache(maxsize=1)
def _fitted() -> dict[str, list[float]]:
    """Of each region the bias and the weights of log-odds of visibility and of the frame's confidence."""
    coefficients: dict[str, list[float]] = json.loads(ASSET.read_text(encoding="utf-8"))
    return coefficients


def signals(visible: np.ndarray, confidence: np.ndarray) -> dict[str, np.ndarray]:
    """What each region's confidence depends on, (T,3): 1, log-odds of how much of it is seen, and of the frame's
    confidence; by shares (T,6) and confidence (T,). Of two sides the one that is seen less counts."""
    whole = _log_odds(confidence)
    seen_of = {region: _log_odds(_least(visible, region)) for region in REGIONS}
    return {region: np.stack([np.ones(len(whole)), seen_of[region], whole], 1) for region in REGIONS}


def _log_odds(chance: np.ndarray) -> np.ndarray:
    """Of chances, which are taken for 0.02 at least and 0.98 at most."""
    chance = np.clip(chance, 0.02, 0.98)
    return np.log(chance / (1 - chance))


def shown(visible: np.ndarray, region: str) -> np.ndarray:
    """How much of a region is what the picture says, not what is held, (...) in 0..1, by shares (...,6)."""
    return _told(_least(visible, region))


def _least(visible: np.ndarray, region: str) -> np.ndarray:
    """The share (...) of the part of a region that is seen least."""
    return visible[..., [PARTS.index(part) for part in _OF[region]]].min(-1)


def region_confidence(visible: np.ndarray, confidence: np.ndarray, ok: np.ndarray) -> dict[str, np.ndarray]:
    """The probability, (T,) float32 by region, that it is where it should be, to 5 % of the IOD; 0 where lost.

    Args:
        visible: (T,6) shares of the parts that are seen.
        confidence: (T,) of the frames.
        ok: (T,) bool.
    """
    values, out = signals(visible, confidence), {}
    for region in REGIONS:
        share = shown(visible, region)
        right = 1 / (1 + np.exp(-values[region] @ np.array(_fitted()[region]))) * (share + BY_CHANCE * (1 - share))
        out[region] = np.where(ok, right, 0).astype(np.float32)
    return out
