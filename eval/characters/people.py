"""People whose shapes are tracked: drawn ones, whose sliders are known, and real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrack.decoders.head.model import Head
from selftrack.decoders.makehuman.sliders import Sliders
from selftrack.synthetic.cameras import CameraConfig
from selftrack.synthetic.expressions import sample_expression
from selftrack.synthetic.rigs.makehuman import MakeHumanPopulation
from selftrack.synthetic.studio import Studio, StudioConfig
from selftrack.tracker.clips.subjects import PersonConfig, find_face
from selftrack.tracker.geometry.crop import face_crop
from selftrack.tracker.identity.descriptor import Sample
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.makehuman.reading import MANY
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import TrackerConfig

STUDIO = StudioConfig(picture=256, camera=CameraConfig((0.5, 3.0), yaw=0.25, pitch=0.12, roll=0.1), occluder=0.0)
"""People are seen from about the front, as in a photo."""
STREAM = 905_114
"""Second word of the seeds here, so that nobody trained a network."""
SINGLE = (0, 5)
"""Pictures of somebody drawn that are read by themselves, too."""


class Drawn(NamedTuple):
    """Somebody who was drawn, and the identity that was tracked."""

    sliders: np.ndarray
    """(K,)"""
    single: np.ndarray
    """(P,60) of single pictures."""
    many: np.ndarray
    """(60,) of all pictures."""


class Real(NamedTuple):
    """Somebody real, and the identity that was tracked."""

    single: np.ndarray
    """(P,60) of single pictures."""
    many: np.ndarray | None
    """(60,) of `MANY` pictures or more; None where there are less."""


def studio_of(head: Head, sliders: Sliders) -> Studio:
    """Where people of these sliders are drawn."""
    return Studio(head, STUDIO, MakeHumanPopulation(head, sliders))


def draw(model: Model, studio: Studio, seed: int) -> Drawn | None:
    """Draw somebody, and read pictures of them; None where too few show a face."""
    rng = np.random.default_rng([seed, STREAM])
    person, faces = studio.people.sample(rng), []
    for _ in range(2 * MANY):
        image = studio.shoot(rng, person, sample_expression(rng)).picture
        found = model.landmarks.faces(image, DetectConfig())
        faces += [face_crop(image, found[0].points)] if found else []
        if len(faces) == MANY:
            break
    else:
        return None
    single = [_identity(model, [faces[row]]) for row in SINGLE]
    return Drawn(person.sliders, np.stack(single), _identity(model, faces))


def draw_all(model: Model, studio: Studio, seeds: Iterable[int]) -> list[Drawn]:
    """Draw people, those whose face is seen in too few pictures left out."""
    found = (draw(model, studio, seed) for seed in seeds)
    return [one for one in found if one is not None]


def read_real(model: Model, path: Path) -> list[Real]:
    """Track the people of a photo or clip as `track` does."""
    with open_source(path) as source:
        faces = find_face(source, model, TrackerConfig(), PersonConfig()).everyone
    found = []
    for face in faces:
        rows = (0, len(face.samples) // 2) if len(face.samples) > 1 else (0,)
        single = [_identity(model, [face.samples[row]]) for row in rows]
        found.append(Real(np.stack(single), _identity(model, face.samples) if len(face.samples) >= MANY else None))
    return found


def _identity(model: Model, faces: Sequence[Sample]) -> np.ndarray:
    return model.subject(Crops.of(faces)).identity.double().numpy()
