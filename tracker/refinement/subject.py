"""What is one person's in all frames: the identity that the detected points show, found in turns with the frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from selftrack.tracker.network.i2znet import Features, I2ZNet
from selftrack.tracker.refinement import controls
from selftrack.tracker.refinement.refiner import Refined, Refiner

INDEPENDENT = 20.0
"""Frames of one clip say the same again: they count as no more than so many."""
PEOPLE = 10.0
"""Weight of what the network says, in deviations of people: the detector's constant errors look like identity, too."""
LENS = (0.8, 0.8)
"""Mean and standard deviation of the inverse distance of cameras, 1/metres."""
NEAREST = 3.0
"""The largest inverse distance: nobody holds a camera nearer."""
ROUNDS = 4
REST = 40.0
"""How many times more the curves of a face that is surely at rest are held at 0."""


class Subject(NamedTuple):
    """Who is seen in a clip, and through which camera."""

    network: Tensor
    """(112,) identity and mean expression, pooled by the network, which is conditioned on them; (0,) for a personal
    model."""
    identity: Tensor
    """(60,) of the face; (0,) for a personal model."""
    inverse_distance: float = 0.0
    """Of the camera, 1/metres."""


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
    inverse_distance: float
    """Of the camera, 1/metres."""


class PersonFit:
    """The person by all frames added so far, near what the network says of the identity, within the deviations of
    people.

    Each frame's curves and pose are eliminated from its least squares (the Schur complement), so that the identity is
    found together with those of all frames: a face that is always a little so is so at rest, for that costs once.
    """

    def __init__(self, refiner: Refiner, identity: np.ndarray, lens: bool = False) -> None:
        """`identity` (K,) is the first guess, `refiner` has that of the camera, which is found with `lens`."""
        self._person = Person(identity.astype(float), refiner.inverse_distance)
        self._lens, self._refiner = lens, refiner
        size = len(identity) + 1
        self._normal, self._right = np.zeros((size, size)), np.zeros(size)
        self._count = 0

    def add(self, points: np.ndarray, network: Refined, frame: Refined, rest: float = 0.0) -> None:
        """Add a frame with points (L,2) and the network's answer, as it is fitted with the present identity; `rest`
        tells how surely it shows the face at rest, 0..1."""
        face = self._refiner.face(self._person.identity)
        normal, right = self._refiner.eliminated(points, network, frame, face, REST * rest)
        self._count += 1
        self._normal += (normal - self._normal) / self._count
        self._right += (right + normal @ np.append(*self._person) - self._right) / self._count

    def solve(self, network: np.ndarray) -> Person:
        """Find the person by the frames added so far, near what the `network` (K,) says of the identity."""
        share = min(self._count, INDEPENDENT)
        usual, spread = LENS
        precision = np.append(np.full(len(network), PEOPLE), spread**-2)
        normal = share * self._normal + np.diag(precision)
        right = share * self._right + precision * np.append(network, usual)
        distance = self._person.inverse_distance
        if self._lens:
            distance = float(np.linalg.solve(normal, right)[-1].clip(0, NEAREST))
        identity = np.linalg.solve(normal[:-1, :-1], right[:-1] - normal[:-1, -1] * distance)
        self._person = Person(identity, distance)
        return self._person


def fit_person(refiner: Refiner, shots: Sequence[Shot], network: np.ndarray) -> Person:
    """Find a person and the camera by frames of a clip, together with each frame's curves and pose.

    `network` (K,) is what the network says of the identity.
    """
    person, poses = Person(network.astype(float), refiner.inverse_distance), [shot.network.pose for shot in shots]
    rest = at_rest(np.array([shot.network.controls for shot in shots]))
    for _ in range(ROUNDS if shots else 0):
        through = refiner.through(person.inverse_distance)
        fit = PersonFit(through, person.identity, lens=True)
        for row, shot in enumerate(shots):
            start = shot.network._replace(pose=poses[row])
            frame = through(shot.points, start, through.face(person.identity))
            fit.add(shot.points, shot.network, frame, rest[row])
            poses[row] = frame.pose
        person = fit.solve(network)
    return person


def at_rest(said: np.ndarray) -> np.ndarray:
    """Tell how surely each of N frames shows a face at rest (N,), 0..1, by what the network says of their controls
    (N,47): the least active tenth of a clip do, if they are not very active."""
    if not len(said):
        return np.zeros(0)
    others = [not name.startswith(("eye", "gaze", "vergence")) for name in controls.NAMES]
    activity = said[:, others].sum(1)
    least = np.quantile(activity, 0.1)
    return np.exp(-(((activity - least).clip(0) / 0.25) ** 2) - (least / 2) ** 2)


@torch.no_grad()
def find_subject(network: I2ZNet, refiner: Refiner | None, features: Features) -> Subject:
    """Find the subject of N frames of one person, by the un-adapted network and, where there is one, the refiner."""
    heads = network.heads
    pooled = heads.pool(features, heads.regress(features).subject)[0]
    identity = pooled[: network.config.identity]
    if refiner is None or features.points is None:
        return Subject(pooled, identity)
    codes = heads.regress(features, pooled.expand(len(features.points), -1))
    curves = codes.z[:, network.config.identity :][:, : network.config.expression].cpu().numpy()
    pairs = zip(features.points.double().cpu().numpy(), curves, codes.pose.cpu().numpy(), strict=True)
    shots = [Shot(points, Refined.of(curve, pose)) for points, curve, pose in pairs]
    found = fit_person(refiner, shots, identity.cpu().numpy())
    return Subject(pooled, torch.from_numpy(found.identity).to(pooled), found.inverse_distance)
