"""The Blender and Maya scripts, run against stand-ins that record what is keyed."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.export.gaze import gaze_directions
from selftrack.tracker.export.scenes.dcc import _json
from selftrack.tracker.results.track_file import Track

MakeTrack = Callable[..., Track]
RATE = 30000 / 1001
FRAMES = np.arange(18_000, 18_008)


@pytest.fixture
def performer(make_track: MakeTrack) -> Track:
    """Ten minutes into a 29.97 fps clip; the head yaws past a quarter and nods, the eyes look up and to the left."""
    curves = {"jawOpen": np.linspace(0, 0.7, 8), "eyeBlinkLeft": 0.25, "mouthPucker": 1, "cheekPuff": 0.1}
    for name in ("eyeLookUpLeft", "eyeLookUpRight", "eyeLookOutLeft", "eyeLookInRight"):
        curves[name] = np.linspace(0, 0.6, 8)
    return make_track(FRAMES / RATE, curves, rx=np.linspace(0, 0.3, 8), ry=np.linspace(0, -0.9, 8), rz=0.1)


def script(track: Track, program: str, folder: Path, **settings: str | tuple[str, str]) -> Path:
    """The exported script with names filled in at its top, as its user does."""
    path = write(track, program, folder / f"{program}.py", ExportOptions(focal=1000.0))
    text = path.read_text()
    for name, value in settings.items():
        empty = f'\n{name} = ("", "")' if name == "EYES" else f'\n{name} = ""'
        assert empty in text
        text = text.replace(empty, f"\n{name} = {value!r}")
    path.write_text(text)
    return path


def run(path: Path) -> None:
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})


def test_numbers_are_written_an_array_at_a_time() -> None:
    """As `json.dumps` writes them."""
    rng = np.random.default_rng(0)
    curves = {f'curve "{number}"': rng.random(40).round(5) for number in range(30)}
    turns = [rng.random((40, 4)).round(6), rng.random((40, 3)).round(4)]
    value = {
        "curves": curves,
        "eyes": turns,
        "none": {},
        "size": (640, 360),
        "clip": "größer/a.mp4",
        "heads": ["a", "b"],
    }
    plain = value | {
        "curves": {name: values.tolist() for name, values in curves.items()},
        "eyes": [values.tolist() for values in turns],
    }
    parts = list(_json(value))
    assert "".join(parts) == json.dumps(plain)
    assert max(map(len, parts)) <= max(len(json.dumps(values.tolist())) for values in turns)


# Blender


class Points(list):
    """An F-curve's keys."""

    def add(self, count: int) -> None:
        self += [SimpleNamespace(co=(0, 0), interpolation="BEZIER") for _ in range(count)]

    def remove(self, point: SimpleNamespace, fast: bool = False) -> None:
        del self[next(i for i, p in enumerate(self) if p is point)]

    def foreach_get(self, name: str, values: list[float]) -> None:
        assert name == "co"
        values[:] = [number for point in self for number in point.co]

    def foreach_set(self, name: str, values: list[float]) -> None:
        assert name == "co" and len(values) == 2 * len(self)
        for i, point in enumerate(self):
            point.co = tuple(values[2 * i : 2 * i + 2])


class Animated:
    """Something of Blender's with an action."""

    def __init__(self) -> None:
        self.animation_data = SimpleNamespace(action=SimpleNamespace(fcurves=[]))

    def insert(self, path: str, indexes: range, frame: float) -> None:
        curves = self.animation_data.action.fcurves
        for index in indexes:
            if not any((c.data_path, c.array_index) == (path, index) for c in curves):
                points = Points()
                curves.append(
                    SimpleNamespace(data_path=path, array_index=index, keyframe_points=points, update=lambda: None)
                )
                points.add(1)

    def keys(self, path: str, index: int = 0) -> np.ndarray:
        """(T,2) frames and values."""
        (curve,) = [c for c in self.animation_data.action.fcurves if (c.data_path, c.array_index) == (path, index)]
        assert {p.interpolation for p in curve.keyframe_points} == {"LINEAR"}
        return np.array([p.co for p in curve.keyframe_points])


class Empty(Animated):
    """An object without shape keys, or an armature's bone, whose keys are the armature's."""

    type = "EMPTY"
    rotation_mode = "XYZ"
    pose = None

    def __init__(self, owner: Animated | None = None, prefix: str = "") -> None:
        super().__init__()
        self.id_data, self.prefix = owner or self, prefix

    def path_from_id(self, name: str) -> str:
        return self.prefix + name

    def keyframe_insert(self, path: str, frame: float) -> None:
        assert self.rotation_mode == "QUATERNION"
        self.id_data.insert(self.prefix + path, range(4), frame)


class Bone(Empty):
    """A pose bone that lies along the head's y, as Blender has them: here with x up, y to the viewer, z to the left."""

    bone = SimpleNamespace(matrix_local=[[0, 0, -1, 0], [0, -1, 0, 0.1], [-1, 0, 0, 1.6], [0, 0, 0, 1]])


def make_mesh(names: list[str]) -> Empty:
    """A mesh object with these shape keys."""
    keys = Animated()
    keys.key_blocks = [
        SimpleNamespace(
            name=name,
            path_from_id=lambda _, name=name: f'key_blocks["{name}"].value',
            keyframe_insert=lambda _, frame, name=name: keys.insert(f'key_blocks["{name}"].value', range(1), frame),
        )
        for name in names
    ]
    mesh = Empty()
    mesh.name, mesh.type, mesh.data = "Face", "MESH", SimpleNamespace(shape_keys=keys)
    return mesh


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for Blender at 29.97 frames a second: `scene.objects`, `scene.active`."""
    render = SimpleNamespace(fps=30, fps_base=1.001)
    bpy, objects = ModuleType("bpy"), {}
    bpy.context = SimpleNamespace(scene=SimpleNamespace(render=render), active_object=None)
    bpy.data = SimpleNamespace(objects=objects, texts={})
    bpy.types = SimpleNamespace(PoseBone=Bone)
    monkeypatch.setitem(sys.modules, "bpy", bpy)
    return SimpleNamespace(context=bpy.context, objects=objects)


def test_blender_keys_shapes_on_whole_frames(
    scene: SimpleNamespace, performer: Track, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mesh = make_mesh(["Basis", "JawOpen", "eyeBlink_L", "MOUTHPUCKER", "browInnerUp"])
    scene.context.active_object = mesh
    keys = mesh.data.shape_keys
    path = script(performer, "blender", tmp_path)
    for _ in range(2):  # a second run replaces
        run(path)
        jaw = keys.keys('key_blocks["JawOpen"].value')
        np.testing.assert_array_equal(jaw[:, 0], FRAMES)
        np.testing.assert_allclose(jaw[:, 1], np.linspace(0, 0.7, 8), atol=1e-5)
        np.testing.assert_allclose(keys.keys('key_blocks["eyeBlink_L"].value')[:, 1], 0.25)
        np.testing.assert_allclose(keys.keys('key_blocks["MOUTHPUCKER"].value')[:, 1], 1)
        assert (scene.context.scene.frame_start, scene.context.scene.frame_end) == (18_000, 18_007)
        said = capsys.readouterr().out
        assert "4 curves, 8 frames at 29.97" in said and "cheekPuff" in said and "jawOpen" not in said


def test_blender_keys_stand_at_the_clips_times(scene: SimpleNamespace, minute: Track, tmp_path: Path) -> None:
    """At every rate of the clip, in a scene of another one."""
    scene.objects["face"] = mesh = make_mesh(["jawOpen"])
    run(script(minute, "blender", tmp_path, MESH="face"))
    frames = mesh.data.shape_keys.keys('key_blocks["jawOpen"].value')[:, 0]
    np.testing.assert_allclose(frames / RATE, minute.times, atol=1e-4)


def sent(owner: Animated, path: str, point: tuple[float, float, float]) -> np.ndarray:
    """Where the keyed rotations take a point (T,3)."""
    w, x, y, z = (owner.keys(path, i)[:, 1] for i in range(4))
    return Rotation.from_quat(np.stack([x, y, z, w], 1)).apply(point)


def test_blender_turns_named_objects(scene: SimpleNamespace, performer: Track, tmp_path: Path) -> None:
    """A point at the nose (our -z) goes where our own rotation takes it, in axes x right, y away, z up."""
    scene.objects |= {"face": make_mesh(["jawOpen"]), "head": Empty(), "l": Empty(), "r/1": Empty()}
    run(script(performer, "blender", tmp_path, MESH="face", HEAD="head", EYES=("l", "r/1")))
    nose = sent(scene.objects["head"], "rotation_quaternion", (0, -1, 0))
    ours = Rotation.from_euler("xyz", performer.H_image[:, 1:4]).apply([0, 0, -1])  # Rz Ry Rx
    np.testing.assert_allclose(nose, ours[:, [0, 2, 1]] * (1, 1, -1), atol=1e-4)
    assert nose[-1, 0] > 0.7, "negative yaw: to the image's right"
    for index, name in enumerate(("l", "r/1")):
        looks = sent(scene.objects[name], "rotation_quaternion", (0, -1, 0))
        np.testing.assert_allclose(looks, gaze_directions(performer)[:, index][:, [0, 2, 1]] * (1, 1, -1), atol=1e-4)
        assert looks[-1, 0] > 0.1 and looks[-1, 2] > 0.1, "to the subject's left, and up"


def test_blender_turns_named_bones(scene: SimpleNamespace, performer: Track, tmp_path: Path) -> None:
    """In the bone's own axes, in which the nose is along its y, the head's left along -z and up along -x."""
    rig = Empty()
    rig.pose = SimpleNamespace(bones={name: Bone(rig, f'pose.bones["{name}"].') for name in ("head", "eye.L")})
    scene.objects |= {"face": make_mesh(["jawOpen"]), "rig": rig}
    run(script(performer, "blender", tmp_path, MESH="face", HEAD="rig/head", EYES=("rig/eye.L", "")))
    looks = sent(rig, 'pose.bones["eye.L"].rotation_quaternion', (0, 1, 0))
    x, y, z = gaze_directions(performer)[:, 0].T  # to the image's right, down, away
    np.testing.assert_allclose(looks, np.stack([y, -z, -x], 1), atol=1e-4)
    assert len(rig.keys('pose.bones["head"].rotation_quaternion')) == 8


@pytest.mark.parametrize(
    "name,words", [("nobody", "no object named nobody"), ("rig/tail", "rig has no bone named tail")]
)
def test_blender_says_what_it_cannot_turn(
    scene: SimpleNamespace, performer: Track, tmp_path: Path, name: str, words: str
) -> None:
    mesh, rig = make_mesh(["jawOpen"]), Empty()
    rig.pose = SimpleNamespace(bones={})
    scene.objects |= {"face": mesh, "rig": rig}
    with pytest.raises(RuntimeError, match=words):
        run(script(performer, "blender", tmp_path, MESH="face", EYES=(name, "")))
    assert not mesh.data.shape_keys.animation_data.action.fcurves, "nothing is half done"


@pytest.mark.parametrize("settings,words", [({}, "select a mesh"), ({"MESH": "none"}, "no object named none")])
def test_blender_says_what_is_missing(
    scene: SimpleNamespace, performer: Track, tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        run(script(performer, "blender", tmp_path, **settings))


class Importer:
    """A stand-in for Blender 5.0's glTF importer, which multiplies by `fps_base` where it should divide."""

    def __init__(self, scene: SimpleNamespace, times: np.ndarray) -> None:
        self.scene, self.times, self.paths = scene, times, []

    def gltf(self, filepath: str) -> None:
        self.paths.append(filepath)
        render = self.scene.context.scene.render
        head, camera = make_mesh(["jawOpen"]), Empty()
        camera.type, camera.animation_data, head.animation_data = "CAMERA", None, None
        camera.data = SimpleNamespace(background_images=SimpleNamespace(new=self._background))
        head.data.shape_keys.insert("weight", range(1), 0)
        points = head.data.shape_keys.animation_data.action.fcurves[0].keyframe_points
        points[:] = [
            SimpleNamespace(co=(time * render.fps * render.fps_base, 0), interpolation="LINEAR") for time in self.times
        ]
        self.scene.objects |= {"head": head, "camera": camera}

    def _background(self) -> SimpleNamespace:
        self.background = SimpleNamespace()
        return self.background


@pytest.fixture
def importer(scene: SimpleNamespace, performer: Track) -> Importer:
    """Blender with the importer, which can load clips."""
    bpy, importer = sys.modules["bpy"], Importer(scene, performer.times)
    bpy.ops = SimpleNamespace(import_scene=importer)
    bpy.data.objects = Objects(scene.objects)
    bpy.data.movieclips = SimpleNamespace(load=lambda path: SimpleNamespace(path=path))
    bpy.context.scene.frame_set = lambda frame: setattr(scene, "shown", frame)
    bpy.context.view_layer = SimpleNamespace(objects=SimpleNamespace(active=None))
    return importer


class Objects:
    """Of Blender, which iterates over values."""

    def __init__(self, objects: dict[str, object]) -> None:
        self.objects = objects

    def __iter__(self) -> Iterator[object]:
        return iter(self.objects.values())


def test_blender_builds_the_scene_from_the_glb_beside_the_script(
    scene: SimpleNamespace, importer: Importer, performer: Track, tmp_path: Path
) -> None:
    """At the clip's rate, frames whole; its clip behind what the camera sees."""
    (tmp_path / "results").mkdir()
    (tmp_path / "my.mp4").touch()
    (tmp_path / "results" / "my.glb").touch()
    run(script(replace(performer, clip=str(tmp_path / "my.mp4")), "blender", tmp_path / "results"))
    now = scene.context.scene
    assert importer.paths == [str(tmp_path / "results" / "my.glb")]
    assert (now.render.fps, now.render.fps_base) == (30, pytest.approx(1.001))
    assert (now.render.resolution_x, now.render.resolution_y) == performer.size
    assert now.camera.type == "CAMERA" and now.camera.data.show_background_images
    assert Path(importer.background.clip.path).samefile(tmp_path / "my.mp4")
    assert importer.background.clip.frame_start == 0, "where time 0 is"
    assert (now.frame_start, now.frame_end, scene.shown) == (18_000, 18_007, 18_000)
    np.testing.assert_array_equal(scene.objects["head"].data.shape_keys.keys("weight")[:, 0], FRAMES)


def test_blenders_scene_has_the_clips_times(
    scene: SimpleNamespace, importer: Importer, minute: Track, tmp_path: Path
) -> None:
    """Keys of a steady clip stand on whole frames of the scene's rate, which is the clip's."""
    importer.times = minute.times
    (tmp_path / "take {1}.glb").touch()
    run(script(minute, "blender", tmp_path))
    render, steps = scene.context.scene.render, np.diff(minute.times)
    rate, frames = render.fps / render.fps_base, scene.objects["head"].data.shape_keys.keys("weight")[:, 0]
    off = 0.01 / rate  # keys are rounded to hundredths of a frame
    np.testing.assert_allclose(frames / rate, minute.times, atol=off)
    if np.ptp(steps) < 1e-6:
        assert rate == pytest.approx(1 / steps.mean()) and (frames == np.rint(frames)).all()


def test_blender_builds_the_scene_from_a_named_glb_without_its_clip(
    scene: SimpleNamespace, importer: Importer, performer: Track, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    glb = tmp_path / "other.glb"
    glb.touch()
    run(script(performer, "blender", tmp_path, GLB=str(glb)))
    assert importer.paths == [str(glb)] and not hasattr(importer, "background")
    assert "take {1}.mp4: not there, so the camera shows no clip" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, size, place, hidden",
    [
        ("Cube", (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), True),
        ("Cube", (8.0, 8.0, 3.0), (0.0, 0.0, 0.0), False),
        ("Cube", (2.0, 2.0, 2.0), (3.0, 0.0, 0.0), False),
        ("Room", (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), False),
    ],
)
def test_blender_hides_the_cube_of_a_new_file(
    scene: SimpleNamespace,
    importer: Importer,
    performer: Track,
    tmp_path: Path,
    name: str,
    size: tuple[float, float, float],
    place: tuple[float, float, float],
    hidden: bool,
) -> None:
    """It surrounds the camera; what somebody has made stays in sight."""
    there = Empty()
    there.name, there.type, there.dimensions, there.location = name, "MESH", size, place
    there.hide_render, there.hide_set = False, lambda hide: setattr(there, "out_of_sight", hide)
    scene.objects[name] = there
    (tmp_path / "take {1}.glb").touch()
    run(script(performer, "blender", tmp_path))
    assert (there.hide_render, hasattr(there, "out_of_sight")) == (hidden, hidden)


# Maya


class Maya:
    """A stand-in for Maya at 29.97 frames a second, that records keys by attribute."""

    rate = RATE

    def __init__(self, targets: list[str], selection: list[str]) -> None:
        self.targets, self.selection = targets, selection
        self.keys: dict[str, dict[float, float]] = defaultdict(dict)
        self.range: dict[str, float] = {}
        self.open = 0

    def objExists(self, name: str) -> bool:
        return name in ("face", "faceShapes", "head", "left", "right")

    def ls(self, names: list[str] | None = None, selection: bool = False, type: str | None = None) -> list[str]:
        return self.selection if selection else [n for n in names or [] if n == "faceShapes"]

    def listHistory(self, names: list[str]) -> list[str]:
        return ["faceShape", "faceShapes"] if "face" in names else []

    def listAttr(self, attribute: str, multi: bool) -> list[str]:
        assert attribute == "faceShapes.weight" and multi
        return self.targets

    def cutKey(self, node: str, attribute: str, clear: bool) -> None:
        self.keys.pop(f"{node}.{attribute}", None)

    def setKeyframe(
        self, node: str, attribute: str, time: float, value: float, inTangentType: str, outTangentType: str
    ) -> None:
        assert inTangentType == outTangentType == "linear" and self.open == 1
        self.keys[f"{node}.{attribute}"][time] = value

    def setAttr(self, attribute: str, value: int) -> None:
        assert attribute in ("head.rotateOrder", "left.rotateOrder", "right.rotateOrder") and value == 0

    def currentUnit(self, query: bool, angle: bool) -> str:
        return "deg"

    def playbackOptions(self, **values: float) -> None:
        self.range = values

    def undoInfo(self, openChunk: bool = False, closeChunk: bool = False) -> None:
        self.open += openChunk - closeChunk


@pytest.fixture
def maya(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Maya]:
    """`maya(targets, selection)` puts the stand-in where the script imports it."""

    def make(targets: list[str], selection: list[str], kind: type[Maya] = Maya) -> Maya:
        program = kind(targets, selection)
        seconds = SimpleNamespace(asUnits=lambda unit: program.rate)
        time = SimpleNamespace(kSeconds=0, uiUnit=lambda: 1)
        open_maya = SimpleNamespace(MTime=type("MTime", (), {"__new__": lambda *_: seconds, **vars(time)}))
        package, api = ModuleType("maya"), ModuleType("maya.api")
        mel = SimpleNamespace(eval=lambda text: program.calls.append(text))
        package.cmds, package.mel, package.api, api.OpenMaya = program, mel, api, open_maya
        modules = {"maya": package, "maya.cmds": program, "maya.mel": mel}
        modules |= {"maya.api": api, "maya.api.OpenMaya": open_maya}
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        return program

    return make


@pytest.mark.parametrize("selection", ["face", "faceShapes"])
def test_maya_keys_targets_on_whole_frames(
    maya: Callable[..., Maya], performer: Track, tmp_path: Path, selection: str, capsys: pytest.CaptureFixture
) -> None:
    program = maya(["JawOpen", "eyeBlink_L", "mouthPucker"], [selection])
    run(script(performer, "maya", tmp_path))
    jaw = program.keys["faceShapes.JawOpen"]
    np.testing.assert_array_equal(list(jaw), FRAMES)
    np.testing.assert_allclose(list(jaw.values()), np.linspace(0, 0.7, 8), atol=1e-5)
    assert set(program.keys["faceShapes.eyeBlink_L"].values()) == {0.25}
    assert set(program.keys["faceShapes.mouthPucker"].values()) == {1.0}
    assert program.open == 0 and set(program.range.values()) == {18_000, 18_007}
    said = capsys.readouterr().out
    assert "3 curves" in said and all(
        name in said for name in set(ARKIT_NAMES) - {"jawOpen", "eyeBlinkLeft", "mouthPucker"}
    )


def test_maya_keys_stand_at_the_clips_times(maya: Callable[..., Maya], minute: Track, tmp_path: Path) -> None:
    """At every rate of the clip, in a scene of another one."""
    program = maya(["jawOpen"], ["face"])
    run(script(minute, "maya", tmp_path))
    np.testing.assert_allclose(np.array(list(program.keys["faceShapes.jawOpen"])) / RATE, minute.times, atol=1e-4)


def test_maya_turns_named_transforms(maya: Callable[..., Maya], performer: Track, tmp_path: Path) -> None:
    """The nose (+z in Maya) goes where our own rotation takes it, in axes x right, y up, z to the viewer."""
    program = maya(["jawOpen"], [])
    run(script(performer, "maya", tmp_path, BLEND_SHAPE="faceShapes", HEAD="head", EYES=("left", "right")))

    def ahead(node: str) -> np.ndarray:
        angles = np.stack([list(program.keys[f"{node}.rotate{axis}"].values()) for axis in "XYZ"], 1)
        return Rotation.from_euler("xyz", angles, degrees=True).apply([0, 0, 1])

    ours = Rotation.from_euler("xyz", performer.H_image[:, 1:4]).apply([0, 0, -1])
    np.testing.assert_allclose(ahead("head"), ours * (1, -1, -1), atol=1e-4)
    for index, node in enumerate(("left", "right")):
        np.testing.assert_allclose(ahead(node), gaze_directions(performer)[:, index] * (1, -1, -1), atol=1e-4)


@pytest.mark.parametrize(
    "settings,words",
    [
        ({}, "select a mesh"),
        ({"HEAD": "nobody"}, "no node named nobody"),
        ({"EYES": ("nobody", "")}, "no node named nobody"),
    ],
)
def test_maya_says_what_is_missing(
    maya: Callable[..., Maya], performer: Track, tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    program = maya(["jawOpen"], [])
    with pytest.raises(RuntimeError, match=words):
        run(script(performer, "maya", tmp_path, **settings))
    assert not program.keys


class Stage(Maya):
    """A stand-in for an empty scene of Maya's at 24 frames a second, into which a head with a camera is imported."""

    rate = 24.0
    units = {"ntsc": 30, "29.97fps": 30000 / 1001, "23.976fps": 24000 / 1001, "film": 24, "pal": 25, "palf": 50}
    units |= {"59.94fps": 60000 / 1001, "ntscf": 60, "120fps": 120}

    def __init__(self, targets: list[str], selection: list[str]) -> None:
        super().__init__(targets, selection)
        self.nodes = {"camera": ["|persp|perspShape"], "animCurve": ["mine"], "blendShape": []}
        self.calls: list[str] = []
        self.imported: list[str] = []
        self.values: dict[str, object] = {}

    def ls(
        self,
        names: list[str] | None = None,
        selection: bool = False,
        type: str | None = None,
        long: bool = False,
    ) -> list[str]:
        return list(self.nodes[type]) if long else super().ls(names, selection, type)

    def loadPlugin(self, name: str, quiet: bool) -> None:
        self.calls.append(name)

    def file(self, path: str, i: bool, type: str, ignoreVersion: bool) -> None:
        assert "fbxmaya" in self.calls and "FBXImportMode -v add" in self.calls and i and type == "FBX"
        self.arrive(path)

    def mayaUSDImport(self, file: str, primPath: str, readAnimData: bool) -> None:
        assert "mayaUsdPlugin" in self.calls and readAnimData
        self.arrive(file)

    def arrive(self, path: str) -> None:
        self.imported.append(path)
        self.rate_then = self.rate
        self.nodes["camera"].append("|camera|cameraShape")
        self.nodes["animCurve"].append("head_jawOpen")
        self.nodes["blendShape"].append("headShapes")

    def currentUnit(self, query: bool = False, angle: bool = False, time: str = "") -> str:
        if time:
            if time not in self.units:
                raise RuntimeError("Invalid time unit")
            self.rate = self.units[time]
        return "deg"

    def setAttr(self, attribute: str, value: object) -> None:
        self.values[attribute] = value

    def getAttr(self, attribute: str) -> float:
        assert attribute == "|camera|cameraShape.farClipPlane"
        return 2000.0

    def keyframe(self, nodes: list[str], edit: bool, relative: bool, timeChange: int) -> None:
        assert edit and relative
        self.shifted = nodes, timeChange

    def lookThru(self, camera: str) -> None:
        self.seen = camera

    def imagePlane(self, camera: str, fileName: str, showInAllViews: bool) -> list[str]:
        self.plate = camera, fileName
        return ["|camera|cameraShape->|plate", "plateShape"]

    def blendShape(self, node: str, query: bool, geometry: bool) -> list[str]:
        return {"headShapes": ["headShape"]}[node]

    def select(self, nodes: list[str]) -> None:
        self.selection = nodes

    def currentTime(self, frame: int) -> None:
        self.now = frame


@pytest.mark.parametrize("name", ["my.fbx", "my.usdz"])
def test_maya_builds_the_scene_from_the_head_beside_the_script(
    maya: Callable[..., Maya], performer: Track, tmp_path: Path, name: str
) -> None:
    """At the clip's rate, before the import; the clip behind what the camera sees, farther than the head."""
    program, results = maya([], [], Stage), tmp_path / "results"
    results.mkdir()
    (tmp_path / "my.mp4").touch()
    (results / name).touch()
    run(script(replace(performer, clip=str(tmp_path / "my.mp4")), "maya", results))
    assert program.imported == [(results / name).as_posix()] and program.rate_then == program.rate == RATE
    assert set(program.range.values()) == {18_000, 18_007} and program.now == 18_000
    width, height = performer.size
    resolution = {"width": width, "height": height, "deviceAspectRatio": width / height}
    assert resolution.items() <= {name.partition(".")[2]: value for name, value in program.values.items()}.items()
    camera, file = program.plate
    assert camera == program.seen == "|camera|cameraShape" and Path(file).samefile(tmp_path / "my.mp4")
    assert program.values["|camera|cameraShape.renderable"] and not program.values["|persp|perspShape.renderable"]
    assert program.values["plateShape.type"] == 2 and program.values["plateShape.useFrameExtension"] is True
    assert program.values["plateShape.frameOffset"] == 0 and 1900 < program.values["plateShape.depth"] < 2000
    assert program.selection == ["headShape"] and program.open == 0 and not hasattr(program, "shifted")


def test_maya_prefers_the_fbx_and_a_first_frame_moves_what_came(
    maya: Callable[..., Maya], performer: Track, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Of the curves only those that came with the head."""
    program = maya([], [], Stage)
    for name in ("take {1}.fbx", "take {1}.usdz"):
        (tmp_path / name).touch()
    path = script(performer, "maya", tmp_path)
    path.write_text(path.read_text().replace("\nFIRST_FRAME = 0", "\nFIRST_FRAME = 1001"))
    run(path)
    assert program.imported == [(tmp_path / "take {1}.fbx").as_posix()]
    assert program.shifted == (["head_jawOpen"], 1001) and set(program.range.values()) == {19_001, 19_008}
    assert "take {1}.mp4: not there, so the camera shows no clip" in capsys.readouterr().out


def test_mayas_scene_has_the_clips_rate(maya: Callable[..., Maya], minute: Track, tmp_path: Path) -> None:
    """Where Maya has that; else the scene keeps its own, and the range is the track's in seconds."""
    program, steps = maya([], [], Stage), np.diff(minute.times)
    (tmp_path / "other.fbx").touch()
    run(script(minute, "maya", tmp_path, HEAD_FILE=str(tmp_path / "other.fbx")))
    if np.ptp(steps) < 1e-6:
        assert program.rate_then == pytest.approx(1 / steps.mean())
    assert program.range["minTime"] == np.floor(round(minute.times[0] * program.rate, 3))
    assert program.range["maxTime"] == np.ceil(round(minute.times[-1] * program.rate, 3))


def test_maya_finds_the_head_where_the_script_was_written(
    maya: Callable[..., Maya], performer: Track, tmp_path: Path
) -> None:
    """The Script Editor tells no file of what it runs."""
    program = maya([], [], Stage)
    (tmp_path / "take {1}.usdz").touch()
    exec(compile(script(performer, "maya", tmp_path).read_text(), "<maya console>", "exec"), {"__name__": "__main__"})
    assert program.imported == [(tmp_path / "take {1}.usdz").as_posix()]


def test_maya_keys_what_is_selected_though_a_head_is_there(
    maya: Callable[..., Maya], performer: Track, tmp_path: Path
) -> None:
    program = maya(["jawOpen"], ["face"], Stage)
    (tmp_path / "take {1}.fbx").touch()
    run(script(performer, "maya", tmp_path))
    assert program.keys["faceShapes.jawOpen"] and not program.imported and program.rate == 24


def test_maya_says_that_a_file_has_no_head(maya: Callable[..., Maya], performer: Track, tmp_path: Path) -> None:
    program = maya([], [], Stage)
    (tmp_path / "take {1}.fbx").touch()
    program.arrive = lambda path: None
    with pytest.raises(RuntimeError, match="no head with a camera came from it"):
        run(script(performer, "maya", tmp_path))
    assert program.open == 0
