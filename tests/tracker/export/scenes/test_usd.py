"""The .usdz as usd-core reads it: what its blend shapes, joints and camera give is the track."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.export.gaze import gaze_directions
from selftrack.tracker.export.scenes._teeth import layout
from selftrack.tracker.geometry.camera import camera_pose, focal_length
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.track_file import Track

pytest.importorskip("pxr", reason="usd-core is an extra")
from pxr import Gf, Usd, UsdGeom, UsdShade, UsdSkel  # noqa: E402

HEAD = load_head()
OURS = np.array([1, -1, -1])  # y up is our y down turned by 180 degrees about x
RATE = 30000 / 1001
PARTS = np.array(HEAD.part_names)[HEAD.face_parts.numpy()]
TEETH = np.char.startswith(PARTS, "teeth")
MakeTrack = Callable[..., Track]


@pytest.fixture
def performer(make_track: MakeTrack) -> Track:
    """A person of their own, whose expression leaves 0..1, who turns and looks about, seen at uneven times."""
    rng = np.random.default_rng(3)
    times = 2 + np.arange(6) / RATE + np.array([0, 0, 0, 0.4, 0.4, 0.4]) / RATE
    curves = {name: rng.uniform(-0.2, 1.2, 6) for name in ARKIT_NAMES}
    turns = {"rz": np.linspace(0, 1, 6), "rx": 0.2, "ry": -0.3}
    track = make_track(times, curves, tx=rng.uniform(200, 400, 6), ty=rng.uniform(100, 200, 6), **turns)
    identity = rng.normal(size=60).astype(np.float32)
    z = track.z.copy()
    z[:, HEAD.identity] = identity
    return replace(track.with_codes(z), identity=identity)


class Reader:
    """What UsdSkel makes of a file."""

    def __init__(self, path: Path) -> None:
        self.stage = Usd.Stage.Open(str(path))
        (self.root,) = [UsdSkel.Root(p) for p in self.stage.Traverse() if p.IsA(UsdSkel.Root)]
        (self.mesh,) = [UsdGeom.Mesh(p) for p in self.stage.Traverse() if p.IsA(UsdGeom.Mesh)]
        (self.camera,) = [UsdGeom.Camera(p) for p in self.stage.Traverse() if p.IsA(UsdGeom.Camera)]
        self._cache = UsdSkel.Cache()
        self._cache.Populate(self.root, Usd.TraverseInstanceProxies())
        (binding,) = self._cache.ComputeSkelBindings(self.root, Usd.TraverseInstanceProxies())
        (self.skinning,) = binding.GetSkinningTargets()
        self.skeleton = self._cache.GetSkelQuery(binding.GetSkeleton())
        self.animation = self.skeleton.GetAnimQuery()
        self.codes = self.animation.GetBlendShapeWeightTimeSamples()

    def times(self) -> np.ndarray:
        """Seconds (T,) of the keys."""
        return np.array(self.codes) / self.stage.GetTimeCodesPerSecond()

    def shape(self, code: float) -> np.ndarray:
        """The mesh (V,3) with its blend shapes, before it is placed."""
        points = self.mesh.GetPointsAttr().Get()
        blend = UsdSkel.BlendShapeQuery(UsdSkel.BindingAPI(self.mesh))
        weights = self.animation.ComputeBlendShapeWeights(code)
        weights = self.skinning.GetBlendShapeMapper().Remap(weights)
        sub, of, kinds = blend.ComputeSubShapeWeights(weights)
        indices, offsets = blend.ComputeBlendShapePointIndices(), blend.ComputeSubShapePointOffsets()
        assert blend.ComputeDeformedPoints(sub, of, kinds, indices, offsets, points)
        return np.array(points)

    def placed(self, code: float) -> np.ndarray:
        """The mesh (V,3) where its joints have it."""
        from pxr import Vt

        points = Vt.Vec3fArray.FromNumpy(self.shape(code).astype(np.float32))
        assert self.skinning.ComputeSkinnedPoints(self.skeleton.ComputeSkinningTransforms(code), points, code)
        return np.array(points)

    def pixels(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Pixels (N,2) of points (N,3) as the file's camera sees them; centre of the top-left pixel (0, 0)."""
        view = self.camera.GetCamera(Usd.TimeCode.Default()).frustum
        matrix = np.array(view.ComputeViewMatrix() * view.ComputeProjectionMatrix())
        seen = np.concatenate([points, np.ones((len(points), 1))], 1) @ matrix
        return (seen[:, :2] / seen[:, 3:] * [1, -1] + 1) / 2 * size - 0.5


@pytest.fixture
def usd(performer: Track, tmp_path: Path) -> Reader:
    return Reader(write(performer, "usd", tmp_path / "out.usdz"))


def test_neutral_and_weights_give_the_vertices(performer: Track, usd: Reader, exported: Callable) -> None:
    for code, vertices in zip(usd.codes, exported(performer) * OURS, strict=True):
        assert np.abs(usd.shape(code) - vertices).max() < 1e-6  # metres
    assert tuple(UsdSkel.BindingAPI(usd.mesh).GetBlendShapesAttr().Get()) == ARKIT_NAMES


def test_keys_stand_at_the_clips_times(performer: Track, usd: Reader) -> None:
    np.testing.assert_allclose(usd.times(), performer.times, atol=1e-6)
    assert usd.stage.GetTimeCodesPerSecond() == pytest.approx(RATE)
    assert usd.stage.GetStartTimeCode() == pytest.approx(60 / 1.001, abs=1e-3)
    assert UsdGeom.GetStageUpAxis(usd.stage) == "Y" and UsdGeom.GetStageMetersPerUnit(usd.stage) == 1
    assert usd.stage.GetDefaultPrim()


def test_through_a_long_lens_it_is_where_the_track_has_it(performer: Track, exported: Callable, tmp_path: Path) -> None:
    usd = Reader(write(performer, "usd", tmp_path / "long.usdz", ExportOptions(focal=1e6)))
    shapes, poses = torch.from_numpy(exported(performer)), torch.from_numpy(performer.H_image)
    for code, expected in zip(usd.codes, project(shapes, poses, performer.inverse_distance).numpy(), strict=True):
        assert np.abs(usd.pixels(usd.placed(code), performer.size) - expected[:, :2]).max() < 0.3


def test_the_camera_is_the_stated_one(make_track: MakeTrack, tmp_path: Path) -> None:
    """A head of 7.0 at 800 pixels: the origin is where the track has it, at focal length over scale."""
    usd = Reader(write(make_track([0.0], f=7.0, tx=100.0, ty=250.0), "usd", tmp_path / "o.usdz", ExportOptions(800.0)))
    (origin,) = [m.ExtractTranslation() for m in usd.skeleton.ComputeJointSkelTransforms(0.0)[1:2]]
    assert -origin[2] == pytest.approx(800 / np.exp(7.0), rel=1e-5)
    np.testing.assert_allclose(usd.pixels(np.array([origin]), (640, 360)), [[100, 250]], atol=1e-3)
    near, far = usd.camera.GetClippingRangeAttr().Get()
    assert near < -origin[2] < far


def test_joints_are_the_neck_the_head_and_its_eyes(performer: Track, usd: Reader) -> None:
    """Eyes look where the gaze of the track is, from inside the mesh's own eyes; left is the subject's, +x. The head
    goes with the neck, and its origin is where the track has it."""
    assert list(usd.skeleton.GetJointOrder()) == ["neck", "neck/head", "neck/head/eye_left", "neck/head/eye_right"]
    turn, place = camera_pose(performer, focal_length(performer, None))
    looks = gaze_directions(performer)
    for frame, code in enumerate(usd.codes):
        turns = usd.skeleton.ComputeJointLocalTransforms(code)
        for eye in (0, 1):
            look = turns[2 + eye].TransformDir(Gf.Vec3d(0, 0, 1))
            np.testing.assert_allclose(look, looks[frame, eye] * OURS, atol=1e-6)
        assert turns[1].GetOrthonormalized().ExtractRotation().GetAngle() == pytest.approx(0, abs=1e-3)
        head = usd.skeleton.ComputeJointSkelTransforms(code)[1]
        origin, front = head.Transform(Gf.Vec3d(0)), head.TransformDir(Gf.Vec3d(0, 0, 1))
        np.testing.assert_allclose(origin, place[frame] * OURS, atol=2e-6)
        np.testing.assert_allclose(front, turn[frame] @ [0, 0, -1] * OURS, atol=1e-6)
    points = np.array(usd.mesh.GetPointsAttr().Get())
    for joint, part in ((2, "eye_left"), (3, "eye_right")):
        own = points[HEAD.faces[HEAD.face_parts == HEAD.part_names.index(part)].unique()]
        centre = np.array(usd.skeleton.GetJointWorldBindTransforms()[joint].ExtractTranslation())
        assert (own.min(0) < centre).all() and (centre < own.max(0)).all()


def test_the_box_holds_the_head(performer: Track, usd: Reader) -> None:
    low, high = np.array(usd.root.GetExtentAttr().Get())
    for code in usd.codes:
        points = usd.placed(code)
        assert (low <= points).all() and (points <= high).all()


def test_texels_normals_and_the_texture_inside(usd: Reader, tmp_path: Path) -> None:
    uvs = UsdGeom.PrimvarsAPI(usd.mesh).GetPrimvar("st")
    corners = np.array(uvs.ComputeFlattened()).reshape(-1, 3, 2)
    expected = HEAD.uvs.numpy()[HEAD.uv_faces]
    np.testing.assert_allclose((corners * [1, -1] + [0, 1])[~TEETH], expected[~TEETH], atol=1e-6)
    laid_out, of = layout(HEAD)
    np.testing.assert_allclose((corners * [1, -1] + [0, 1])[TEETH], laid_out.numpy()[of][TEETH], atol=1e-6)
    points, faces = np.array(usd.mesh.GetPointsAttr().Get()), HEAD.faces.numpy()
    np.testing.assert_array_equal(np.array(usd.mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), faces)
    across = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    normals = np.array(usd.mesh.GetNormalsAttr().Get())
    assert np.mean((across[:, None] * normals[faces]).sum(-1) > 0) > 0.98
    material, _ = UsdShade.MaterialBindingAPI(usd.mesh).ComputeBoundMaterial()
    surface = UsdShade.Shader(material.ComputeSurfaceSource()[0])
    (source,) = surface.GetInput("diffuseColor").GetConnectedSources()[0]
    asset = UsdShade.Shader(source.source.GetPrim()).GetInput("file").Get()
    assert asset.resolvedPath, "the stage finds its texture"
    with ZipFile(tmp_path / "out.usdz") as package:
        stage, texture, teeth = package.infolist()
        assert stage.filename.endswith(".usdc") and stage.compress_type == 0
        image = cv2.imdecode(np.frombuffer(package.read(texture), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (256, 256, 3) and teeth.filename == "teeth.jpg"


def test_teeth_have_a_picture_of_their_own(usd: Reader) -> None:
    (teeth,) = UsdShade.MaterialBindingAPI(usd.mesh).GetMaterialBindSubsets()
    np.testing.assert_array_equal(np.array(teeth.GetIndicesAttr().Get()), np.flatnonzero(TEETH))
    material, _ = UsdShade.MaterialBindingAPI(teeth).ComputeBoundMaterial()
    (source,) = UsdShade.Shader(material.ComputeSurfaceSource()[0]).GetInput("diffuseColor").GetConnectedSources()[0]
    asset = UsdShade.Shader(source.source.GetPrim()).GetInput("file").Get()
    assert asset.path == "teeth.jpg" and asset.resolvedPath


IN_BLENDER = """
import sys, bpy, numpy as np
source, target, *codes = sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.wm.usd_import(filepath=source)
(head,) = [o for o in bpy.data.objects if o.type == "MESH"]
(camera,) = [o for o in bpy.data.objects if o.type == "CAMERA"]
frames = []
for code in map(float, codes):
    bpy.context.scene.frame_set(int(code), subframe=code - int(code))
    shown = head.evaluated_get(bpy.context.evaluated_depsgraph_get())
    to_camera = camera.matrix_world.inverted() @ shown.matrix_world
    frames.append([to_camera @ vertex.co for vertex in shown.data.vertices])
lens = camera.data.lens / np.array([camera.data.sensor_width, camera.data.sensor_height])
np.savez(target, frames=frames, lens=lens, images=[image.size[0] for image in bpy.data.images])
"""


def test_blender_shows_the_same_before_the_same_camera(
    make_track: MakeTrack, exported: Callable, tmp_path: Path
) -> None:
    if find_spec("bpy") is None:
        pytest.skip("no Blender to open the file in: bpy is not installed")
    steps = np.linspace(0, 1, 4)
    track = make_track(1 + np.arange(4) / 25, {"jawOpen": steps}, tx=200 + 100 * steps, ty=120.0, ry=steps, rz=0.2)
    path, target = write(track, "usd", tmp_path / "a.usdz", ExportOptions(focal=800.0)), tmp_path / "a.npz"
    command = [sys.executable, "-c", IN_BLENDER, str(path), str(target), "25", "26", "27", "28"]
    subprocess.run(command, capture_output=True, text=True, check=True)
    seen = np.load(target)
    turn, place = camera_pose(track, 800.0)
    shapes = exported(track).astype(float)
    expected = (np.einsum("tij,tvj->tvi", turn, shapes) + place[:, None]) * OURS
    assert np.abs(seen["frames"] - expected).max() < 1e-4  # metres
    np.testing.assert_allclose(seen["lens"], 800 / np.array(track.size), rtol=1e-4)
    assert sorted(seen["images"].tolist()) == [256, 512]


def test_usds_own_validators_find_nothing(usd: Reader) -> None:
    validation = pytest.importorskip("pxr.UsdValidation")
    validators = validation.ValidationRegistry().GetOrLoadAllValidators()
    found = validation.ValidationContext(validators).Validate(usd.stage)
    assert len(validators) > 10 and not [error.GetMessage() for error in found]
