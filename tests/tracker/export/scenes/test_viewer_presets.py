"""Named expressions in the viewer: the arithmetic of `--preset`, with keys, and through every kind of file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.export import export, write
from selftrack.tracker.export.edited import with_table
from selftrack.tracker.export.presets import Expression, read_presets
from selftrack.tracker.results.track_file import Track

ROUNDING = 1e-5  # of tables


def curves_of(text: str) -> np.ndarray:
    """(T,52) of a table."""
    header, *rows = csv.reader(text.splitlines())
    return np.array(rows, float)[:, [header.index(name) for name in ARKIT_NAMES]]


@pytest.fixture
def wild(make_track: Callable[..., Track]) -> Track:
    """Random acts, as no face shows them: smiles with frowns, lips that close more than the jaw opens, eyes apart."""
    rng = np.random.default_rng(0)
    return make_track(np.arange(40) / 25, {name: rng.random(40) ** 2 for name in ARKIT_NAMES})


def test_they_do_what_the_command_does(browser: Any, wild: Track, tmp_path: Path) -> None:
    """Each alone and two at once, over any performance."""
    browser.open(write(wild, "viewer", tmp_path / "v.html"))
    browser.click("edit")
    presets = read_presets()
    lines = browser.run("return [...document.querySelectorAll('.whole input')].map((slider) => slider.ariaLabel)")
    assert [line.removeprefix("Change ") for line in lines][-8:] == list(presets)
    for wanted in [{name: 0.7} for name in presets] + [{"happy": 1.0, "surprised": 1.0}, {"sad": 0.5, "calm": 0.25}]:
        for name, intensity in wanted.items():
            browser.change(name, intensity)
        expected = Expression.of(wanted, presets).over(wild).curve_values
        shown = curves_of(browser.run("return viewer.table()"))
        np.testing.assert_allclose(shown, expected, atol=ROUNDING, err_msg=str(wanted))
        browser.click("discard")
    assert browser.errors() == []


@pytest.fixture
def directed(editor: Any, acted: Track, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """The table of a take that is surprised more and more from 0.2 to 0.6 s, and whose left brow goes up by hand; and
    its curves (T,52), written out."""
    for time, intensity in ((0.2, 0.0), (0.6, 1.0)):
        editor.seek(time)
        editor.key("surprised")
        editor.change("surprised", intensity)
    editor.change("browOuterUpLeft", 0.05)
    saved = editor.save(tmp_path)
    weight = ((acted.times - 0.2) / 0.4).clip(0, 1)
    expected = dict(acted.curves())
    preset = dict(zip(ARKIT_NAMES, read_presets()["surprised"], strict=True))
    for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "jawOpen", "mouthFunnel"):
        expected[name] = expected[name] + (1 - expected[name]) * weight * preset[name]
    for side in ("Left", "Right"):  # of shut and wide the difference remains
        shut = expected[f"eyeBlink{side}"] - (1 - expected[f"eyeBlink{side}"]) * weight * preset[f"eyeWide{side}"]
        expected |= {f"eyeBlink{side}": shut.clip(0), f"eyeWide{side}": (-shut).clip(0)}
    expected["browOuterUpLeft"] = (expected["browOuterUpLeft"] + 0.05).clip(0, 1)
    assert editor.errors() == []
    return saved, np.stack([expected[name] for name in ARKIT_NAMES], 1)


def test_from_key_to_key_the_intensity_goes_in_proportion_to_time(
    directed: tuple[Path, np.ndarray], acted: Track
) -> None:
    saved, expected = directed
    np.testing.assert_allclose(with_table(acted, saved).curve_values, expected, atol=2 * ROUNDING)
    assert np.abs(expected - acted.curve_values).max() > 0.5


def read_npz(path: Path) -> np.ndarray:
    with np.load(path) as data:
        return data["curves"][:, [data["names"].tolist().index(name) for name in ARKIT_NAMES]]


def read_livelink(path: Path) -> np.ndarray:
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    at = [header.index(name[0].upper() + name[1:]) for name in ARKIT_NAMES]
    return np.array([[float(row[column]) for column in at] for row in rows])


def read_osc(path: Path) -> np.ndarray:
    frames = [dict(json.loads(line)["messages"]) for line in path.read_text(encoding="utf-8").splitlines()]
    return np.array([[frame[f"/face/{name}"][0] for name in ARKIT_NAMES] for frame in frames])


def read_vmc(path: Path) -> np.ndarray:
    frames = []
    for line in path.read_text(encoding="utf-8").splitlines():
        blends = [values for address, values in json.loads(line)["messages"] if address == "/VMC/Ext/Blend/Val"]
        named = {name.lower(): value for name, value in blends}
        frames.append([named[name.lower()] for name in ARKIT_NAMES])
    return np.array(frames)


def read_glb(path: Path) -> np.ndarray:
    document = pygltflib.GLTF2().load(str(path))
    (animation,), (mesh,) = document.animations, document.meshes
    (channel,) = [c for c in animation.channels if c.target.path == "weights"]
    accessor = document.accessors[animation.samplers[channel.sampler].output]
    start = document.bufferViews[accessor.bufferView].byteOffset
    weights = np.frombuffer(document.binary_blob(), "<f4", accessor.count, start).reshape(-1, len(ARKIT_NAMES))
    return weights[:, [mesh.extras["targetNames"].index(name) for name in ARKIT_NAMES]]


def read_usd(path: Path) -> np.ndarray:
    from pxr import Usd, UsdSkel

    stage = Usd.Stage.Open(str(path))
    (animation,) = [UsdSkel.Animation(prim) for prim in stage.Traverse() if prim.IsA(UsdSkel.Animation)]
    attribute, names = animation.GetBlendShapeWeightsAttr(), list(animation.GetBlendShapesAttr().Get())
    weights = np.array([attribute.Get(code) for code in attribute.GetTimeSamples()])
    return weights[:, [names.index(name) for name in ARKIT_NAMES]]


READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "csv": lambda path: curves_of(path.read_text(encoding="utf-8")),
    "npz": read_npz,
    "livelink": read_livelink,
    "osc": read_osc,
    "vmc": read_vmc,
    "glb": read_glb,
    "usd": read_usd,
}


def test_through_every_kind_of_file(
    directed: tuple[Path, np.ndarray], acted: Track, editor: Any, tmp_path: Path
) -> None:
    """Saved, taken by `--curves`, read by the rules of each format: tables, messages, scenes, the mesh, the page."""
    saved, expected = directed
    acted.save(tmp_path)
    for to, read in READERS.items():
        if to == "usd" and find_spec("pxr") is None:
            continue
        path = export(tmp_path, to, edited=saved)
        np.testing.assert_allclose(read(path), expected, atol=3 * ROUNDING, err_msg=to)
    with np.load(export(tmp_path, "vertices", edited=saved)) as data:
        z = acted.z.copy()
        z[:, acted.model().expression] = expected
        np.testing.assert_allclose(data["verts"], acted.with_codes(z).vertices(), atol=5e-3)  # pixels
    editor.open(export(tmp_path, "viewer", edited=saved))
    assert not editor.find("edited").is_displayed(), "it is another performance now"
    for row in (0, 8, 11, 24):
        editor.seek(float(acted.times[row]))
        weights = editor.run("return viewer.weights()")
        np.testing.assert_allclose([weights[name] for name in ARKIT_NAMES], expected[row], atol=3 * ROUNDING)
    assert editor.errors() == []
