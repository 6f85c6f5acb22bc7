"""The USD stage: a UsdSkel head with blend shapes and four joints, its performance, and the clip's camera.

Metres, y up; the camera is the origin, looks along -z and shows what the clip shows. Time codes are the track's times
on the clip's rate, so a clip of varying rate has codes that are no whole numbers.

    /clip                       Xform, default prim
    /clip/head                  SkelRoot
    /clip/head/mesh             Mesh, bound to the joint `head`; a BlendShape for each expression below it
    /clip/head/skeleton         Skeleton: neck, below it head, below that eye_left and eye_right; and `animation`
    /clip/camera                Camera
    /clip/head/mesh/teeth       GeomSubset, the triangles of the teeth
    /clip/materials/skin        Material; and teeth
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdSkel, Vt

from selftrack.decoders.base import Decoder
from selftrack.decoders.teeth import TEETH, has_teeth
from selftrack.tracker.export.gaze import eye_centres, gaze_directions
from selftrack.tracker.export.scenes._head import ShapedHead, head_places, neck_joint, neutral_code, shaped_head
from selftrack.tracker.export.scenes._teeth import layout, teeth_picture
from selftrack.tracker.export.timing import frame_rate
from selftrack.tracker.geometry.camera import AXES, quaternions
from selftrack.tracker.results.track_file import Track

_ROOT = Sdf.Path("/clip")
_HEAD = _ROOT.AppendChild("head")
_JOINTS = ["neck", "neck/head", "neck/head/eye_left", "neck/head/eye_right"]
_HEAD_JOINT = _JOINTS.index("neck/head")
_STILL = 1e-7  # metres; vertices that an expression moves less are left out of its shape
_SENSOR = 0.36  # of the camera, tenths of a metre across, which is 36 mm
_ROOM = 1.2  # by how much the box around the head is larger than the neutral, for what expressions and eyes add
_PICTURES = {"skin": "texture.jpg", "teeth": "teeth.jpg"}
"""Of each material, its file."""


def write_usdz(track: Track, path: Path, texture: bytes, focal: float) -> None:
    """Write a .usdz.

    Args:
        texture: a JPEG in the head's UV layout, v down.
        focal: focal length of the camera, pixels of the clip.
    """
    with tempfile.TemporaryDirectory() as folder:
        stage_file, teeth = Path(folder) / "clip.usdc", teeth_picture(track.model(), texture)
        pictures = {"skin": texture} if teeth is None else {"skin": texture, "teeth": teeth}
        files = {name: Path(folder) / _PICTURES[name] for name in pictures}
        for name, picture in pictures.items():
            files[name].write_bytes(picture)
        stage = Usd.Stage.CreateNew(str(stage_file))
        _build(stage, track, focal)
        stage.Save()
        with Sdf.ZipFileWriter.CreateNew(str(path)) as package:  # the stage first, as the specification demands
            for file in (stage_file, *files.values()):
                package.AddFile(str(file), file.name)


def _build(stage: Usd.Stage, track: Track, focal: float) -> None:
    rate = frame_rate(track.times)
    codes = [float(code) for code in np.round(track.times * rate, 6)]
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(rate)
    stage.SetFramesPerSecond(rate)
    stage.SetStartTimeCode(codes[0])
    stage.SetEndTimeCode(codes[-1])
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, _ROOT).GetPrim())
    head = shaped_head(track)
    rotation, translation = head_places(track, focal)
    root = UsdSkel.Root.Define(stage, _HEAD)
    reach = _ROOM * np.linalg.norm(head.neutral, axis=1).max()
    root.CreateExtentAttr(_vectors([translation.min(axis=0) - reach, translation.max(axis=0) + reach]))
    mesh = _add_mesh(stage, track, head)
    skeleton = _add_skeleton(stage, track)
    _bind(mesh, skeleton)
    _add_animation(stage, track, codes, rotation, translation)
    _add_materials(stage, track.model(), mesh)
    _add_camera(stage, track.size, focal, -translation[:, 2])


def _add_mesh(stage: Usd.Stage, track: Track, shaped: ShapedHead) -> UsdGeom.Mesh:
    """The neutral head and below it the blend shapes, named in the order of the animation's weights."""
    head, names = track.model(), list(track.model().expression_names)
    mesh = UsdGeom.Mesh.Define(stage, _HEAD.AppendChild("mesh"))
    mesh.CreatePointsAttr(_vectors(shaped.neutral))
    mesh.CreateExtentAttr(_vectors([shaped.neutral.min(axis=0), shaped.neutral.max(axis=0)]))
    mesh.CreateFaceVertexIndicesAttr(_integers(head.faces.numpy()))
    mesh.CreateFaceVertexCountsAttr(_integers(np.full(len(head.faces), 3)))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    mesh.CreateNormalsAttr(_vectors(shaped.normals))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    primvars = UsdGeom.PrimvarsAPI(mesh)
    uvs = primvars.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
    texels, texel_faces = layout(head)
    v_up = texels.numpy() * [1, -1] + [0, 1]
    uvs.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(v_up, np.float32)))
    uvs.SetIndices(_integers(texel_faces.numpy()))
    paths = [mesh.GetPath().AppendChild(name) for name in names]
    for shape_path, moved, tilted in zip(paths, shaped.offsets, shaped.normal_offsets, strict=True):
        rows = np.flatnonzero(np.abs(moved).max(axis=1) > _STILL)
        shape = UsdSkel.BlendShape.Define(stage, shape_path)
        shape.CreatePointIndicesAttr(_integers(rows))
        shape.CreateOffsetsAttr(_vectors(moved[rows]))
        shape.CreateNormalOffsetsAttr(_vectors(tilted[rows]))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateBlendShapesAttr(Vt.TokenArray(names))
    binding.CreateBlendShapeTargetsRel().SetTargets(paths)
    return mesh


def _add_skeleton(stage: Usd.Stage, track: Track) -> UsdSkel.Skeleton:
    """The joints at rest: the neck's where the head turns, the head's is its origin, the eyes' where they turn."""
    skeleton = UsdSkel.Skeleton.Define(stage, _HEAD.AppendChild("skeleton"))
    local = _joint_places(track)
    in_head = local.copy()
    in_head[_HEAD_JOINT] = 0
    bind, rest = (
        Vt.Matrix4dArray([Gf.Matrix4d(1).SetTranslate(Gf.Vec3d(*place)) for place in places])
        for places in (in_head, local)
    )
    skeleton.CreateJointsAttr(Vt.TokenArray(_JOINTS))
    skeleton.CreateBindTransformsAttr(bind)
    skeleton.CreateRestTransformsAttr(rest)
    return skeleton


def _joint_places(track: Track) -> np.ndarray:
    """Places (4,3) of the joints at rest, each below its parent, the neck's in the head's frame; y up."""
    decoder, code = track.model(), neutral_code(track)
    neck = neck_joint(decoder, code)
    return np.stack([neck, -neck, *(eye_centres(decoder, code) * AXES)])


def _bind(mesh: UsdGeom.Mesh, skeleton: UsdSkel.Skeleton) -> None:
    """All of the mesh goes with the head alone: how its eyes turn is in the blend shapes already."""
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1))
    count = len(mesh.GetPointsAttr().Get())  # importers are more used to joints by vertex than to one for all
    binding.CreateJointIndicesPrimvar(constant=False, elementSize=1).Set(_integers(np.full(count, _HEAD_JOINT)))
    binding.CreateJointWeightsPrimvar(constant=False, elementSize=1).Set(Vt.FloatArray([1.0] * count))


def _add_animation(
    stage: Usd.Stage, track: Track, codes: list[float], rotation: np.ndarray, translation: np.ndarray
) -> None:
    """Key weights and joints in every frame; rotation (T,3,3) and translation (T,3) are the head's."""
    path = _HEAD.AppendChild("skeleton").AppendChild("animation")
    animation = UsdSkel.Animation.Define(stage, path)
    animation.CreateJointsAttr(Vt.TokenArray(_JOINTS))
    animation.CreateBlendShapesAttr(Vt.TokenArray(list(track.model().expression_names)))
    animation.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1)] * len(_JOINTS)))
    weights, turns, moves = (
        attribute()
        for attribute in (
            animation.CreateBlendShapeWeightsAttr,
            animation.CreateRotationsAttr,
            animation.CreateTranslationsAttr,
        )
    )
    eyes = _eye_turns(track)
    still = np.tile([0.0, 0.0, 0.0, 1.0], (len(track), 1))
    joints = np.stack([quaternions(rotation), still, eyes[:, 0], eyes[:, 1]], axis=1)  # (T,4,4) x y z w
    places = np.tile(_joint_places(track), (len(track), 1, 1))
    places[:, 0] = rotation @ places[0, 0] + translation
    for code, values, turn, place in zip(codes, track.z[:, track.model().expression], joints, places, strict=True):
        weights.Set(Vt.FloatArray.FromNumpy(np.ascontiguousarray(values, np.float32)), code)
        turns.Set(Vt.QuatfArray([Gf.Quatf(float(w), float(x), float(y), float(z)) for x, y, z, w in turn]), code)
        moves.Set(_vectors(place), code)
    prim = stage.GetPrimAtPath(_HEAD.AppendChild("skeleton"))
    UsdSkel.BindingAPI.Apply(prim).CreateAnimationSourceRel().SetTargets([path])


def _eye_turns(track: Track) -> np.ndarray:
    """Unit quaternions (T,2,4), x y z w, of the left and the right eye within the head: none where it looks ahead.

    The shortest turn from straight ahead, towards the viewer, to the gaze, as Listing's law has it.
    """
    looks = gaze_directions(track) * AXES
    x, y, z = np.moveaxis(looks, -1, 0)
    turns = np.stack([-y, x, np.zeros_like(x), 1 + z], axis=-1)  # half way from (0, 0, 1) to the gaze
    return turns / np.linalg.norm(turns, axis=-1, keepdims=True)


def _add_materials(stage: Usd.Stage, head: Decoder, mesh: UsdGeom.Mesh) -> None:
    """All of the mesh in the clip's texture, but for teeth, which have a picture of their own."""
    binding = UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim())
    binding.Bind(_add_material(stage, "skin"))
    if has_teeth(head):
        of_teeth = head.of_parts(TEETH).nonzero().numpy()
        teeth = binding.CreateMaterialBindSubset("teeth", _integers(of_teeth))
        UsdShade.MaterialBindingAPI.Apply(teeth.GetPrim()).Bind(_add_material(stage, "teeth"))


def _add_material(stage: Usd.Stage, name: str) -> UsdShade.Material:
    """A plain surface in the picture of that name."""
    path = _ROOT.AppendChild("materials").AppendChild(name)
    UsdGeom.Scope.Define(stage, path.GetParentPath())
    material = UsdShade.Material.Define(stage, path)
    surface, texture, reader = (
        UsdShade.Shader.Define(stage, path.AppendChild(name)) for name in ("surface", "texture", "uvs")
    )
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(_PICTURES[name])
    texture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
    uvs = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(uvs)
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.8)
    colour = texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
    surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(colour)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    return material


def _add_camera(stage: Usd.Stage, size: tuple[int, int], focal: float, depths: np.ndarray) -> None:
    """A camera at the origin that shows the frame of width x height pixels; depths (T,) of the head, metres."""
    width, height = size
    camera = UsdGeom.Camera.Define(stage, _ROOT.AppendChild("camera"))
    camera.CreateHorizontalApertureAttr(_SENSOR)
    camera.CreateVerticalApertureAttr(_SENSOR * height / width)
    camera.CreateFocalLengthAttr(_SENSOR * focal / width)
    camera.CreateClippingRangeAttr(Gf.Vec2f(float(depths.min() / 10), float(depths.max() * 10)))


def _vectors(values: np.ndarray | list[np.ndarray]) -> Vt.Vec3fArray:
    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, np.float32))


def _integers(values: np.ndarray) -> Vt.IntArray:
    return Vt.IntArray.FromNumpy(np.ascontiguousarray(values.reshape(-1), np.int32))
