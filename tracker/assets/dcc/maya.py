"""Brings a tracked performance into Maya: onto a rig with ARKit's shapes, or as the scene that was filmed.

Open this file in Maya's Script Editor (Python) and execute. With a mesh or its blendShape node selected, that is keyed.
Else the scene is built from the .fbx or .usdz beside this file: head, camera, clip, frame rate, range and resolution.
Keys stand at their own times in seconds, at whatever frame rate the scene has. Running it again replaces the keys.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import maya.api.OpenMaya as om
import maya.cmds as cmds
import maya.mel as mel

BLEND_SHAPE = ""  # name of the blendShape node; empty: that of the selection
HEAD = ""  # name of a transform, such as a locator or a joint without orientation, to be turned like the head
EYES = ("", "")  # the same for the subject's left and right eye, below what is turned like the head
HEAD_FILE = ""  # path of the .fbx or .usdz to build the scene from; empty: the one beside this file
FIRST_FRAME = 0  # where the clip's time 0 is

MOVIE = 2  # of an image plane's type
HORIZONTAL = 1  # of a camera's filmFit: the width counts
UNITS = {15: "game", 24: "film", 25: "pal", 30: "ntsc", 48: "show", 50: "palf", 60: "ntscf"}  # others: 29.97fps

DATA = json.loads(r"""%%DATA%%""")


def plain(name: str) -> str:
    """jawOpen, JawOpen, jaw_open -> jawopen; eyeBlink_L -> eyeblinkleft."""
    name = name.lower()
    name = name[:-2] + {"_l": "left", "_r": "right"}.get(name[-2:], name[-2:])
    return name.replace("_", "")


def blend_shape() -> str | None:
    """The blendShape node that is named or selected, or that deforms what is selected, if there is one."""
    chosen = [BLEND_SHAPE] if BLEND_SHAPE else cmds.ls(selection=True) or []
    nodes = cmds.ls(chosen, type="blendShape") if chosen else []
    if chosen and not nodes:
        nodes = cmds.ls(cmds.listHistory(chosen) or [], type="blendShape")
    return nodes[0] if nodes else None


def key(node: str, attribute: str, frames: list[float], values: list[float]) -> None:
    """Replace the keys of one attribute by linear ones."""
    cmds.cutKey(node, attribute=attribute, clear=True)
    linear = {"inTangentType": "linear", "outTangentType": "linear"}
    for index, frame in enumerate(frames):
        cmds.setKeyframe(node, attribute=attribute, time=frame, value=values[index], **linear)


def key_targets(node: str, frames: list[float]) -> list[str]:
    """Key the targets; the curves' names that the node lacks."""
    found = {plain(name): name for name in cmds.listAttr(node + ".weight", multi=True) or []}
    missing = []
    for name, values in DATA["curves"].items():
        target = found.get(plain(name))
        if target is None:
            missing.append(name)
            continue
        key(node, target, frames, values)
    return missing


def key_turn(turned: str, frames: list[float], turns: list[list[float]]) -> None:
    """Key a transform's rotation by degrees about x, y, z: y up, the face towards z at rest."""
    cmds.setAttr(turned + ".rotateOrder", 0)  # xyz
    to_angle = cmds.currentUnit(query=True, angle=True) == "rad"
    for index, attribute in enumerate(("rotateX", "rotateY", "rotateZ")):
        angles = [turn[index] for turn in turns]
        key(turned, attribute, frames, [math.radians(a) for a in angles] if to_angle else angles)


def scene_rate() -> float:
    """The scene's frames per second."""
    return om.MTime(1.0, om.MTime.kSeconds).asUnits(om.MTime.uiUnit())


def frames_at(rate: float) -> list[float]:
    """The frames of the track's times, on whole ones but for their rounding."""
    return [round(FIRST_FRAME + time * rate, 3) for time in DATA["times"]]


def set_range(frames: list[float]) -> None:
    """Make the scene's range that of the track."""
    first, last = math.floor(frames[0]), math.ceil(frames[-1])
    cmds.playbackOptions(minTime=first, maxTime=last, animationStartTime=first, animationEndTime=last)


def key_rig(node: str) -> None:
    """Key a blendShape node, and what is named as head and eyes, at the scene's frame rate."""
    rate = scene_rate()
    frames = frames_at(rate)
    missing = key_targets(node, frames)
    for name, turns in zip((HEAD, *EYES), (DATA["head"], *DATA["eyes"]), strict=True):
        if name:
            key_turn(name, frames, turns)
    set_range(frames)
    done = len(DATA["curves"]) - len(missing)
    print(f"{node}: {done} curves, {len(frames)} frames at {rate:g} frames/s")
    if missing:
        print(f"no target on {node} for: {', '.join(missing)}")


def build_scene(source: Path, clip: Path) -> None:
    """Import the head with its camera, and set the scene up as the clip was filmed."""
    set_rate(DATA["rate"])  # before the import, which lays keys by it
    before = {kind: set(cmds.ls(type=kind, long=True) or []) for kind in ("camera", "animCurve", "blendShape")}
    load(source)
    cameras, curves, shapes = (
        [node for node in cmds.ls(type=kind, long=True) or [] if node not in known] for kind, known in before.items()
    )
    if not cameras or not shapes:
        raise RuntimeError(f"{source}: no head with a camera came from it")
    if FIRST_FRAME and curves:
        cmds.keyframe(curves, edit=True, relative=True, timeChange=FIRST_FRAME)
    kept = scene_rate()
    frames = frames_at(kept)
    set_range(frames)
    width, height = DATA["size"]
    for name, value in {"width": width, "height": height, "deviceAspectRatio": width / height}.items():
        cmds.setAttr("defaultResolution." + name, value)
    film(cameras[0])
    if clip.is_file():
        show_clip(cameras[0], clip)
    else:
        print(f"{clip}: not there, so the camera shows no clip")
    cmds.select(cmds.blendShape(shapes[0], query=True, geometry=True))
    cmds.currentTime(math.floor(frames[0]))
    print(f"{source.name}: {len(frames)} frames at {kept:g} frames/s")


def set_rate(rate: float) -> None:
    """Make the scene's rate that of the clip; where Maya has no such rate it stays, and keys are at seconds."""
    unit = UNITS.get(rate) or f"{rate:.3f}".rstrip("0").rstrip(".") + "fps"
    try:
        cmds.currentUnit(time=unit)
    except RuntimeError:
        print(f"Maya has no {rate:g} frames/s, so the scene keeps its rate")


def load(source: Path) -> None:
    """Import a file's head beside what is in the scene."""
    path = source.as_posix()
    if source.suffix == ".usdz":
        cmds.loadPlugin("mayaUsdPlugin", quiet=True)
        cmds.mayaUSDImport(file=path, primPath="/", readAnimData=True)
        return
    cmds.loadPlugin("fbxmaya", quiet=True)
    for option in ("FBXImportMode -v add", "FBXImportFillTimeline -v false", "FBXImportSetMayaFrameRate -v false"):
        mel.eval(option)  # else those of the last import hold
    cmds.file(path, i=True, type="FBX", ignoreVersion=True)


def film(camera: str) -> None:
    """Make a camera the scene's: the one that renders and is looked through."""
    for other in cmds.ls(type="camera", long=True):
        cmds.setAttr(other + ".renderable", other == camera)
    cmds.setAttr(camera + ".filmFit", HORIZONTAL)
    cmds.lookThru(camera)


def show_clip(camera: str, path: Path) -> None:
    """Put the clip behind what a camera sees."""
    plane = cmds.imagePlane(camera=camera, fileName=path.as_posix(), showInAllViews=False)[-1]
    cmds.setAttr(plane + ".type", MOVIE)
    cmds.setAttr(plane + ".useFrameExtension", True)  # Maya then counts with the scene's frames
    cmds.setAttr(plane + ".frameOffset", -FIRST_FRAME)
    cmds.setAttr(plane + ".depth", 0.99 * cmds.getAttr(camera + ".farClipPlane"))


def own_folder() -> Path:
    """Where this file is; the Script Editor does not say that of what it runs, so there it is where it was written."""
    here = Path(globals().get("__file__", ""))
    return here.parent if here.is_file() else Path(DATA["folder"])


def main() -> None:
    """Key what is named or selected, or build the scene."""
    for name in (BLEND_SHAPE, HEAD, *EYES):
        if name and not cmds.objExists(name):
            raise RuntimeError("there is no node named " + name)
    node = blend_shape()
    folder = own_folder()
    files = [Path(HEAD_FILE)] if HEAD_FILE else [folder / name for name in DATA["heads"]]
    found = [path for path in files if path.is_file()]
    if node is None and (BLEND_SHAPE or not found):
        raise RuntimeError(
            "select a mesh with a blendShape, or set BLEND_SHAPE at the top of this script; or, to build the scene, "
            f"put {' or '.join(path.name for path in files)} beside this script (track-export --to fbx or --to usd)"
        )
    cmds.undoInfo(openChunk=True)
    try:
        if node is not None:
            key_rig(node)
        else:
            build_scene(found[0], folder / DATA["clip"])
    finally:
        cmds.undoInfo(closeChunk=True)


main()
