"""What is one person's in all frames: the identity that the detected points show, found in turns with the frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES, OTHER_SIDE
from selftrack.tracker.geometry.crop import CROP_SIZE
from selftrack.tracker.geometry.pose import mirrored_pose
from selftrack.tracker.network.i2znet import Features, I2ZNet
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.observation import RESTING, Refined
from selftrack.tracker.refinement.refiner import PARTING, Refiner

_OF_A_FACE = RESTING & ~np.array([name.startswith(("browInner", "browOuter")) for name in ARKIT_NAMES])
"""(52,) the curves at rest that are much alike on people: brows lie high on some and low on others."""
_ACTS = np.array([not name.startswith(("eye", "gaze", "vergence")) for name in controls.NAMES], float)
"""(47,) 1 for what is not of the eyes."""

EVERY = 0.1
"""Seconds between frames that a stream's identity is read from."""
INDEPENDENT = 20.0
"""Frames of one clip say the same again: they count as no more than so many."""
PEOPLE = 10.0
"""Weight of what the network says, in deviations of people: the detector's constant errors look like identity, too."""
RESTS = 0.05
"""Standard deviation of a curve of the face at rest."""
SEALED = 0.002
"""Standard deviation of the gap between the lips of a face at rest, inter-ocular distances: where nobody says otherwise
what parts them is an act, however rarely a clip shows them touch."""
LENS = (0.8, 0.8)
"""Mean and standard deviation of the inverse distance of cameras, 1/metres."""
NEAREST = 3.0
"""The largest inverse distance: nobody holds a camera nearer."""
ROUNDS = 4
TURN = 0.01
"""Standard deviation (radians) of the head's turn from the network's, with which the person is found: a detector's
points lie as if faces were turned up, and the network has learned by how much."""
REST = 40.0
"""How many times more the curves of a face that is surely at rest are held at 0."""
ACTIVE = 2.0
"""Sum of the curves, but the eyes', of a face that is hardly at rest."""
WIDE = 0.02
"""Inter-ocular distances by which eyes are wider open than usual where that counts as much as a curve of 1."""
RESTLESS = 1.75
"""The sum below (`ACTIVE`) of a face that is at rest in no frame: the least active tenth of ten clips has 0.6 to 1.6,
of a grin 3.3."""
NEGLIGIBLE = 0.01
"""Share of what is taken for the rest that is not worth finding out."""
DOUBTFUL = 0.05
"""Where no frame shows a face at rest more surely, none does."""
VARIED = 0.5
"""By how much this sum changes in a clip that shows more than one expression."""


class Subject(NamedTuple):
    """Who is seen in a clip, and through which camera."""

    network: Tensor
    """(112,) identity and mean expression, pooled by the network, which is conditioned on them; (0,) for a personal
    model."""
    identity: Tensor
    """(60,) of the face; (0,) for a personal model."""
    inverse_distance: float = 0.0
    """Of the camera, 1/metres."""
    rest: Tensor = torch.zeros(len(ARKIT_NAMES))
    """(52,) curves of the face at rest: what the identity's components leave out. Tracked curves are on top."""


class Shot(NamedTuple):
    """A frame of the person."""

    points: np.ndarray
    """(L,2) detected, pixels."""
    network: Refined
    """The network's answer."""


class Person(NamedTuple):
    """What is fitted to the frames of one person."""

    identity: np.ndarray
    """(K,)"""
    rest: np.ndarray
    """(52,) curves of the face at rest."""
    inverse_distance: float
    """Of the camera, 1/metres."""

    def seen_by(self, refiner: Refiner) -> Refiner:
        """Return the refiner for this person's face at rest and camera."""
        return refiner.resting(self.rest).through(self.inverse_distance)


class PersonFit:
    """The person by all frames added so far, near what the network says of the identity, within the deviations of
    people.

    Each frame's curves and pose are eliminated from its least squares (the Schur complement), so that the identity is
    found together with those of all frames: a face that is always a little so is so at rest, for that costs once.
    """

    def __init__(
        self, refiner: Refiner, person: Person, finds: Sequence[str] = ("identity",), apart: float = 0.0
    ) -> None:
        """`person` is the first guess, of whose fields those named in `finds` are found; the lips at rest are `apart`
        by so many inter-ocular distances."""
        self._person, self._bare = person, refiner
        gap, self._parts = refiner.parted()
        self._too_far = gap - apart
        self._refiner = person.seen_by(refiner).turned_within(TURN)
        parts = {"identity": len(person.identity), "rest": int(RESTING.sum()), "inverse_distance": 1}
        self._free = np.repeat([name in finds for name in parts], list(parts.values()))
        size = len(self._free)
        self._normal, self._right = np.zeros((size, size)), np.zeros(size)
        self._count = 0

    def rest_on(self, rest: np.ndarray) -> None:
        """From the next frame on take these curves (52,) for the face at rest; what was added stays true."""
        self._person = self._person._replace(rest=rest)
        self._refiner = self._person.seen_by(self._bare).turned_within(TURN)

    def add(self, points: np.ndarray, network: Refined, frame: Refined, rest: float = 0.0) -> None:
        """Add a frame with points (L,2) and the network's answer, as it is fitted with the present person; `rest`
        tells how surely it shows the face at rest, 0..1."""
        face = self._refiner.face(self._person.identity)
        normal, right = self._refiner.eliminated(points, network, frame, face, REST * rest)
        self._count += 1
        self._normal += (normal - self._normal) / self._count
        self._right += (right + normal @ self._unknowns() - self._right) / self._count

    def solve(self, network: np.ndarray) -> Person:
        """Find the person by the frames added so far, near what the `network` (K,) says of the identity."""
        people = len(network)
        curves = len(self._free) - people - 1
        share = min(self._count, INDEPENDENT)
        usual, spread = LENS
        precision = np.concatenate([np.full(people, PEOPLE), np.full(curves, RESTS**-2), [spread**-2]])
        normal = share * self._normal + np.diag(precision) + np.outer(self._parts, self._parts) / SEALED**2
        right = share * self._right + precision * np.concatenate([network, np.zeros(curves), [usual]])
        right -= self._parts * self._too_far / SEALED**2
        found, free = self._unknowns(), self._free.copy()

        def solve() -> np.ndarray:
            held = right[free] - normal[np.ix_(free, ~free)] @ found[~free]
            return np.linalg.solve(normal[np.ix_(free, free)], held)

        if free[-1]:
            found[-1], free[-1] = solve()[-1].clip(0, NEAREST), False
        if free.any():
            found[free] = solve()
        rest = np.zeros(len(RESTING))
        rest[RESTING] = found[people:-1]
        self._person = Person(found[:people], rest, float(found[-1]))
        return self._person

    def _unknowns(self) -> np.ndarray:
        """The present person as one vector (K+R+1,)."""
        return np.concatenate([self._person.identity, self._person.rest[RESTING], [self._person.inverse_distance]])


def fit_person(
    refiner: Refiner,
    shots: Sequence[Shot],
    network: np.ndarray,
    neutral: np.ndarray | None = None,
    known: Person | None = None,
) -> Person:
    """Find a person and the camera by frames of a clip, together with each frame's curves and pose.

    Args:
        refiner: of the face model.
        shots: the frames.
        network: (K,) what the network says of the identity.
        neutral: (N,) bool, the frames that show the face at rest, where that is known.
        known: the person where that is known, so that the camera alone is found.
    """
    person = known or Person(network.astype(float), np.zeros(len(RESTING)), refiner.inverse_distance)
    finds = Person._fields if known is None else ("inverse_distance",)
    if neutral is None:
        said = np.array([shot.network.controls for shot in shots])
        eyes = np.array([refiner.eye_height(shot.points, float(np.exp(shot.network.pose[0]))) for shot in shots])
        rest, acting = at_rest(said, eyes), _acts_throughout(said)
    else:
        rest, acting = neutral.astype(float), 0.0
    apart = _apart(refiner, shots, neutral)
    for _ in range(ROUNDS if shots else 0):
        fit = PersonFit(refiner, person, finds, apart)
        for row, (shot, frame) in enumerate(zip(shots, _fitted(refiner, shots, person), strict=True)):
            fit.add(shot.points, shot.network, frame, rest[row])
        person = fit.solve(network)
    if known is None and rest.any():
        found = np.array([frame.controls for frame in _fitted(refiner, shots, person)])
        person = person._replace(rest=person.rest + _left_at_rest(found, rest, surely=neutral is not None))
    if known is None and acting > NEGLIGIBLE:
        person = person._replace(rest=person.rest - acting * _taken_for_rest(refiner, shots, person))
    return person


def _apart(refiner: Refiner, shots: Sequence[Shot], neutral: np.ndarray | None) -> float:
    """How far the lips of a face at rest are apart, inter-ocular distances: they touch, or are as in frames that are
    known to show it."""
    if neutral is None or not neutral.any():
        return 0.0
    named = [shot for shot, shown in zip(shots, neutral, strict=True) if shown]
    return float(np.median([refiner.gap(shot.points, float(np.exp(shot.network.pose[0]))) for shot in named]))


def _fitted(refiner: Refiner, shots: Sequence[Shot], person: Person) -> list[Refined]:
    """The frames as they are fitted with a person, near the network's turn of the head."""
    through = person.seen_by(refiner).turned_within(TURN)
    face = through.face(person.identity)
    return [through(shot.points, shot.network, face) for shot in shots]


def _left_at_rest(found: np.ndarray, rest: np.ndarray, surely: bool) -> np.ndarray:
    """The curves (52,) that frames with controls (N,47) still have where they show the face at rest (N,), 0..1.

    They are the person's as far as that is sure: a face that is active throughout, or the same throughout, may act.
    """
    mean = (rest / rest.sum() @ found) * _ACTS
    mean[PARTING] = 0  # of a face at rest the lips touch
    sure = 1.0 if surely else np.exp(-((mean.sum() / ACTIVE) ** 2)) * _extent(found @ _ACTS)[1]
    return controls.to_curves(sure * mean) * RESTING


def _taken_for_rest(refiner: Refiner, shots: Sequence[Shot], person: Person) -> np.ndarray:
    """By how much the curves (52,) are larger, in the mean of the frames, where they are of the average person.

    A smile that is never seen to end is a wide mouth as well; where all frames show an act, the rest of most people
    tells. The mesh stays where it is: what the curves gain, the face at rest loses.
    """
    average = person._replace(identity=np.zeros_like(person.identity), rest=np.zeros_like(person.rest))
    own, usual = (
        np.mean([frame.curves for frame in _fitted(refiner, shots, one)], axis=0) for one in (person, average)
    )
    return (usual - own) * _OF_A_FACE


def at_rest(said: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Tell how surely each of N frames shows a face at rest (N,), 0..1: the least active of a clip do, if they are not
    very active, and others are more so.

    Args:
        said: (N,47) what the network says of their controls.
        eyes: (N,) heights of the eyes, inter-ocular distances; eyes that are wider open than in half of the frames act.
    """
    if not len(said):
        return np.zeros(0)
    activity = said @ _ACTS + (eyes - np.median(eyes)).clip(0) / WIDE
    least, varied = _extent(activity)
    rest = varied * np.exp(-(((activity - least).clip(0) / 0.25) ** 2) - (least / ACTIVE) ** 2)
    return rest if rest.max() > DOUBTFUL else np.zeros(len(rest))


@torch.no_grad()
def shows_rest(network: I2ZNet, features: Features) -> bool:
    """Tell whether a tenth of N frames of one person show a face that may be at rest, by what the un-adapted network
    says."""
    curves = _answers(network, features)[1].double().cpu().numpy()
    return _extent(np.array([controls.to_controls(curve) for curve in curves]) @ _ACTS)[0] < RESTLESS


def _acts_throughout(said: np.ndarray) -> float:
    """Tell by what the network says of N frames' controls (N,47) how surely all of them show an act, 0..1."""
    return (1 - float(np.exp(-((_extent(said @ _ACTS)[0] / ACTIVE) ** 2)))) ** 2 if len(said) else 0.0


def _extent(activity: np.ndarray) -> tuple[float, float]:
    """The least of the activity (N,) of a clip's frames, and how surely that is another than the most, 0..1."""
    least, most = np.quantile(activity, [0.1, 0.9])
    return float(least), 1 - float(np.exp(-(((most - least) / VARIED) ** 2)))


@torch.no_grad()
def find_subject(
    network: I2ZNet,
    refiner: Refiner | None,
    features: Features,
    mirrored: Features | None = None,
    neutral: np.ndarray | None = None,
    known: Person | None = None,
) -> Subject:
    """Find the subject of N frames of one person, by the un-adapted network and, where there is one, the refiner.

    `mirrored` are the features of the frames' mirror images, where there are such: to the network left and right are
    not alike, and a gaze that it sees aside would become the person's. `neutral` and `known` as for `fit_person`.
    """
    pooled, curves, poses = _answers(network, features)
    identity = pooled[: network.config.identity]
    if refiner is None or features.points is None:
        return Subject(pooled, identity)
    if mirrored is not None:
        _, other, there = _answers(network, mirrored)
        curves = (curves + other[:, list(OTHER_SIDE)]) / 2
        poses = (poses + mirrored_pose(there, CROP_SIZE)) / 2
    pairs = zip(*(part.double().cpu().numpy() for part in (features.points, curves, poses)), strict=True)
    shots = [Shot(points, Refined.of(curve, pose)) for points, curve, pose in pairs]
    found = fit_person(refiner, shots, identity.cpu().numpy(), neutral, known)
    rest = torch.from_numpy(found.rest).float()
    return Subject(pooled, torch.from_numpy(found.identity).to(pooled), found.inverse_distance, rest)


def _answers(network: I2ZNet, features: Features) -> tuple[Tensor, Tensor, Tensor]:
    """What a network says of N frames of one person: the pooled subject (112,), curves (N,52) and poses (N,6)."""
    heads, config = network.heads, network.config
    pooled = heads.pool(features, heads.regress(features).subject)[0]
    codes = heads.regress(features, pooled.expand(len(features.for_z), -1))
    return pooled, codes.z[:, config.identity :][:, : config.expression], codes.pose
