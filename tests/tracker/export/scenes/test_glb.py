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
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import LEFT_IRIS, RIGHT_IRIS
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.export import ExportOptions, export, write
from selftrack.tracker.export.presets import Expression, read_presets
from selftrack.tracker.export.scenes._teeth import layout
from selftrack.tracker.export.scenes.glb import glb_bytes
from selftrack.tracker.geometry.camera import camera_pose, focal_length
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.track_file import Track, load

HEAD = load_head()
PARTS = np.array(HEAD.part_names)[HEAD.face_parts.numpy()]
INNER = {
    "eyes": ["eye_left", "eye_right"],
    "teeth": ["teeth_upper", "teeth_lower"],
    "mouth": ["mouth", "tongue"],
}
DRAWN = {"skin": ~np.isin(PARTS, sum(INNER.values(), []))} | {n: np.isin(PARTS, parts) for n, parts in INNER.items()}
ORDER = np.concatenate([np.flatnonzero(drawn) for drawn in DRAWN.values()])  # of the faces, material by material
FACES = HEAD.faces.numpy()[ORDER]
OURS = np.array([1, -1, -1])  # glTF's axes are ours turned by 180 degrees about x
TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
MakeTrack = Callable[..., Track]


class Reader:
    """What the glTF 2.0 specification says an accessor's values are."""

    def __init__(self, path: Path) -> None:
        self.document = pygltflib.GLTF2().load(str(path))
        (self.mesh,) = self.document.meshes
        self.primitives = self.mesh.primitives
        (self.animation,) = self.document.animations
        self.nodes = {node.name: node for node in self.document.nodes}

    def accessor(self, index: int) -> np.ndarray:
        a = self.document.accessors[index]
        assert a.sparse is None, "importers stumble over these"
        view = self.document.bufferViews[a.bufferView]
        assert view.byteOffset % 4 == 0 and view.byteStride is None
        blob = self.document.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
        return np.frombuffer(blob, TYPES[a.componentType]).reshape(a.count, WIDTH[a.type])

    def attribute(self, name: str) -> np.ndarray:
        """(N,K) of all primitives, one after the other."""
        return np.concatenate([self.accessor(getattr(p.attributes, name)) for p in self.primitives])

    def triangles(self) -> np.ndarray:
        """(F,3) into the vertices of all primitives."""
        starts = np.cumsum([0, *(self.document.accessors[p.attributes.POSITION].count for p in self.primitives)])
        pairs = zip(self.primitives, starts, strict=False)
        return np.concatenate([self.accessor(p.indices).reshape(-1, 3) + start for p, start in pairs])

    def targets(self, name: str = "POSITION") -> np.ndarray:
        """(52,N,3)"""
        return np.concatenate([np.stack([self.accessor(t[name]) for t in p.targets]) for p in self.primitives], 1)

    def channel(self, path: str, node: str = "head") -> tuple[np.ndarray, np.ndarray]:
        """Times (T,) and values (T,...) of a channel."""
        index = self.document.nodes.index(self.nodes[node])
        (channel,) = [c for c in self.animation.channels if (c.target.node, c.target.path) == (index, path)]
        sampler = self.animation.samplers[channel.sampler]
        assert sampler.interpolation == "LINEAR"
        times = self.accessor(sampler.input)[:, 0]
        return times, self.accessor(sampler.output).reshape(len(times), -1)

    def shapes(self, frame: int) -> np.ndarray:
        """Corners (F,3,3) of the triangles in a frame, mesh space."""
        weights = self.channel("weights")[1][frame].astype(float)
        points = self.attribute("POSITION") + np.tensordot(weights, self.targets().astype(float), 1)
        return points[self.triangles()]

    def placed(self, frame: int, points: np.ndarray) -> np.ndarray:
        """Where points (N,3) of the node `head` are in the world: below `neck`, which alone is animated."""
        turn, place = (self.channel(path, "neck")[1][frame] for path in ("rotation", "translation"))
        assert not self.nodes["head"].rotation
        return Rotation.from_quat(turn).apply(points + np.array(self.nodes["head"].translation)) + place

    def pixels(self, frame: int, size: tuple[int, int]) -> np.ndarray:
        """Corners (F,3,2) on the screen of the file's camera, as the specification projects them."""
        x, y, z = np.moveaxis(self.placed(frame, self.shapes(frame).reshape(-1, 3)), -1, 0)
        view = self.document.cameras[0].perspective
        half = np.tan(view.yfov / 2)
        ndc = np.stack([x / -z / half / view.aspectRatio, -y / -z / half], -1)
        return ((ndc + 1) / 2 * size - 0.5).reshape(-1, 3, 2)


@pytest.fixture
def performer(make_track: MakeTrack) -> Track:
    """A person of their own, who moves everything and rolls right round."""
    rng = np.random.default_rng(3)
    times = 2 + np.cumsum(rng.uniform(0.02, 0.06, 12))
    curves = {name: rng.random(len(times)) for name in ARKIT_NAMES}
    turns = {"rz": np.linspace(0, 2 * np.pi, 12), "rx": 0.2, "ry": -0.3}
    track = make_track(times, curves, tx=rng.uniform(200, 400, 12), ty=rng.uniform(100, 200, 12), **turns)
    identity = rng.normal(size=60).astype(np.float32)
    z = track.z.copy()
    z[:, HEAD.identity] = identity
    return replace(track.with_codes(z), identity=identity)


@pytest.fixture
def glb(performer: Track, tmp_path: Path) -> Reader:
    return Reader(write(performer, "glb", tmp_path / "out.glb"))


def test_base_and_weights_give_the_vertices(performer: Track, glb: Reader, exported: Callable) -> None:
    expected = exported(performer)[:, FACES] * OURS
    for frame in range(len(performer)):
        assert np.abs(glb.shapes(frame) - expected[frame]).max() < 1e-5  # metres


def test_with_its_own_teeth_it_is_the_tracks_head_in_one_texture(performer: Track, tmp_path: Path) -> None:
    """As Alembic needs it, which has the track's vertices, and no materials."""
    path = tmp_path / "own.glb"
    path.write_bytes(glb_bytes(performer, ExportOptions(), own_teeth=True))
    glb, expected = Reader(path), HEAD.geometry(torch.from_numpy(performer.z)).numpy()[:, FACES] * OURS
    for frame in (0, 6):
        assert np.abs(glb.shapes(frame) - expected[frame]).max() < 1e-5  # metres
    uvs = HEAD.uvs.numpy()[HEAD.uv_faces[ORDER]]
    np.testing.assert_array_equal(glb.attribute("TEXCOORD_0")[glb.triangles()], uvs)
    assert {m.pbrMetallicRoughness.baseColorTexture.index for m in glb.document.materials} == {0}
    assert len(glb.document.images) == 1


def test_every_target_is_named_and_keyed_at_the_clips_times(performer: Track, glb: Reader) -> None:
    assert tuple(glb.mesh.extras["targetNames"]) == ARKIT_NAMES
    assert {len(primitive.targets) for primitive in glb.primitives} == {52}
    for (path, node), width in {("weights", "head"): 52, ("rotation", "neck"): 4, ("translation", "neck"): 3}.items():
        times, values = glb.channel(path, node)
        np.testing.assert_allclose(times, performer.times, atol=1e-6)
        assert values.shape == (12, width)
    np.testing.assert_array_equal(glb.channel("weights")[1], performer.z[:, HEAD.expression])


def test_the_meshs_own_weights_are_the_least_of_the_clip(make_track: MakeTrack, tmp_path: Path) -> None:
    """A track of an earlier version may go below 0; Blender's sliders do where these do."""
    curves = {"jawOpen": np.array([0.25, -0.125, 0.5]), "mouthPucker": np.array([0.75, 0.5, 1])}
    glb = Reader(write(make_track([0.0, 0.1, 0.2], curves), "glb", tmp_path / "a.glb"))
    least = dict.fromkeys(ARKIT_NAMES, 0) | {"jawOpen": -0.125, "mouthPucker": 0.5}
    assert dict(zip(ARKIT_NAMES, glb.mesh.weights, strict=True)) == least


def test_nodes_are_a_head_on_a_neck_with_eyes_and_jaw_and_a_camera(glb: Reader) -> None:
    def below(name: str) -> set[str]:
        return {glb.document.nodes[child].name for child in glb.nodes[name].children}

    assert [glb.document.nodes[root].name for root in glb.document.scenes[0].nodes] == ["performance"]
    assert below("performance") == {"neck", "camera"} and below("neck") == {"head"}
    assert below("head") == {"eye_left", "eye_right", "jaw"}
    assert [name for name, node in glb.nodes.items() if node.mesh is not None] == ["head"]
    assert not glb.nodes["performance"].translation and not glb.nodes["performance"].rotation


def test_each_part_has_its_material(glb: Reader) -> None:
    """All but teeth with the clip's texture; eyes and teeth are smoother than skin."""
    materials = [glb.document.materials[primitive.material] for primitive in glb.primitives]
    assert [material.name for material in materials] == list(DRAWN)
    counts = [len(glb.accessor(primitive.indices)) // 3 for primitive in glb.primitives]
    assert counts == [drawn.sum() for drawn in DRAWN.values()]
    surfaces = {material.name: material.pbrMetallicRoughness for material in materials}
    pictures = {name: surface.baseColorTexture.index for name, surface in surfaces.items()}
    assert pictures == {"skin": 0, "eyes": 0, "teeth": 1, "mouth": 0}
    assert {tuple(surface.baseColorFactor) for surface in surfaces.values()} == {(1, 1, 1, 1)}
    rough = {name: surface.roughnessFactor for name, surface in surfaces.items()}
    assert rough["eyes"] < rough["teeth"] < rough["mouth"] < rough["skin"] < 1


def test_the_neck_leaves_the_head_where_the_track_has_it(performer: Track, glb: Reader, tmp_path: Path) -> None:
    """In every frame, for a stated lens too."""
    points = np.random.default_rng(1).uniform(-0.2, 0.2, (20, 3))
    stated = Reader(write(performer, "glb", tmp_path / "stated.glb", ExportOptions(focal=700.0)))
    for file, focal in ((glb, focal_length(performer, None)), (stated, 700.0)):
        turn, place = camera_pose(performer, focal)
        for frame in range(len(performer)):
            ours = (points * OURS) @ turn[frame].T + place[frame]
            np.testing.assert_allclose(file.placed(frame, points), ours * OURS, atol=2e-6)


def test_the_neck_turns_between_the_ears_below_their_middle(performer: Track, glb: Reader) -> None:
    """By points of the face: on the midline, behind the cheeks' outline, between eyes and chin in height."""
    joint = -np.array(glb.nodes["head"].translation)
    neutral = performer.z[:1].copy()
    neutral[:, HEAD.expression] = 0
    points = HEAD.landmarks478(HEAD.geometry(torch.from_numpy(neutral)))[0].numpy() * OURS
    before_ears, chin, eyes = points[[234, 454]], points[152], points[[LEFT_IRIS, RIGHT_IRIS]]
    assert joint[0] == 0 and chin[1] + 0.02 < joint[1] < before_ears[:, 1].min() < eyes[:, 1].min()
    assert 0.02 < before_ears[:, 2].min() - joint[2] < 0.07, "metres behind where the cheeks end at the ears"


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_eyes_turn_the_iris_to_where_the_mesh_has_it(make_track: MakeTrack, tmp_path: Path, side: str) -> None:
    """A real eye's 10 mm from the node along its z axis, seen from the front."""
    up, out = np.array([0, 0.8, 0.3]), np.array([0, 0.2, 0.9])
    track = make_track([0.0, 0.1, 0.2], {f"eyeLookUp{side}": up, f"eyeLookOut{side}": out})
    rng = np.random.default_rng(0)
    identity = rng.normal(size=60).astype(np.float32)
    track.z[:, HEAD.identity] = identity
    glb = Reader(write(replace(track, identity=identity), "glb", tmp_path / "a.glb"))
    node = f"eye_{side.lower()}"
    sight = Rotation.from_quat(glb.channel("rotation", node)[1]).apply([0, 0, 1])
    iris = HEAD.landmarks478(HEAD.geometry(torch.from_numpy(track.z)))[:, LEFT_IRIS if side == "Left" else RIGHT_IRIS]
    seen = np.array(glb.nodes[node].translation) + 0.010 * sight
    np.testing.assert_allclose(seen[:, :2], (iris.numpy() * OURS)[:, :2], atol=1e-6)
    assert sight[1, 1] > 0.3 and sight[2, 0] * (1 if side == "Left" else -1) > 0.3, "up, and to its own side"


def test_lower_teeth_turn_about_the_jaw(glb: Reader) -> None:
    """The place and angle, found by search, that bring the file's own teeth nearest to where its jawOpen has them; but
    for the 3 mm by which they stand higher at a shut jaw."""
    own = np.unique(glb.triangles()[PARTS[ORDER] == "teeth_lower"])
    base, opening = glb.attribute("POSITION")[own], glb.targets()[ARKIT_NAMES.index("jawOpen"), own]
    shut, open_ = base - [0, 0.003, 0], base + opening

    def off(joint: np.ndarray) -> np.ndarray:
        y, z, angle = joint
        place = np.array([0, y, z])
        return (Rotation.from_euler("x", angle).apply(shut - place) + place - open_).ravel()

    y, z, angle = least_squares(off, [0, 0, 0.3]).x
    np.testing.assert_allclose(glb.nodes["jaw"].translation[1:], [y, z], atol=1e-4)
    assert abs(glb.nodes["jaw"].translation[0] - shut[:, 0].mean()) < 1e-3 and np.radians(15) < angle < np.radians(35)


def test_texels_and_normals(glb: Reader) -> None:
    triangles = glb.triangles()
    others = ~np.isin(PARTS[ORDER], INNER["teeth"])
    uvs, texels = HEAD.uvs.numpy()[HEAD.uv_faces[ORDER]], glb.attribute("TEXCOORD_0")[triangles]
    np.testing.assert_array_equal(texels[others], uvs[others])
    laid_out, corners = layout(HEAD)
    np.testing.assert_array_equal(texels[~others], laid_out.numpy()[corners[ORDER]][~others])  # of teeth.jpg
    bare = trimesh.Trimesh(glb.attribute("POSITION")[triangles].reshape(-1, 3), np.arange(FACES.size).reshape(-1, 3))
    agree = (np.repeat(bare.face_normals, 3, 0) * glb.attribute("NORMAL")[triangles].reshape(-1, 3)).sum(-1)
    assert np.mean(agree[np.repeat(others, 3)] > 0.5) > 0.98
    moved = glb.attribute("NORMAL") + glb.targets("NORMAL")[ARKIT_NAMES.index("jawOpen")]
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=5e-3)


def test_front_teeth_face_the_viewer(glb: Reader) -> None:
    """All of them, as teeth do; normals of the thin band's own triangles lie anywhere, and look dark."""
    (teeth,) = [p for p in glb.primitives if glb.document.materials[p.material].name == "teeth"]
    places, normals = (glb.accessor(getattr(teeth.attributes, name)) for name in ("POSITION", "NORMAL"))
    front = places[:, 2] > places[:, 2].max() - 0.005
    assert front.sum() > 10 and normals[front, 2].min() > 0.8
    left = places[:, 0] > 0.02
    assert left.any() and (normals[left, 0] > 0).all(), "those at the side face sideways"


def test_compressed_it_has_the_same_numbers(
    performer: Track, glb: Reader, decode_meshopt: Callable, tmp_path: Path
) -> None:
    """Less than half as long, bit by bit the same, in the form that the extension asks for."""
    path = write(performer, "glb", tmp_path / "small.glb", ExportOptions(compress=True))
    assert path.stat().st_size < 0.5 * (tmp_path / "out.glb").stat().st_size
    plain, small = glb.document, pygltflib.GLTF2().load(str(path))
    assert small.extensionsRequired == small.extensionsUsed == ["EXT_meshopt_compression"]
    stored, unpacked = small.buffers
    assert unpacked.extensions == {"EXT_meshopt_compression": {"fallback": True}} and unpacked.uri is None
    assert stored.byteLength == len(small.binary_blob()) and small.accessors == plain.accessors
    at, packed = 0, 0
    for before, view in zip(plain.bufferViews, small.bufferViews, strict=True):
        data = plain.binary_blob()[before.byteOffset :][: before.byteLength]
        own = view.extensions.get("EXT_meshopt_compression")
        assert view.byteLength == before.byteLength and view.target == before.target
        if own is None:
            assert view.buffer == 0 and small.binary_blob()[view.byteOffset :][: view.byteLength] == data
            continue
        assert (view.buffer, view.byteOffset) == (1, at) and own["byteOffset"] % 4 == 0 == own["buffer"]
        assert own["mode"] == "ATTRIBUTES" and own["count"] * own["byteStride"] == len(data)
        stream = small.binary_blob()[own["byteOffset"] :][: own["byteLength"]]
        if packed % 40 == 0:  # the rule of the specification, in plain Python, takes its time
            assert decode_meshopt(stream, own["count"], own["byteStride"]).tobytes() == data
        at, packed = at + len(data), packed + 1
    assert at == unpacked.byteLength and packed > 400


def test_timecode_is_with_the_asset(make_track: MakeTrack, glb: Reader, tmp_path: Path) -> None:
    coded = replace(make_track([0.0, 0.04]), timecode="10:00:00:05", timecode_rate=25.0)
    document = pygltflib.GLTF2().load(str(write(coded, "glb", tmp_path / "coded.glb")))
    assert document.asset.extras == {"timecode": "10:00:00:05", "timecodeRate": 25.0}
    assert not glb.document.asset.extras


def test_rotations_do_not_jump(glb: Reader) -> None:
    """A whole turn in eleven steps: neighbouring quaternions are near, never opposite."""
    turns = glb.channel("rotation", "neck")[1].astype(float)
    np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-6)
    assert (turns[1:] * turns[:-1]).sum(1).min() > np.cos(np.pi / 11) - 0.01
    assert turns[0] @ turns[-1] == pytest.approx(-1, abs=0.02)


def test_through_a_long_lens_it_is_where_the_track_has_it(performer: Track, exported: Callable, tmp_path: Path) -> None:
    glb = Reader(write(performer, "glb", tmp_path / "long.glb", ExportOptions(focal=1e5)))
    shapes, poses = torch.from_numpy(exported(performer)), torch.from_numpy(performer.H_image)
    expected = project(shapes, poses, performer.inverse_distance)[..., :2].numpy()
    for frame in (0, 5, 11):
        assert np.abs(glb.pixels(frame, performer.size) - expected[frame][FACES]).max() < 1.0


@pytest.fixture(scope="module")
def smiling(smile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a track of the bundled clip."""
    folder = tmp_path_factory.mktemp("smiling")
    track_clip(smile, folder, TrackConfig(start=0.6, duration=0.4, person=PersonConfig(samples=6), overlay=False))
    return folder


def test_the_outline_is_the_overlays(smiling: Path, tmp_path: Path) -> None:
    """Without a lens that is named, of a track that is not adapted: the camera has the perspective that was found."""
    track = load(smiling)
    glb = Reader(write(replace(track, clip="gone.mp4"), "glb", tmp_path / "a.glb"))
    assert track.inverse_distance > 0 and not track.settings().get("adapt")
    expected = track.vertices()[..., :2]
    for frame in (0, len(track) // 2, len(track) - 1):
        drawn = outline(glb.pixels(frame, track.size), track.size)
        overlay = outline(expected[frame][FACES], track.size)
        assert (drawn & overlay).sum() / (drawn | overlay).sum() >= 0.99


def test_without_perspective_the_outline_is_the_overlays_too(make_track: MakeTrack, tmp_path: Path) -> None:
    """Of a clip filmed from far away, or whose camera was never asked for: beside the centre, turned and nodding."""
    track = make_track([0.0, 0.1], f=7.0, tx=np.array([200, 400]), ry=np.array([-0.5, 0.4]), rx=np.array([0.3, 0]))
    glb, expected = Reader(write(track, "glb", tmp_path / "a.glb")), track.vertices()[..., :2]
    for frame in (0, 1):
        drawn, overlay = outline(glb.pixels(frame, track.size), track.size), outline(expected[frame][FACES], track.size)
        assert (drawn & overlay).sum() / (drawn | overlay).sum() >= 0.99


def outline(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H,W) bool of the triangles (F,3,2) on the screen."""
    picture = np.zeros(size[::-1], np.uint8)
    for triangle in np.rint(16 * corners).astype(np.int32):
        cv2.fillConvexPoly(picture, triangle, 1, shift=4)
    return picture > 0


def test_with_the_stated_lens_the_origin_stays(make_track: MakeTrack, tmp_path: Path) -> None:
    track = make_track([0.0], f=7.0, tx=100.0, ty=250.0)
    glb = Reader(write(track, "glb", tmp_path / "o.glb", ExportOptions(focal=800.0)))
    x, y, z = glb.placed(0, np.zeros((1, 3)))[0]
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
    meshes = list(trimesh.load(tmp_path / "out.glb").geometry.values())
    assert sum(len(mesh.faces) for mesh in meshes) == len(FACES) and len(meshes) == len(DRAWN)
    sizes = {mesh.visual.material.name: mesh.visual.material.baseColorTexture.size for mesh in meshes}
    assert sizes.pop("teeth")[0] >= 512 and set(sizes.values()) == {(256, 256)}
    neutral = glb.attribute("POSITION")
    bounds = np.array([mesh.bounds for mesh in meshes])
    np.testing.assert_allclose([bounds[:, 0].min(0), bounds[:, 1].max(0)], [neutral.min(0), neutral.max(0)], atol=1e-6)
    assert 0.2 < np.ptp(neutral[:, 1]) < 0.35, "metres"


def test_the_tracks_own_texture_is_used(performer: Track, tmp_path: Path) -> None:
    performer.save(tmp_path)
    cv2.imwrite(str(tmp_path / "texture.png"), np.full((64, 64, 3), (20, 90, 200), np.uint8))
    for mesh in trimesh.load(export(tmp_path, "glb")).geometry.values():
        image = np.asarray(mesh.visual.material.baseColorTexture)[..., :3]
        if mesh.visual.material.name != "teeth":
            assert image.shape[:2] == (64, 64) and np.abs(image - np.array([200.0, 90, 20])).max() < 6
        else:
            assert np.abs(image.max((0, 1)) - np.array([200.0, 90, 20])).max() < 15


def test_the_clip_is_unwrapped_where_it_was_tracked(smiling: Path, tmp_path: Path) -> None:
    """A performance that was changed leaves the clip's face."""

    def skin(name: str, expression: Expression | None = None) -> np.ndarray:
        scene = trimesh.load(export(smiling, "glb", tmp_path / f"{name}.glb", expression=expression))
        return np.asarray(next(iter(scene.geometry.values())).visual.material.baseColorTexture)

    surprised = Expression.of({"surprised": 1.0}, read_presets(), alone=True)
    np.testing.assert_array_equal(skin("changed", surprised), skin("own"))


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
