"""The Blender and Maya scripts, run against stand-ins that record what is keyed, and in Blender where there is one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.results.track_file import Track

MakeTrack = Callable[..., Track]
RATE = 30000 / 1001
Run = Callable[[Path], None]


@pytest.fixture
def performer(make_track: MakeTrack) -> Track:
    """Ten minutes into a 29.97 fps clip; one expression beyond 0..1; the head yaws past a quarter and nods."""
    times = np.arange(18_000, 18_008) / RATE
    curves = {"jawOpen": np.linspace(0, 0.7, 8), "eyeBlinkLeft": 0.25, "mouthPucker": 1.5, "cheekPuff": 0.1}
    return make_track(times, curves, rx=np.linspace(0, 0.3, 8), ry=np.linspace(0, -0.9, 8), rz=0.1)


def script(track: Track, program: str, folder: Path, **settings: str) -> Path:
    """The exported script with names filled in at its top, as its user does."""
    path = write(track, program, folder / f"{program}.py", ExportOptions(focal=1000.0))
    text = path.read_text()
    for name, value in settings.items():
        assert f'\n{name} = ""' in text
        text = text.replace(f'\n{name} = ""', f'\n{name} = "{value}"')
    path.write_text(text)
    return path


def run(path: Path) -> None:
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "__main__"})


# Blender


class Points(list):
    """An F-curve's keys."""

    def add(self, count: int) -> None:
        self += [SimpleNamespace(co=(0, 0), interpolation="BEZIER") for _ in range(count)]

    def remove(self, point: SimpleNamespace, fast: bool = False) -> None:
        del self[next(i for i, p in enumerate(self) if p is point)]

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
    """An object without shape keys."""

    type = "EMPTY"
    rotation_mode = "XYZ"

    def keyframe_insert(self, path: str, frame: float) -> None:
        assert self.rotation_mode == "QUATERNION"
        self.insert(path, range(4), frame)


def make_mesh(names: list[str]) -> SimpleNamespace:
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
    return SimpleNamespace(name="Face", type="MESH", data=SimpleNamespace(shape_keys=keys))


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for Blender at 29.97 frames a second: `scene.objects`, `scene.active`."""
    render = SimpleNamespace(fps=30, fps_base=1.001)
    bpy, objects = ModuleType("bpy"), {}
    bpy.context = SimpleNamespace(scene=SimpleNamespace(render=render), active_object=None)
    bpy.data = SimpleNamespace(objects=objects)
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
        np.testing.assert_array_equal(jaw[:, 0], np.arange(18_001, 18_009))
        np.testing.assert_allclose(jaw[:, 1], np.linspace(0, 0.7, 8), atol=1e-5)
        np.testing.assert_allclose(keys.keys('key_blocks["eyeBlink_L"].value')[:, 1], 0.25)
        np.testing.assert_allclose(keys.keys('key_blocks["MOUTHPUCKER"].value')[:, 1], 1)
        assert (scene.context.scene.frame_start, scene.context.scene.frame_end) == (18_001, 18_008)
        said = capsys.readouterr().out
        assert "4 curves, 8 frames at 29.97" in said and "cheekPuff" in said and "jawOpen" not in said


def test_blender_turns_a_named_object(scene: SimpleNamespace, performer: Track, tmp_path: Path) -> None:
    """A point at the nose (our -z) goes where our own rotation takes it, in axes x right, y away, z up."""
    scene.objects |= {"face": make_mesh(["jawOpen"]), "head": Empty()}
    run(script(performer, "blender", tmp_path, MESH="face", HEAD="head"))
    w, x, y, z = (scene.objects["head"].keys("rotation_quaternion", i)[:, 1] for i in range(4))
    nose = Rotation.from_quat(np.stack([x, y, z, w], 1)).apply([0, -1, 0])
    ours = Rotation.from_euler("xyz", performer.H_image[:, 1:4]).apply([0, 0, -1])  # Rz Ry Rx
    np.testing.assert_allclose(nose, ours[:, [0, 2, 1]] * (1, 1, -1), atol=1e-4)
    assert nose[-1, 0] > 0.7, "negative yaw: to the image's right"


@pytest.mark.parametrize("settings,words", [({}, "select a mesh"), ({"MESH": "none"}, "no object named none")])
def test_blender_says_what_is_missing(
    scene: SimpleNamespace, performer: Track, tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        run(script(performer, "blender", tmp_path, **settings))


IN_BLENDER = """
import json, sys, bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = 30  # the importer's keys are late at rates such as 30 / 1.001: it multiplies where it should divide
bpy.ops.import_scene.gltf(filepath=sys.argv[1])
head = next(o for o in bpy.data.objects if o.type == "MESH")
bpy.ops.mesh.primitive_cube_add()
scene.render.fps_base = 1.001
cube = bpy.context.active_object
for name in ("Basis", "JawOpen", "eyeBlinkLeft"):
    cube.shape_key_add(name=name)
exec(compile(open(sys.argv[2]).read(), "script", "exec"), {"__name__": "__main__"})
rows = []
for i in range(8):
    scene.frame_set(18018 + i)  # of 30 in a second and from 0
    jaw = head.data.shape_keys.key_blocks["jawOpen"].value
    pucker = head.data.shape_keys.key_blocks["mouthPucker"].value
    scene.frame_set(18001 + i)  # of 29.97 in a second and from 1
    rows.append((jaw, pucker, cube.data.shape_keys.key_blocks["JawOpen"].value))
print("RESULT " + json.dumps({"rows": rows, "keys": len(head.data.shape_keys.key_blocks)}))
"""


def test_in_blender_itself(performer: Track, tmp_path: Path) -> None:
    if find_spec("bpy") is None:
        pytest.skip("no Blender to run the script in: bpy is not installed")
    glb, keys = write(performer, "glb", tmp_path / "a.glb"), script(performer, "blender", tmp_path)
    command = [sys.executable, "-c", IN_BLENDER, str(glb), str(keys)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.split("RESULT ")[1].splitlines()[0])
    assert result["keys"] == 53
    jaw = np.linspace(0, 0.7, 8)
    np.testing.assert_allclose(result["rows"], np.stack([jaw, np.full(8, 1.5), jaw], 1), atol=2e-3)


# Maya


class Maya:
    """A stand-in for Maya at 29.97 frames a second, that records keys by attribute."""

    def __init__(self, targets: list[str], selection: list[str]) -> None:
        self.targets, self.selection = targets, selection
        self.keys: dict[str, dict[float, float]] = defaultdict(dict)
        self.range: dict[str, float] = {}
        self.open = 0

    def objExists(self, name: str) -> bool:
        return name in ("face", "faceShapes", "head")

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
        assert (attribute, value) == ("head.rotateOrder", 0)

    def currentUnit(self, query: bool, angle: bool) -> str:
        return "deg"

    def playbackOptions(self, **values: float) -> None:
        self.range = values

    def undoInfo(self, openChunk: bool = False, closeChunk: bool = False) -> None:
        self.open += openChunk - closeChunk


@pytest.fixture
def maya(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Maya]:
    """`maya(targets, selection)` puts the stand-in where the script imports it."""

    def make(targets: list[str], selection: list[str]) -> Maya:
        program = Maya(targets, selection)
        seconds = SimpleNamespace(asUnits=lambda unit: RATE)
        time = SimpleNamespace(kSeconds=0, uiUnit=lambda: 1)
        open_maya = SimpleNamespace(MTime=type("MTime", (), {"__new__": lambda *_: seconds, **vars(time)}))
        package, api = ModuleType("maya"), ModuleType("maya.api")
        package.cmds, package.api, api.OpenMaya = program, api, open_maya
        modules = {"maya": package, "maya.cmds": program, "maya.api": api, "maya.api.OpenMaya": open_maya}
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
    np.testing.assert_array_equal(list(jaw), np.arange(18_001, 18_009))
    np.testing.assert_allclose(list(jaw.values()), np.linspace(0, 0.7, 8), atol=1e-5)
    assert set(program.keys["faceShapes.eyeBlink_L"].values()) == {0.25}
    assert set(program.keys["faceShapes.mouthPucker"].values()) == {1.0}
    assert program.open == 0 and set(program.range.values()) == {18_001, 18_008}
    said = capsys.readouterr().out
    assert "3 curves" in said and all(
        name in said for name in set(ARKIT_NAMES) - {"jawOpen", "eyeBlinkLeft", "mouthPucker"}
    )


def test_maya_turns_a_named_transform(maya: Callable[..., Maya], performer: Track, tmp_path: Path) -> None:
    """The nose (+z in Maya) goes where our own rotation takes it, in axes x right, y up, z to the viewer."""
    program = maya(["jawOpen"], [])
    run(script(performer, "maya", tmp_path, BLEND_SHAPE="faceShapes", HEAD="head"))
    angles = np.stack([list(program.keys[f"head.rotate{axis}"].values()) for axis in "XYZ"], 1)
    nose = Rotation.from_euler("xyz", angles, degrees=True).apply([0, 0, 1])
    ours = Rotation.from_euler("xyz", performer.H_image[:, 1:4]).apply([0, 0, -1])
    np.testing.assert_allclose(nose, ours * (1, -1, -1), atol=1e-4)


@pytest.mark.parametrize("settings,words", [({}, "select a mesh"), ({"HEAD": "nobody"}, "no node named nobody")])
def test_maya_says_what_is_missing(
    maya: Callable[..., Maya], performer: Track, tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    program = maya(["jawOpen"], [])
    with pytest.raises(RuntimeError, match=words):
        run(script(performer, "maya", tmp_path, **settings))
    assert not program.keys
