"""Named expressions: closed forms, what a face can show, every export, and what the mesh does."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import Head, load_head
from selftrack.errors import UserError
from selftrack.tracker.export import export
from selftrack.tracker.export.curve_range import CurveRange
from selftrack.tracker.export.presets import Expression, read_presets
from selftrack.tracker.results.track_file import Track

MakeTrack = Callable[..., Track]
HEAD = load_head()
TIMES = np.arange(3) / 25


def curves(**values: float) -> np.ndarray:
    out = np.zeros(52)
    for name, value in values.items():
        out[ARKIT_NAMES.index(name)] = value
    return out


def over(track: Track, alone: bool = False, **values: float) -> dict[str, np.ndarray]:
    """The curves of a track under an expression of these curves."""
    return Expression(curves(**values), alone).over(track).curves()


def test_it_fills_the_room_that_is_left(make_track: MakeTrack) -> None:
    track = make_track(TIMES, {"jawOpen": np.array([0, 0.4, 1]), "cheekPuff": 0.3})
    edited = over(track, jawOpen=0.3)
    np.testing.assert_allclose(edited["jawOpen"], [0.3, 0.4 + 0.6 * 0.3, 1], atol=1e-6)
    np.testing.assert_array_equal(edited["cheekPuff"], track.curves()["cheekPuff"])


def test_of_two_that_exclude_one_another_the_difference_remains(make_track: MakeTrack) -> None:
    """A smile under a frown; eyes that are shut stay shut, whatever opens them."""
    track = make_track(TIMES, {"mouthSmileLeft": np.array([0, 0.2, 0.9]), "eyeBlinkLeft": np.array([0, 0.5, 1])})
    edited = over(track, mouthFrownLeft=0.8, eyeWideLeft=0.6)
    np.testing.assert_allclose(edited["mouthFrownLeft"], [0.8, 0.8 * 0.8 - 0.2, 0], atol=1e-6)
    np.testing.assert_allclose(edited["mouthSmileLeft"], [0, 0, 0.9 - 0.1 * 0.8], atol=1e-6)
    np.testing.assert_allclose(edited["eyeBlinkLeft"], [0, 0.5 - 0.5 * 0.6, 1], atol=1e-6)
    np.testing.assert_allclose(edited["eyeWideLeft"], [0.6, 0, 0], atol=1e-6)


@pytest.mark.parametrize("name", ["happy", "angry", "disgusted"])
def test_eyes_that_look_apart_stay_under_what_does_not_move_them(make_track: MakeTrack, name: str) -> None:
    """As a table or another tracker may have them."""
    track = make_track(TIMES, {"eyeLookUpLeft": 0.6, "eyeLookDownRight": 0.2, "eyeLookOutRight": 0.3})
    edited = Expression.of({name: 1.0}, read_presets()).over(track)
    look = [at for at, curve in enumerate(ARKIT_NAMES) if curve.startswith("eyeLook")]
    np.testing.assert_array_equal(edited.curve_values[:, look], track.curve_values[:, look])


def test_alone_it_stands_in_place_of_the_performance(make_track: MakeTrack) -> None:
    track = make_track(TIMES, {"jawOpen": 0.7, "eyeLookUpLeft": 0.5, "eyeLookUpRight": 0.5}, ry=0.1 * TIMES)
    edited = Expression(curves(mouthPucker=0.4), alone=True).over(track)
    np.testing.assert_allclose(edited.curve_values, np.tile(curves(mouthPucker=0.4), (3, 1)), atol=1e-6)
    np.testing.assert_array_equal(edited.H_image, track.H_image)


def test_several_add_up_to_what_a_face_can_show() -> None:
    presets = {"a": curves(mouthSmileLeft=0.8, jawOpen=0.8), "b": curves(mouthFrownLeft=0.4, jawOpen=0.6)}
    both = Expression.of({"a": 0.5, "b": 1.0}, presets).curves
    np.testing.assert_allclose(both, curves(jawOpen=1.0), atol=1e-6)
    assert not Expression.of({"a": 0.0}, presets).curves.any()


@pytest.mark.parametrize("name", sorted(read_presets()))
def test_over_any_performance_a_face_can_show_it(name: str, make_track: MakeTrack) -> None:
    """Of random acts, as they are tracked: within 0..1, nothing with its opposite, lips that close no more than the jaw
    opens, eyes that look at one point."""
    rng = np.random.default_rng(0)
    acts = {curve: rng.random(50) ** 2 for curve in ARKIT_NAMES if not curve.startswith("eyeLook")}
    opposites = [("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")]
    for side in ("Left", "Right"):
        pairs = (("mouthSmile", "mouthFrown"), ("browDown", "browOuterUp"), ("eyeWide", "eyeBlink"))
        opposites += [(a + side, b + side) for a, b in pairs]
    for a, b in opposites:
        acts[a], acts[b] = (acts[a] - acts[b]).clip(0), (acts[b] - acts[a]).clip(0)
    acts["mouthClose"] = np.minimum(acts["mouthClose"], acts["jawOpen"])
    turn = rng.uniform(-1, 1, 50)
    acts |= dict.fromkeys(["eyeLookOutLeft", "eyeLookInRight"], turn.clip(0))
    acts |= dict.fromkeys(["eyeLookInLeft", "eyeLookOutRight"], (-turn).clip(0))
    for intensity in (0.3, 1.0):
        edited = Expression.of({name: intensity}, read_presets()).over(make_track(np.arange(50) / 25, acts)).curves()
        assert all(values.min() >= 0 and values.max() <= 1 for values in edited.values())
        assert all(np.minimum(edited[a], edited[b]).max() < 1e-6 for a, b in opposites)
        assert (edited["mouthClose"] <= edited["jawOpen"] + 1e-6).all()
        for side, other in (("Left", "Right"), ("Right", "Left")):
            inwards = edited[f"eyeLookIn{side}"] - edited[f"eyeLookOut{side}"]
            assert (inwards >= edited[f"eyeLookOut{other}"] - edited[f"eyeLookIn{other}"] - 1e-6).all(), "they diverge"


def test_it_is_in_every_export(make_track: MakeTrack, tmp_path: Path) -> None:
    """Curves and mesh are those of a performance that did it; the range of a rig comes after it."""
    track = make_track(TIMES, {"jawOpen": 0.5})
    track.save(tmp_path)
    expression = Expression(curves(jawOpen=0.4, mouthSmileLeft=0.6))
    like = make_track(TIMES, {"jawOpen": 0.7, "mouthSmileLeft": 0.6})
    read = np.load(export(tmp_path, "vertices", expression=expression))
    np.testing.assert_allclose(read["verts"], like.vertices(), atol=1e-3)
    header, *rows = csv.reader(export(tmp_path, "livelink", expression=expression).read_text().splitlines())
    assert [float(row[header.index("JawOpen")]) for row in rows] == pytest.approx([0.7] * 3, abs=1e-5)
    ranges = {"jawOpen": CurveRange(gain=0.5)}
    path = export(tmp_path, "csv", None, None, None, None, ranges, expression)
    header, *rows = csv.reader(path.read_text().splitlines())
    table = dict(zip(header, np.array(rows, float).T, strict=True))
    np.testing.assert_allclose(table["jawOpen"], 0.35, atol=1e-6)
    np.testing.assert_allclose(table["jawOpen_raw"], 0.5, atol=1e-6)


def test_the_bundled_ones_do_what_their_names_say() -> None:
    """On the mean head, in metres: how corners of the mouth and brows rise, lids open and lips part."""
    presets = read_presets()
    rest = measured(np.zeros(52))
    moved = {name: {key: value - rest[key] for key, value in measured(one).items()} for name, one in presets.items()}
    assert moved["happy"]["corners"] > 0.004 and moved["happy"]["width"] > 0.006
    assert moved["sad"]["corners"] < -0.002 and moved["sad"]["inner brows"] > 0.0015
    assert moved["angry"]["inner brows"] < -0.004 and moved["angry"]["lids"] < -0.001
    assert moved["surprised"]["lips"] > 0.01 and moved["surprised"]["outer brows"] > 0.003
    assert moved["surprised"]["lids"] > 0.0015 and moved["fearful"]["lids"] > 0.0015
    assert moved["fearful"]["inner brows"] > 0.003 and moved["fearful"]["width"] > 0.002
    assert moved["disgusted"]["upper lip"] > 0.002 and moved["disgusted"]["inner brows"] < -0.003
    assert all(abs(value) < 0.003 for value in moved["calm"].values())
    lopsided = points(presets["contemptuous"]) - points(np.zeros(52))
    assert lopsided[48, 1] - lopsided[54, 1] > 0.003, "one corner rises"


def points(values: np.ndarray) -> np.ndarray:
    """(68,3) the points of 300-W of the mean head with curves (52,), y down."""
    z = torch.zeros(1, HEAD.size)
    z[0, HEAD.expression] = torch.from_numpy(values).float()
    return HEAD.landmarks(68)(HEAD.geometry(z))[0].numpy()


def measured(values: np.ndarray) -> dict[str, float]:
    x, y, _ = points(values).T
    return {
        "corners": y[[51, 57]].mean() - y[[48, 54]].mean(),
        "width": x[54] - x[48],
        "lips": y[66] - y[62],
        "upper lip": y[33] - y[51] - (points(np.zeros(52))[33, 1] - points(np.zeros(52))[51, 1]),
        "inner brows": y[[39, 42]].mean() - y[[21, 22]].mean(),
        "outer brows": y[[36, 45]].mean() - y[[17, 18, 25, 26]].mean(),
        "lids": y[[40, 41, 46, 47]].mean() - y[[37, 38, 43, 44]].mean(),
    }


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    """It comes beside the bundled ones and before them; a name without a side is for both."""
    path = tmp_path / "mine.yaml"
    path.write_text("grin: {mouthSmile: 0.9, jawOpen: 1}\nhappy:\n  mouthSmileLeft: 0.5\n")
    presets = read_presets(path)
    np.testing.assert_allclose(presets["grin"], curves(mouthSmileLeft=0.9, mouthSmileRight=0.9, jawOpen=1))
    np.testing.assert_allclose(presets["happy"], curves(mouthSmileLeft=0.5))
    assert "sad" in presets


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grin: {mouthSmil: 1}", "grin: there is no curve 'mouthSmil'; did you mean mouthSmile"),
        ("grin: {jawOpen: 1.5}", "grin: jawOpen must be from 0 to 1; got 1.5"),
        ("grin: {mouthSmile: .5, mouthFrown: .5}", "grin: no face shows mouth.* with the others"),
        ("grin: {mouthClose: .5}", "grin: no face shows .* with the others"),
        ("grin: {eyeLookOutLeft: .5}", "grin: no face shows eyeLook.* with the others"),
        ("grin: {jawOpen: wide}", "grin: jawOpen is not as it must be"),
        ("- grin", "the file is not as it must be; an expression is written as grin: {mouthSmile: 0.9}"),
        ("grin: {", "cannot be read as YAML"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as refused:
        read_presets(path)
    assert "\n" not in str(refused.value)


def test_it_needs_weights_of_arkits_shapes(make_track: MakeTrack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Head, "has_blendshapes", False)
    with pytest.raises(UserError, match="--preset is for ARKit's curves as weights of shapes"):
        Expression(curves(jawOpen=0.5)).over(make_track(TIMES))
