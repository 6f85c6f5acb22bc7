"""ARKit's names of the 52 expression curves, each 0..1; left and right are the subject's own."""

_EYE = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")
ARKIT_NAMES: tuple[str, ...] = (
    *(name + side for side in ("Left", "Right") for name in _EYE),
    *("jawForward", "jawLeft", "jawRight", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight"),
    *(n + s for n in ("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch") for s in ("Left", "Right")),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(n + s for n in ("mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown") for s in ("Left", "Right")),
    *("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff"),
    *("cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
"""In Apple's order."""


def _other_side(name: str) -> str:
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    return name.removesuffix("Right") + "Left" if name.endswith("Right") else name


OTHER_SIDE = tuple(ARKIT_NAMES.index(_other_side(name)) for name in ARKIT_NAMES)
"""For each curve the one that a mirror shows in its place."""
