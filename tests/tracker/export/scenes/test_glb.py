"""The .glb as other programs read it: geometry, weights, pose, camera; read back without the writer's code."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.tracker.export import ExportOptions, export, write
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
FACES = HEAD.faces.numpy()
OURS = np.array([1, -1, -1])  # glTF's axes are ours turned by 180 degrees about x
TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
MakeTrack = Callable[..., Track]


class Reader:
    """What the glTF 2.0 specification says an accessor's values are."""

    def __init__(self, path: Path) -> None:
        self.document = pygltflib.GLTF2().load(str(path))
        (self.mesh,) = self.document.meshes
        (self.primitive,) = self.mesh.primitives
        (self.animation,) = self.document.animations

    def _view(self, index: int, component: int, count: int) -> np.ndarray:
        view = self.document.bufferViews[index]
        assert view.byteOffset % 4 == 0 and view.byteStride is None
        blob = self.document.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
        return np.frombuffer(blob, TYPES[component])[:count]

    def accessor(self, index: int) -> np.ndarray:
        a = self.document.accessors[index]
        width = WIDTH[a.type]
        values = np.zeros((a.count, width), TYPES[a.componentType])
        if a.bufferView is not None:
            values[:] = self._view(a.bufferView, a.componentType, a.count * width).reshape(-1, width)
        if a.sparse is not None:
            n = a.sparse.count
            rows = self._view(a.sparse.indices.bufferView, a.sparse.indices.componentType, n)
            values[rows] = self._view(a.sparse.values.bufferView, a.componentType, n * width).reshape(-1, width)
        return values

    def attribute(self, name: str) -> np.ndarray:
        return self.accessor(getattr(self.primitive.attributes, name))

    def triangles(self) -> np.ndarray:
        return self.accessor(self.primitive.indices).reshape(-1, 3)

    def targets(self, name: str = "POSITION") -> np.ndarray:
        """(52,N,3)"""
        targets = self.primitive.targets
        return np.stack([self.accessor(t[name] if isinstance(t, dict) else getattr(t, name)) for t in targets])

    def channel(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        """Times (T,) and values (T,...) of a channel."""
        (channel,) = [c for c in self.animation.channels if c.target.path == path]
        sampler = self.animation.samplers[channel.sampler]
        assert sampler.interpolation == "LINEAR" and self.document.nodes[channel.target.node].mesh == 0
        times = self.accessor(sampler.input)[:, 0]
        return times, self.accessor(sampler.output).reshape(len(times), -1)

    def shapes(self, frame: int) -> np.ndarray:
        """Corners (F,3,3) of the triangles in a frame, mesh space."""
        weights = self.channel("weights")[1][frame].astype(float)
        points = self.attribute("POSITION") + np.tensordot(weights, self.targets().astype(float), 1)
        return points[self.triangles()]

    def pixels(self, frame: int, size: tuple[int, int]) -> np.ndarray:
        """Corners (F,3,2) on the screen of the file's camera, as the specification projects them."""
        turn, place = (self.channel(path)[1][frame] for path in ("rotation", "translation"))
        x, y, z = np.moveaxis(Rotation.from_quat(turn).apply(self.shapes(frame).reshape(-1, 3)) + place, -1, 0)
        view = self.document.cameras[0].perspective
        half = np.tan(view.yfov / 2)
        ndc = np.stack([x / -z / half / view.aspectRatio, -y / -z / half], -1)
        return ((ndc + 1) / 2 * size - 0.5).reshape(-1, 3, 2)


@pytest.fixture
def performer(make_track: MakeTrack) -> Track:
    """A person of their own, whose expression leaves 0..1 on both sides, and who rolls right round."""
    rng = np.random.default_rng(3)
    times = 2 + np.cumsum(rng.uniform(0.02, 0.06, 12))
    curves = {name: rng.uniform(-0.2, 1.2, len(times)) for name in ARKIT_NAMES}
    turns = {"rz": np.linspace(0, 2 * np.pi, 12), "rx": 0.2, "ry": -0.3}
    track = make_track(times, curves, tx=rng.uniform(200, 400, 12), ty=rng.uniform(100, 200, 12), **turns)
    identity = rng.normal(size=60).astype(np.float32)
    z = track.z.copy()
    z[:, HEAD.identity] = identity
    return replace(track.with_codes(z), identity=identity)


@pytest.fixture
def glb(performer: Track, tmp_path: Path) -> Reader:
    return Reader(write(performer, "glb", tmp_path / "out.glb"))


def test_base_and_weights_give_the_vertices(performer: Track, glb: Reader) -> None:
    expected = HEAD.geometry(torch.from_numpy(performer.z)).numpy()[:, FACES] * OURS
    for frame in range(len(performer)):
        assert np.abs(glb.shapes(frame) - expected[frame]).max() < 1e-5  # metres


def test_every_target_is_named_and_keyed_at_the_clips_times(performer: Track, glb: Reader) -> None:
    assert tuple(glb.mesh.extras["targetNames"]) == ARKIT_NAMES
    assert len(glb.primitive.targets) == len(glb.mesh.weights) == 52
    for path, width in {"weights": 52, "rotation": 4, "translation": 3}.items():
        times, values = glb.channel(path)
        np.testing.assert_allclose(times, performer.times, atol=1e-6)
        assert values.shape == (12, width)
    np.testing.assert_array_equal(glb.channel("weights")[1], performer.z[:, HEAD.expression])


def test_texels_and_normals(glb: Reader) -> None:
    triangles = glb.triangles()
    np.testing.assert_array_equal(glb.attribute("TEXCOORD_0")[triangles], HEAD.uvs.numpy()[HEAD.uv_faces])
    bare = trimesh.Trimesh(glb.attribute("POSITION")[triangles].reshape(-1, 3), np.arange(FACES.size).reshape(-1, 3))
    agree = (np.repeat(bare.face_normals, 3, 0) * glb.attribute("NORMAL")[triangles].reshape(-1, 3)).sum(-1)
    assert np.mean(agree > 0.5) > 0.98
    moved = glb.attribute("NORMAL") + glb.targets("NORMAL")[ARKIT_NAMES.index("jawOpen")]
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=5e-3)


def test_timecode_is_with_the_asset(make_track: MakeTrack, glb: Reader, tmp_path: Path) -> None:
    coded = replace(make_track([0.0, 0.04]), timecode="10:00:00:05", timecode_rate=25.0)
    document = pygltflib.GLTF2().load(str(write(coded, "glb", tmp_path / "coded.glb")))
    assert document.asset.extras == {"timecode": "10:00:00:05", "timecodeRate": 25.0}
    assert not glb.document.asset.extras


def test_rotations_do_not_jump(glb: Reader) -> None:
    """A whole turn in eleven steps: neighbouring quaternions are near, never opposite."""
    turns = glb.channel("rotation")[1].astype(float)
    np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-6)
    assert (turns[1:] * turns[:-1]).sum(1).min() > np.cos(np.pi / 11) - 0.01
    assert turns[0] @ turns[-1] == pytest.approx(-1, abs=0.02)


def test_through_a_long_lens_it_is_where_the_track_has_it(performer: Track, tmp_path: Path) -> None:
    glb = Reader(write(performer, "glb", tmp_path / "long.glb", ExportOptions(focal=1e5)))
    expected = performer.vertices()[..., :2]
    for frame in (0, 5, 11):
        assert np.abs(glb.pixels(frame, performer.size) - expected[frame][FACES]).max() < 1.0


def test_with_the_stated_lens_the_origin_stays(make_track: MakeTrack, tmp_path: Path) -> None:
    track = make_track([0.0], f=7.0, tx=100.0, ty=250.0)
    glb = Reader(write(track, "glb", tmp_path / "o.glb", ExportOptions(focal=800.0)))
    x, y, z = glb.channel("translation")[1][0]
    view = glb.document.cameras[0].perspective
    assert 180 / np.tan(view.yfov / 2) == pytest.approx(800) and view.aspectRatio == pytest.approx(640 / 360)
    assert -z == pytest.approx(800 / np.exp(7.0), rel=1e-5)
    np.testing.assert_allclose([319.5 + 800 * x / -z, 179.5 - 800 * y / -z], [100, 250], atol=1e-3)


def test_left_stays_left(wink: Track, tmp_path: Path) -> None:
    """The wink is on the subject's left, +x, above the jaw; the jaw moves to +x."""
    glb = Reader(write(wink, "glb", tmp_path / "wink.glb"))
    weights, shapes = glb.channel("weights")[1], glb.targets()
    assert ARKIT_NAMES[weights[2].argmax()] == "eyeBlinkLeft" and not weights[[0, 1, 3, 4]].any()
    blink, jaw = (shapes[ARKIT_NAMES.index(name)] for name in ("eyeBlinkLeft", "jawLeft"))
    share = np.linalg.norm(blink, axis=1)
    place = (share[:, None] * glb.attribute("POSITION")).sum(0) / share.sum()
    assert place[0] > 0.015 and place[1] > 0 and jaw[:, 0].sum() > 0
    assert blink[share.argmax(), 1] < 0, "the lid goes down"


def test_trimesh_reads_it(glb: Reader, tmp_path: Path) -> None:
    scene = trimesh.load(tmp_path / "out.glb")
    (mesh,) = scene.geometry.values()
    assert mesh.faces.shape == FACES.shape and mesh.visual.material.baseColorTexture.size == (256, 256)
    neutral = glb.attribute("POSITION")
    np.testing.assert_allclose(mesh.bounds, [neutral.min(0), neutral.max(0)], atol=1e-6)
    assert 0.2 < np.ptp(neutral[:, 1]) < 0.35, "metres"


def test_the_tracks_own_texture_is_used(performer: Track, tmp_path: Path) -> None:
    performer.save(tmp_path)
    cv2.imwrite(str(tmp_path / "texture.png"), np.full((64, 64, 3), (20, 90, 200), np.uint8))
    path = export(tmp_path, "glb")
    (mesh,) = trimesh.load(path).geometry.values()
    image = np.asarray(mesh.visual.material.baseColorTexture)
    assert image.shape[:2] == (64, 64) and np.abs(image[..., :3] - np.array([200.0, 90, 20])).max() < 6


def test_khronos_validator_finds_nothing(performer: Track, make_track: MakeTrack, tmp_path: Path) -> None:
    """`npm install gltf-validator` somewhere, and NODE_PATH=somewhere/node_modules."""
    node = shutil.which("node")
    if not node:
        pytest.skip("no node to run the Khronos validator")
    if subprocess.run([node, "-e", "require.resolve('gltf-validator')"], capture_output=True, check=False).returncode:
        pytest.skip("the npm package gltf-validator is not on NODE_PATH")
    script = (
        "require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    for name, track in {"many": performer, "one": make_track([0.0])}.items():
        path = write(track, "glb", tmp_path / f"{name}.glb")
        done = subprocess.run([node, "-e", script, str(path)], capture_output=True, text=True, check=True)
        issues = json.loads(done.stdout)
        assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"]
