"""The range of a rig: closed forms in tables and scenes, one look for two eyes, moments of a take."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.tracker.export import export
from selftrack.tracker.export.curve_range import CurveRange, in_range, learn_ranges, read_ranges, write_ranges
from selftrack.tracker.export.gaze import gaze_directions
from selftrack.tracker.results.smoothing import CleanConfig, clean
from selftrack.tracker.results.track_file import Track

MakeTrack = Callable[..., Track]
JAW = np.array([0.0, 0.05, 0.25, 0.65, 1.0])
MAPPED = [0, 0, 0.3, 0.8, 0.8]  # clip((jaw - 0.05) * 1.5, 0, 0.8)
RANGES = {"jawOpen": CurveRange(0.05, 1.5, 0.8)}


@pytest.fixture
def opening(make_track: MakeTrack) -> Track:
    """Five frames of a jaw that opens, while a smile stays and the eyes look to the subject's left and up."""
    look = {"eyeLookOutLeft": 0.4, "eyeLookInRight": 0.4, "eyeLookUpLeft": 0.2, "eyeLookUpRight": 0.2}
    return make_track(np.arange(5) / 25, {"jawOpen": JAW, "mouthSmileLeft": 0.5} | look)


def test_in_tables_and_in_scenes(opening: Track, tmp_path: Path) -> None:
    """The curve is the closed form, in the .glb, too; others stay, and what was tracked is beside them."""
    opening.save(tmp_path)
    header, *rows = csv.reader(export(tmp_path, "csv", ranges=RANGES).read_text().splitlines())
    read = dict(zip(header, np.array(rows, float).T, strict=True))
    np.testing.assert_allclose(read["jawOpen"], MAPPED, atol=1e-6)
    np.testing.assert_allclose(read["jawOpen_raw"], JAW, atol=1e-6)
    np.testing.assert_allclose(read["mouthSmileLeft"], 0.5, atol=1e-6)
    header, *rows = csv.reader(export(tmp_path, "livelink", ranges=RANGES).read_text().splitlines())
    np.testing.assert_allclose([float(row[header.index("JawOpen")]) for row in rows], MAPPED, atol=1e-6)
    glb = pygltflib.GLTF2().load(str(export(tmp_path, "glb", ranges=RANGES)))
    sampler = next(c.sampler for c in glb.animations[0].channels if c.target.path == "weights")
    view = glb.bufferViews[glb.accessors[glb.animations[0].samplers[sampler].output].bufferView]
    blob = glb.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    weights = np.frombuffer(blob, "<f4").reshape(5, 52)
    np.testing.assert_allclose(weights[:, ARKIT_NAMES.index("jawOpen")], MAPPED, atol=1e-6)


def test_the_mesh_goes_with_the_curves(opening: Track, make_track: MakeTrack) -> None:
    like = make_track(opening.times, opening.curves() | {"jawOpen": np.array(MAPPED)})
    np.testing.assert_allclose(in_range(opening, RANGES).vertices(), like.vertices(), atol=1e-3)


def test_the_gaze_goes_with_the_curves(opening: Track) -> None:
    """Twice the curves sideways is twice the iris's way, and both eyes go it alike."""
    sideways = dict.fromkeys(["eyeLookOutLeft", "eyeLookInRight"], CurveRange(gain=2))
    before, after = gaze_directions(opening), gaze_directions(in_range(opening, sideways))
    up = before[..., 1] - gaze_directions(in_range(opening, {n: CurveRange(neutral=0.9) for n in sideways}))[..., 1]
    np.testing.assert_allclose(after[..., 0], 2 * before[..., 0], rtol=0.02)
    assert (before[..., 0] > 0.2).all() and np.abs(up).max() < 0.02


def test_clean_up_comes_first(make_track: MakeTrack, tmp_path: Path) -> None:
    noise = 0.3 + np.random.default_rng(0).normal(0, 0.005, 200)
    track = make_track(np.arange(200) / 30, {"jawOpen": noise})
    track.save(tmp_path)
    header, *rows = csv.reader(
        export(tmp_path, "csv", None, None, CleanConfig(), None, RANGES).read_text().splitlines()
    )
    read = dict(zip(header, np.array(rows, float).T, strict=True))
    cleaned = clean(track, CleanConfig()).curves()["jawOpen"].astype(float)
    np.testing.assert_allclose(read["jawOpen"], ((cleaned - 0.05) * 1.5).clip(0, 0.8), atol=6e-6)
    np.testing.assert_allclose(read["jawOpen_raw"], noise, atol=6e-6)


def test_what_is_learned_from_moments(make_track: MakeTrack, tmp_path: Path) -> None:
    """At rest 0, at the full moment 1, in the export itself; a blink within the moment does not count."""
    times = np.arange(100) / 25
    jaw = np.interp(times, [0, 1, 3, 4], [0.1, 0.1, 0.5, 0.5])
    blink = np.where(np.arange(100) == 10, 1.0, 0.05)
    still = {"jawOpen": jaw, "mouthSmileLeft": 0.3, "mouthSmileRight": 0.25, "eyeBlinkLeft": blink}
    gaze = {"eyeLookUpLeft": 0.3, "eyeLookUpRight": 0.3}
    track = make_track(times, still | gaze, lost=[11])
    write_ranges(learn_ranges(track, 0.4, {"jawOpen": 3.5, "eyeLookUp": 3.5}), tmp_path / "hero.json")
    ranges = read_ranges(tmp_path / "hero.json")
    assert set(ranges) == set(still) | set(gaze)
    assert ranges["jawOpen"] == CurveRange(0.1, 2.5) and ranges["eyeBlinkLeft"].neutral == 0.05
    curves = in_range(track, ranges).curves()
    np.testing.assert_allclose(curves["jawOpen"][[10, 90]], [0, 1], atol=1e-3)
    np.testing.assert_allclose([curves["mouthSmileLeft"][0], curves["eyeBlinkLeft"][10]], [0, 1], atol=1e-3)
    np.testing.assert_allclose([curves[name][90] for name in gaze], 1, atol=1e-3)
    both = learn_ranges(track, None, {"mouthSmile": 0.4})
    assert both == {"mouthSmileLeft": CurveRange(gain=3.3333), "mouthSmileRight": CurveRange(gain=4)}


@pytest.mark.parametrize(
    ("rest", "full", "words"),
    [
        (9.0, {}, "--neutral: no face was found around second 9; the track goes from 0.00 to 0.16"),
        (0.16, {}, "--neutral 0.16: no resting face, jawOpen is 0.65"),
        (0.0, {"jawOpen": 0.0}, "jawOpen is 0.05 there, and 0.05 at rest; name a second at which it is up"),
        (None, {"jawOpn": 0.1}, "--full: there is no curve 'jawOpn'; did you mean jawOpen"),
    ],
)
def test_moments_that_teach_nothing(opening: Track, rest: float | None, full: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        learn_ranges(opening, rest, full)


def test_a_file_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hero.json: cannot be read as JSON \(No such file or directory\); make one"):
        read_ranges(tmp_path / "hero.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"jawOpn": {}}', "no curve 'jawOpn'; did you mean jawOpen"),
        ('{"jawOpen": {"gian": 1}}', "jawOpen.gian"),
        ('{"jawOpen": {"gain": 0}}', "gain above 0"),
        ('{"jawOpen": {"gain": NaN}}', "gain above 0"),
        ('{"jawOpen": {"max": 1.5}}', "max above 0 and at most 1"),
        ('{"jawOpen": {"neutral": 1}}', "below 1"),
        ('{"jawOpen": 2}', "jawOpen"),
        ("[1]", "curves by name"),
        ("{", "cannot be read as JSON"),
        ('{"eyeLookOutLeft": {"gain": 2}}', "eyeLookInRight"),
    ],
)
def test_a_file_that_cannot_be_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "hero.json").write_text(text)
    with pytest.raises(UserError, match=words) as refused:
        read_ranges(tmp_path / "hero.json")
    assert "\n" not in str(refused.value) and "hero.json" in str(refused.value)


def test_a_decoder_with_other_curves_is_refused(opening: Track) -> None:
    with pytest.raises(UserError, match="ranges are of ARKit's curves"):
        learn_ranges(replace(opening, curve_names=tuple(f"{i}" for i in range(52))), 0.0, {})
