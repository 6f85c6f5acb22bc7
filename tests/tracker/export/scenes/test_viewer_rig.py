"""A rig of the user's own that is dropped onto the viewer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.export import write
from selftrack.tracker.results.track_file import Track

DROP = """const [data, done] = arguments, bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
const held = new DataTransfer();
held.items.add(new File([bytes], "rig.glb"));
document.getElementById("head").dispatchEvent(
  new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: held}));
const note = document.getElementById("rig-note"), before = note.textContent;
const wait = () => note.textContent === before ? setTimeout(wait, 20) : done(note.textContent);
wait();"""


def rig(names: dict[str, int]) -> bytes:
    """A triangle in glTF with morph targets of these names, each moving it by so much along x."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4")
    parts = [corners, *(np.tile(np.array([move, 0, 0], "<f4"), (3, 1)) for move in names.values())]
    document = pygltflib.GLTF2(asset=pygltflib.Asset(version="2.0"), scene=0, scenes=[pygltflib.Scene(nodes=[0])])
    for i, part in enumerate(parts):
        document.bufferViews.append(pygltflib.BufferView(buffer=0, byteOffset=36 * i, byteLength=36))
        bounds = {"min": part.min(0).tolist(), "max": part.max(0).tolist()}
        document.accessors.append(
            pygltflib.Accessor(bufferView=i, componentType=pygltflib.FLOAT, count=3, type="VEC3", **bounds)
        )
    targets = [{"POSITION": 1 + i} for i in range(len(names))]
    primitive = pygltflib.Primitive(attributes=pygltflib.Attributes(POSITION=0), targets=targets)
    document.meshes.append(pygltflib.Mesh(primitives=[primitive], extras={"targetNames": list(names)}))
    document.nodes.append(pygltflib.Node(mesh=0))
    document.buffers = [pygltflib.Buffer(byteLength=36 * len(parts))]
    document.set_binary_blob(b"".join(part.tobytes() for part in parts))
    return b"".join(document.save_to_bytes())


def test_a_rig_that_is_dropped_does_the_same(browser: Any, make_track: Callable[..., Track], tmp_path: Path) -> None:
    """Names in any case, with _L for Left and after a prefix; others are left alone, and what is missing is said."""
    rng = np.random.default_rng(1)
    track = make_track(np.arange(9) / 25, {name: rng.random(9) for name in ARKIT_NAMES})
    browser.open(write(track, "viewer", tmp_path / "v.html"))
    spelled = {
        "JAWOPEN": "jawOpen",
        "mouthSmile_L": "mouthSmileLeft",
        "Face.eye_Blink_Right": "eyeBlinkRight",
        "blendShape1.ARKit_browInnerUp": "browInnerUp",
    }
    content = rig(dict.fromkeys([*spelled, "thumbUp"], 1))
    browser.seek(0.2)
    note = browser.wait(DROP, base64.b64encode(content).decode())
    assert note.startswith("rig.glb: 4 of 52 curves; not ")
    assert browser.run("return viewer.view()") == "rig"
    for row in (0, 3, 8):
        browser.seek(float(track.times[row]))
        weights = dict(browser.run("return viewer.rigWeights()"))
        assert set(weights) == set(spelled.values())
        for name, weight in weights.items():
            assert weight == pytest.approx(track.curves()[name][row], abs=1e-6)
    note = browser.wait(DROP, base64.b64encode(rig({"thumbUp": 1})).decode())
    assert "cannot be used: it has no morph targets with ARKit's names" in note
    note = browser.wait(DROP, base64.b64encode(b"no rig").decode())
    assert "rig.glb cannot be used" in note and browser.run("return viewer.view()") == "rig"
    assert browser.errors() == []
