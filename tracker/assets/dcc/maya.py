"""Keys an ARKit blendShape in Maya with a tracked performance.

Open this file in Maya's Script Editor (Python), select the mesh or its blendShape node and execute. Keys stand
at their own times in seconds, at whatever frame rate the scene has. Running it again replaces the keys.
"""

from __future__ import annotations

import json
import math

import maya.api.OpenMaya as om
import maya.cmds as cmds

BLEND_SHAPE = ""  # name of the blendShape node; empty: that of the selection
HEAD = ""  # name of a transform, such as a locator or a joint without orientation, to be turned like the head
EYES = ("", "")  # the same for the subject's left and right eye, below what is turned like the head
FIRST_FRAME = 0  # where the clip's time 0 is

DATA = json.loads(r"""%%DATA%%""")


def plain(name: str) -> str:
    """jawOpen, JawOpen, jaw_open -> jawopen; eyeBlink_L -> eyeblinkleft."""
    name = name.lower()
    name = name[:-2] + {"_l": "left", "_r": "right"}.get(name[-2:], name[-2:])
    return name.replace("_", "")


def blend_shape() -> str:
    """The blendShape node that is named or selected, or that deforms what is selected."""
    chosen = [BLEND_SHAPE] if BLEND_SHAPE else cmds.ls(selection=True) or []
    nodes = cmds.ls(chosen, type="blendShape") if chosen else []
    if chosen and not nodes:
        nodes = cmds.ls(cmds.listHistory(chosen) or [], type="blendShape")
    if not nodes:
        raise RuntimeError("select a mesh with a blendShape, or set BLEND_SHAPE at the top of this script")
    return nodes[0]


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


def main() -> None:
    """Key what is named or selected."""
    for name in (BLEND_SHAPE, HEAD, *EYES):
        if name and not cmds.objExists(name):
            raise RuntimeError("there is no node named " + name)
    node = blend_shape()
    rate = om.MTime(1.0, om.MTime.kSeconds).asUnits(om.MTime.uiUnit())
    frames = [round(FIRST_FRAME + time * rate, 3) for time in DATA["times"]]
    cmds.undoInfo(openChunk=True)
    try:
        missing = key_targets(node, frames)
        for name, turns in zip((HEAD, *EYES), (DATA["head"], *DATA["eyes"]), strict=True):
            if name:
                key_turn(name, frames, turns)
        first, last = math.floor(frames[0]), math.ceil(frames[-1])
        cmds.playbackOptions(minTime=first, maxTime=last, animationStartTime=first, animationEndTime=last)
    finally:
        cmds.undoInfo(closeChunk=True)
    done = len(DATA["curves"]) - len(missing)
    print(f"{node}: {done} curves, {len(frames)} frames at {rate:g} frames/s")
    if missing:
        print(f"no target on {node} for: {', '.join(missing)}")


main()
