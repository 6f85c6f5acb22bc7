"""The MakeHuman character of a tracked person: sliders with their deviations, colours, and the files of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from selftrack.decoders.head.model import Head, load_head
from selftrack.decoders.landmarks import POINTS
from selftrack.decoders.makehuman.mhm import mhm_text
from selftrack.decoders.makehuman.sliders import SLIDERS, Sliders, population
from selftrack.decoders.rigs.rebuilt import shaped_glb
from selftrack.decoders.rigs.shaped import ShapedMesh
from selftrack.errors import UserError
from selftrack.io import json_text
from selftrack.tracker.characters.placing import head_mesh
from selftrack.tracker.clips.notes import check_face
from selftrack.tracker.makehuman.colours import Colours, colours, eye_material
from selftrack.tracker.makehuman.files import FILES
from selftrack.tracker.makehuman.fit import Fitted, fit_sliders
from selftrack.tracker.makehuman.pictures import pictures
from selftrack.tracker.makehuman.portrait import portrait
from selftrack.tracker.makehuman.reading import Reading, ShapeCodes, evidence_of
from selftrack.tracker.results.texture import clip_texture
from selftrack.tracker.results.track_file import Track

SEEN = 0.9
"""A slider whose deviation is more than that share of the population's was not seen."""
NOT_VISIBLE = "not visible"


@dataclass(frozen=True)
class MakeHumanCharacter:
    """Somebody as a MakeHuman character."""

    fitted: Fitted
    """The sliders."""
    colours: Colours
    """Of skin and eyes."""
    pictures: int
    """That were counted, see `pictures`."""

    def table(self) -> dict[str, dict[str, float | bool]]:
        """Tell of each slider the value, its standard deviation, the population's, and whether it was seen."""
        usual = np.sqrt(population()[1].diagonal())
        rows = zip(SLIDERS, self.fitted.values, self.fitted.deviations, usual, strict=True)
        return {
            slider.name: {
                "value": round(float(value), 4),
                "deviation": round(float(deviation), 4),
                "population": round(float(most), 4),
                "seen": bool(deviation < SEEN * most),
            }
            for slider, value, deviation, most in rows
        }

    def told(self) -> list[str]:
        """Names of the sliders that the pictures tell from the most usual value, those that are farther from it than
        their standard deviation, the surest first."""
        off = np.abs(self.fitted.values - population()[0]) / self.fitted.deviations
        return [SLIDERS[row].name for row in np.argsort(-off) if off[row] > 1]


def find_character(track: Track) -> MakeHumanCharacter:
    """Find the sliders and the colours of the person of a track, whose clip is read for the colours.

    Raises:
        UserError: a track by another decoder than the bundled head or with fewer points, without a face, or whose clip
            is gone or another.
    """
    head = load_head()
    if track.decoder_hash != head.hash:
        raise UserError(f"{track.clip}: was tracked with another face model; track it with the bundled head")
    if track.landmarks.shape[1] != POINTS:
        points = f"{track.landmarks.shape[1]} points of the face"
        raise UserError(f"{track.clip}: was tracked by {points}; a character needs all {POINTS}: --landmarks mediapipe")
    check_face(track, track.clip)
    sliders, codes = Sliders.load(), ShapeCodes(head)
    count = pictures(track)
    evidence = evidence_of(track.identity.astype(float), Reading.load(count), codes, sliders)
    return MakeHumanCharacter(fit_sliders(sliders, evidence), colours(track), count)


def character_mesh(head: Head, sliders: Sliders, values: np.ndarray, texture: np.ndarray) -> ShapedMesh:
    """Shape the head of sliders (K,), with ARKit's shapes and a texture (T,T,3) uint8."""
    return replace(head_mesh(head), neutral=sliders.vertices(values), texture=texture)


def write_character(character: MakeHumanCharacter, track: Track, name: str, folder: Path) -> None:
    """Write `FILES` into a folder: what was found, MakeHuman's own file, the head and a picture."""
    head, sliders = load_head(), Sliders.load()
    texture = (255 * clip_texture(track).clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
    mesh = character_mesh(head, sliders, character.fitted.values, texture)
    skin, irises, whites = character.colours
    material = None if irises is None else eye_material(irises, whites)
    facts = {
        "name": name,
        "clip": track.clip,
        "pictures": character.pictures,
        "sliders": character.table(),
        "skin": {"colour": _hex(skin)},
        "eyes": {"colour": _hex(irises), "material": material or NOT_VISIBLE},
    }
    json_file, mhm, glb, png = (folder / file for file in FILES)
    json_file.write_text(json_text(facts), encoding="utf-8")
    mhm.write_text(mhm_text(character.fitted.values, name, material), encoding="utf-8")
    glb.write_bytes(shaped_glb(mesh))
    face = head.landmarks478.triangles.unique().numpy()
    cv2.imwrite(str(png), portrait(track, mesh, face)[..., ::-1])


def _hex(colour: np.ndarray | None) -> str:
    return NOT_VISIBLE if colour is None else "#" + "".join(f"{round(float(value)):02x}" for value in colour)
