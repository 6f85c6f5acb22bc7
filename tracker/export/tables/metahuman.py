"""The raw control curves of a MetaHuman's face, CTRL_expressions_*, in Unreal's long CSV.

The table from ARKit's curves to them is selftrack's own, under its licence, and approximate: it pairs Apple's
descriptions of the curves with the controls' public names, which follow FACS. It is not Epic's pose asset.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.tables.livelink import livelink_curves
from selftrack.tracker.export.tables.wide import write_long

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

PREFIX = "CTRL_expressions_"
_OF_SIDES = {  # {} is Left or Right, in a control's name L or R
    "eyeBlink{}": ["eyeBlink{}"],
    "eyeWide{}": ["eyeWiden{}"],
    "eyeSquint{}": ["eyeSquintInner{}"],
    "eyeLookUp{}": ["eyeLookUp{}"],
    "eyeLookDown{}": ["eyeLookDown{}"],
    "cheekSquint{}": ["eyeCheekRaise{}"],
    "browDown{}": ["browDown{}", "browLateral{}"],
    "browOuterUp{}": ["browRaiseOuter{}"],
    "noseSneer{}": ["noseWrinkle{}"],
    "mouthSmile{}": ["mouthCornerPull{}"],
    "mouthFrown{}": ["mouthCornerDepress{}"],
    "mouthDimple{}": ["mouthDimple{}"],
    "mouthStretch{}": ["mouthStretch{}"],
    "mouthPress{}": ["mouthPressU{}", "mouthPressD{}"],
    "mouthLowerDown{}": ["mouthLowerLipDepress{}"],
    "mouthUpperUp{}": ["mouthUpperLipRaise{}"],
}
_OF_THE_WHOLE = {  # {} is each of L and R
    "jawOpen": ["jawOpen"],
    "jawForward": ["jawFwd"],
    "jawLeft": ["jawLeft"],
    "jawRight": ["jawRight"],
    "mouthLeft": ["mouthLeft"],
    "mouthRight": ["mouthRight"],
    "mouthClose": ["mouthLipsTogetherU{}", "mouthLipsTogetherD{}"],
    "mouthFunnel": ["mouthFunnelU{}", "mouthFunnelD{}"],
    "mouthPucker": ["mouthLipsPurseU{}", "mouthLipsPurseD{}", "mouthLipsTowardsU{}", "mouthLipsTowardsD{}"],
    "mouthRollUpper": ["mouthUpperLipRollIn{}"],
    "mouthRollLower": ["mouthLowerLipRollIn{}"],
    "mouthShrugUpper": ["jawChinRaiseU{}"],
    "mouthShrugLower": ["jawChinRaiseD{}"],
    "browInnerUp": ["browRaiseIn{}"],
    "cheekPuff": ["mouthCheekBlow{}"],
    "tongueOut": ["tongueOut"],
    # sideways the eyes of ARKit look in and out, those of a MetaHuman to the subject's left and right
    "eyeLookOutLeft": ["eyeLookLeftL"],
    "eyeLookInLeft": ["eyeLookRightL"],
    "eyeLookInRight": ["eyeLookLeftR"],
    "eyeLookOutRight": ["eyeLookRightR"],
}
CONTROLS: dict[str, tuple[str, ...]] = {
    pair.format(side): tuple(PREFIX + control.format(side[0]) for control in controls)
    for pair, controls in _OF_SIDES.items()
    for side in ("Left", "Right")
} | {
    name: tuple(dict.fromkeys(PREFIX + control.format(side) for control in controls for side in "LR"))
    for name, controls in _OF_THE_WHOLE.items()
}
"""For each of ARKit's curves the controls that take its value."""


def metahuman_curves(track: Track) -> dict[str, np.ndarray]:
    """Compute the controls by name, (T,) each, 0..1, and after them HeadYaw, HeadPitch and HeadRoll, radians, as in
    `livelink_curves`."""
    curves, live = track.curves(), livelink_curves(track)
    controls = {control: curves[name] for name, several in CONTROLS.items() for control in several}
    return controls | {name: live[name] for name in ("HeadYaw", "HeadPitch", "HeadRoll")}


@exporter("metahuman", "{clip}_metahuman.csv", needs=[Need.ARKIT_CURVES])
def export_metahuman(track: Track, path: Path, options: ExportOptions) -> None:
    """Write Unreal's long CSV, see `write_long`, of a MetaHuman's controls and the head's angles."""
    write_long(track, path, metahuman_curves(track))
