"""Colours, head and picture of a character."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pygltflib
import pytest
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import LEFT_IRIS, RIGHT_IRIS
from selftrack.decoders.makehuman.mhm import read_mhm
from selftrack.decoders.makehuman.sliders import SLIDERS, Sliders, draw_sliders, population
from selftrack.decoders.rigs.gltf import read_gltf
from selftrack.errors import UserError
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.makehuman.character import MakeHumanCharacter, character_mesh, find_character, write_character
from selftrack.tracker.makehuman.colours import Colours, colours, eye_material
from selftrack.tracker.makehuman.files import FILES
from selftrack.tracker.makehuman.fit import Fitted
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.opening import source_hash

CHIN = "chin/chin-height-decr|incr"
SKIN, IRIS, WHITE = (200, 150, 120), (80, 81, 63), (200, 160, 100)
"""Blue eyes in yellow light."""


def drawn_track(make_track: Callable[..., Track], folder: Path, scale: float = 7.5) -> Track:
    """A track of three pictures of one colour, in which the irises have another, as large as `scale` says."""
    head, track = load_head(), make_track(np.arange(3) / 24, f=scale)
    pose = torch.from_numpy(track.H_image)
    with torch.no_grad():
        points = project(head.landmarks478(head.mean[None]).expand(3, -1, -1), pose)[..., :2].numpy()
    folder.mkdir()
    for row in range(3):
        image = np.full((360, 640, 3), SKIN, np.uint8)
        for first in (RIGHT_IRIS, LEFT_IRIS):
            radius = np.linalg.norm(points[row, first + 1 : first + 5] - points[row, first], axis=1).mean()
            centre = points[row, first].round().astype(int).tolist()
            cv2.circle(image, centre, round(3 * radius), WHITE, -1)
            cv2.circle(image, centre, round(1.1 * radius), IRIS, -1)
        cv2.imwrite(str(folder / f"img{row}.png"), image[..., ::-1])
    return replace(track, landmarks=points, clip=str(folder), clip_hash=source_hash(folder))


def test_colours_are_those_of_the_pixels(make_track: Callable[..., Track], tmp_path: Path) -> None:
    found = colours(drawn_track(make_track, tmp_path / "shot"))
    for colour, painted in zip(found, (SKIN, IRIS, WHITE), strict=True):
        assert colour is not None
        np.testing.assert_allclose(colour, painted, atol=1)


def test_a_slider_is_told_that_is_farther_from_the_usual_than_its_deviation() -> None:
    """Not from 0: people's usual age is 0.7."""
    names, (mean, _) = [slider.name for slider in SLIDERS], population()
    values = mean.copy()
    age, nose, chin = (names.index(name) for name in ("macrodetails/Age", "nose/nose-hump-decr|incr", CHIN))
    values[[age, nose, chin]] += 0.1, 0.3, -0.5
    character = MakeHumanCharacter(Fitted(values, 0.2**2 * np.eye(len(mean))), Colours(None, None, None), 1)
    assert values[age] > 0.2 and character.told() == [CHIN, "nose/nose-hump-decr|incr"]


def test_small_irises_have_no_colour(make_track: Callable[..., Track], tmp_path: Path) -> None:
    found = colours(drawn_track(make_track, tmp_path / "shot", scale=5.0))
    assert found.skin is not None and found.irises is None and found.whites is None


@pytest.mark.parametrize(
    ("colour", "material"),
    [((60, 40, 30), "brown"), ((150, 165, 180), "lightblue"), ((95, 105, 65), "green"), ((40, 60, 110), "deepblue")],
)
def test_eyes_get_the_nearest_material(colour: tuple[int, ...], material: str) -> None:
    assert eye_material(np.array(colour, float)) == material
    light = np.array([1.0, 0.8, 0.5])
    assert eye_material(0.7 * light * colour, 0.7 * light * 230) == material


def test_the_files_hold_one_character(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = drawn_track(make_track, tmp_path / "shot")
    character = find_character(track)
    write_character(character, track, "somebody", tmp_path)
    assert sorted(file.name for file in tmp_path.glob("makehuman.*")) == sorted(FILES)
    facts = json.loads((tmp_path / "makehuman.json").read_text())
    assert list(facts["sliders"]) == [slider.name for slider in SLIDERS]
    assert facts["pictures"] == 1 and facts["eyes"]["material"] == "blue" and facts["skin"]["colour"] == "#c89678"
    values = read_mhm((tmp_path / "makehuman.mhm").read_text(), "makehuman.mhm")
    np.testing.assert_allclose(values, character.fitted.values, atol=1e-6)
    for slider, value in zip(SLIDERS, values, strict=True):
        row = facts["sliders"][slider.name]
        assert row["value"] == pytest.approx(value, abs=1e-4) and 0 < row["deviation"] <= row["population"] + 1e-4
    picture = cv2.imread(str(tmp_path / "makehuman.png"))
    assert picture.shape[1] == 4 * picture.shape[0]
    assert all(part.std() > 5 for part in np.split(picture, 4, 1)[1:])


def test_the_head_is_that_of_the_sliders_with_arkits_shapes(tmp_path: Path) -> None:
    from selftrack.decoders.rigs.rebuilt import shaped_glb

    head, sliders = load_head(), Sliders.load()
    values = draw_sliders(np.random.default_rng(0))
    mesh = character_mesh(head, sliders, values, np.full((8, 8, 3), 128, np.uint8))
    path = tmp_path / "makehuman.glb"
    path.write_bytes(shaped_glb(mesh))
    read = read_gltf(path)
    assert tuple(read.names) == ARKIT_NAMES
    names = pygltflib.GLTF2().load(str(path)).meshes[0].extras["targetNames"]
    assert tuple(names) == ARKIT_NAMES
    size = np.ptp(read.neutral, axis=0)
    np.testing.assert_allclose(np.sort(size), np.sort(np.ptp(sliders.vertices(values), axis=0)), rtol=1e-4)


def test_a_track_of_another_face_model_is_refused(make_track: Callable[..., Track]) -> None:
    with pytest.raises(UserError, match="another face model"):
        find_character(replace(make_track(), decoder_hash="other"))


def test_another_clip_in_its_place_is_refused(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = drawn_track(make_track, tmp_path / "shot")
    cv2.imwrite(str(tmp_path / "shot" / "img0.png"), np.zeros((360, 640, 3), np.uint8))
    with pytest.raises(UserError, match="is not the clip that was tracked"):
        find_character(track)


def test_a_track_of_68_points_is_refused(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = drawn_track(make_track, tmp_path / "shot")
    with pytest.raises(UserError, match="68 points"):
        find_character(replace(track, landmarks=track.landmarks[:, :68]))
