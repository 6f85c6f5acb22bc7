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
