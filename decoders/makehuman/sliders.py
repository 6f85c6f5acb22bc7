"""MakeHuman's sliders that shape a face: their names, how they move the bundled head's vertices, how people differ.

A slider is called as MakeHuman's own files call it: group/target, with the names of both ends where it goes both ways,
such as `nose/nose-hump-decr|incr`: -1 is all of the first, 1 all of the second. One with one end goes from 0 to 1, and
so do those of the whole person, such as `macrodetails/Gender` (0 female, 1 male). What follows from these is a product
of several: a target for each combination of gender, age, muscle and weight. All else is as MakeHuman has it by default,
so the three that it mixes skulls by are a third each.

Axes are the head frame's: metres, x to the image's right, y down, z away from the camera.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Self

import numpy as np

ASSET = Path(__file__).parents[1] / "assets" / "makehuman.npz"

_HEAD = """age-decr|incr angle-in|out fat-decr|incr oval round rectangular square triangular invertedtriangular diamond
    scale-depth-decr|incr scale-horiz-decr|incr scale-vert-decr|incr trans-in|out trans-down|up trans-backward|forward
    back-scale-depth-decr|incr"""
_FOREHEAD = "trans-backward|forward scale-vert-decr|incr nubian-decr|incr temple-decr|incr"
_EYEBROWS = "trans-backward|forward angle-down|up trans-down|up"
_EYE = """bag-decr|incr bag-in|out bag-height-decr|incr eyefold-angle-down|up epicanthus-in|out eyefold-concave|convex
    eyefold-down|up height1-decr|incr height2-decr|incr height3-decr|incr push1-in|out push2-in|out trans-in|out
    trans-down|up scale-decr|incr corner1-down|up corner2-down|up"""
_NOSE = """trans-down|up trans-backward|forward trans-in|out scale-vert-decr|incr scale-horiz-decr|incr
    scale-depth-decr|incr nostrils-width-decr|incr point-width-decr|incr base-down|up width1-decr|incr width2-decr|incr
    width3-decr|incr compression-compress|uncompress curve-concave|convex greek-decr|incr hump-decr|incr
    volume-decr|incr nostrils-angle-down|up point-down|up septumangle-decr|incr flaring-decr|incr"""
_MOUTH = """scale-horiz-decr|incr scale-vert-decr|incr scale-depth-decr|incr trans-in|out trans-down|up
    trans-backward|forward lowerlip-height-decr|incr lowerlip-width-decr|incr upperlip-height-decr|incr
    upperlip-width-decr|incr cupidsbow-width-decr|incr dimples-in|out laugh-lines-in|out lowerlip-ext-down|up
    angles-down|up lowerlip-middle-down|up lowerlip-volume-decr|incr philtrum-volume-decr|incr upperlip-volume-decr|incr
    upperlip-ext-down|up upperlip-middle-down|up cupidsbow-decr|incr"""
_CHIN = """jaw-drop-decr|incr cleft-decr|incr prominent-decr|incr width-decr|incr height-decr|incr bones-decr|incr
    prognathism-decr|incr"""
_CHEEK = "volume-decr|incr bones-decr|incr inner-decr|incr trans-down|up"


def _named(prefix: str, names: str) -> list[str]:
    return [f"{prefix}-{name}" for name in names.split()]


DETAILS: Mapping[str, list[str]] = {
    "head": _named("head", _HEAD),
    "forehead": _named("forehead", _FOREHEAD),
    "eyebrows": _named("eyebrows", _EYEBROWS),
    "eyes": _named("r-eye", _EYE) + _named("l-eye", _EYE),
    "nose": _named("nose", _NOSE),
    "mouth": _named("mouth", _MOUTH),
    "chin": _named("chin", _CHIN),
    "cheek": _named("l-cheek", _CHEEK) + _named("r-cheek", _CHEEK),
}
"""The 116 sliders of the face by their group, which is also the folder of their targets."""
GENDERS, AGES = ("female", "male"), ("young", "old")
MUSCLES, WEIGHTS = (tuple(f"{size}{of}" for size in ("min", "average", "max")) for of in ("muscle", "weight"))
SPREADS = {
    **dict.fromkeys(("head-trans-in", "nose-trans-in", "mouth-trans-in"), 0.06),  # to one side
    "eyebrows-trans": 0.5,
    "head-": 0.18,
    "chin-": 0.35,
    "mouth-": 0.28,
    "": 0.25,
}
"""Standard deviations of people by the first word that fits a slider, before they are cut off at its ends; brows and
chins differ most. But for what is off to one side they are 1/1.4 of those of the people whom the bundled head is made
of, who are 1.2 to 1.65 times as varied as real ones."""
ASYMMETRY = 0.06
"""Standard deviation of the two sides of one face around what they have in common."""
_STEP = 1e-4


@dataclass(frozen=True)
class Slider:
    """One slider, and how people differ in it: a normal distribution that is cut off at its ends."""

    name: str
    low: float
    high: float
    default: float
    mean: float
    deviation: float


MACROS = (
    Slider("macrodetails/Gender", 0.0, 1.0, 0.5, 0.5, 0.3),
    Slider("macrodetails/Age", 0.5, 1.0, 0.5, 0.7, 0.15),
    Slider("macrodetails-universal/Muscle", 0.0, 1.0, 0.5, 0.5, 0.12),
    Slider("macrodetails-universal/Weight", 0.0, 1.0, 0.5, 0.5, 0.2),
)
"""The sliders of the whole person that shape the face, too: adults, so that the age is 25 (0.5) to 90 years (1)."""


def ends(name: str) -> tuple[str, str]:
    """Name the targets at both ends of a slider of the face; the first is empty where it goes one way."""
    if "|" not in name:
        return "", name
    stem, last = name.split("|")
    return stem, stem.rsplit("-", 1)[0] + "-" + last


def _details() -> Iterator[Slider]:
    for group, names in DETAILS.items():
        for name in names:
            spread = next(value for word, value in SPREADS.items() if word in name)
            yield Slider(f"{group}/{name}", -1.0 if "|" in name else 0.0, 1.0, 0.0, 0.0, spread)


SLIDERS: tuple[Slider, ...] = (*MACROS, *_details())
"""All that are read, K of them."""


class Sliders:
    """How the sliders move a head."""

    def __init__(self, base: np.ndarray, targets: np.ndarray, names: tuple[str, ...]) -> None:
        """Take MakeHuman's base mesh (V,3) and what each target adds at 1 (T,V,3), metres, by the targets' names."""
        self.base, self.targets = base, targets
        order = {name: row for row, name in enumerate(names)}
        details = [ends(slider.name.split("/")[1]) for slider in SLIDERS[len(MACROS) :]]
        self._less = np.array([order.get(less, -1) for less, _ in details])
        self._more = np.array([order[more] for _, more in details])
        self._skulls = np.array([[order[f"{g}-{a}"] for a in AGES] for g in GENDERS])
        every = (order["-".join(four)] for four in product(GENDERS, AGES, MUSCLES, WEIGHTS))
        self._flesh = np.fromiter(every, int).reshape(2, 2, 3, 3)

    @classmethod
    def load(cls) -> Self:
        """Read the bundled ones."""
        with np.load(ASSET, allow_pickle=False) as data:
            targets = data["targets"].astype(np.float32) * data["scale"][:, None, None]
            return cls(data["base"].astype(float), targets, tuple(json.loads(str(data["names"]))))

    @cached_property
    def defaults(self) -> np.ndarray:
        """(K,) MakeHuman's own."""
        return np.array([slider.default for slider in SLIDERS])

    @cached_property
    def low(self) -> np.ndarray:
        """(K,) the least values."""
        return np.array([slider.low for slider in SLIDERS])

    @cached_property
    def high(self) -> np.ndarray:
        """(K,) the largest."""
        return np.array([slider.high for slider in SLIDERS])

    def weights(self, values: np.ndarray) -> np.ndarray:
        """Compute how much of each target (T,) sliders (K,) add."""
        gender, age, muscle, weight = values[: len(MACROS)]
        genders, ages = np.array([1 - gender, gender]), np.array([2 - 2 * age, 2 * age - 1])
        skulls = np.multiply.outer(genders, ages)
        flesh = np.multiply.outer(np.multiply.outer(skulls, _thirds(muscle)), _thirds(weight))
        out, details = np.zeros(len(self.targets)), values[len(MACROS) :]
        out[self._skulls], out[self._flesh] = skulls, flesh
        both = self._less >= 0
        out[self._less[both]] = (-details[both]).clip(0)
        out[self._more] = details.clip(0)
        return out

    def slopes(self, values: np.ndarray) -> np.ndarray:
        """Compute by how much a unit of each slider changes the weights (K,T), at sliders (K,): where it goes from one
        end to the other, the mean of both ways, and at its least value the way up. Weights are linear in each
        slider, so that differences are exact."""
        ahead, behind = values + _STEP * np.eye(len(values)), np.maximum(values - _STEP * np.eye(len(values)), self.low)
        changes = np.array([self.weights(one) - self.weights(other) for one, other in zip(ahead, behind, strict=True)])
        return changes / (ahead - behind).diagonal()[:, None]

    def vertices(self, values: np.ndarray) -> np.ndarray:
        """Compute the head (V,3) of sliders (K,), metres, head frame."""
        return self.base + np.tensordot(self.weights(values), self.targets, 1)


def _thirds(value: float) -> np.ndarray:
    """The shares of the least, the average and the most."""
    return np.array([max(1 - 2 * value, 0.0), 1 - abs(2 * value - 1), max(2 * value - 1, 0.0)])


def population() -> tuple[np.ndarray, np.ndarray]:
    """Give the mean (K,) and the covariance (K,K) of people's sliders, before they are cut off: the two sides of a face
    are alike but for `ASYMMETRY`."""
    mean = np.array([slider.mean for slider in SLIDERS])
    covariance = np.diag([slider.deviation**2 for slider in SLIDERS])
    for one, other in sides():
        shared = covariance[one, one]
        covariance[one, other] = covariance[other, one] = shared
        covariance[[one, other], [one, other]] = shared + ASYMMETRY**2
    return mean, covariance


def sides() -> list[tuple[int, int]]:
    """Find the sliders of the subject's left and right that belong together, by their numbers."""
    order = {slider.name: row for row, slider in enumerate(SLIDERS)}
    return [(row, order[name.replace("/l-", "/r-")]) for name, row in order.items() if "/l-" in name]


def draw_sliders(rng: np.random.Generator) -> np.ndarray:
    """Draw the sliders (K,) of somebody."""
    mean, covariance = population()
    low, high = (np.array([getattr(slider, end) for slider in SLIDERS]) for end in ("low", "high"))
    return rng.multivariate_normal(mean, covariance, method="cholesky").clip(low, high)
