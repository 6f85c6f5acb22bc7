"""Facial performance tracking: a video, pictures or a camera in; ARKit curves, head pose and a mesh out.

    import selftrack

    model = selftrack.Model.load()
    tracker = selftrack.Tracker(model)
    for frame in selftrack.open_source("clip.mp4"):
        result = tracker(frame)
    track = tracker.finish()
    track.curves()["jawOpen"]

What is named here is loaded when it is first used: `import selftrack` itself is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selftrack.adapt.learning.trainer import AdaptConfig
    from selftrack.adapt.run import adapt
    from selftrack.adapt.verdict import Verdict
    from selftrack.decoders.base import Decoder
    from selftrack.decoders.registry import load_decoder, register_decoder
    from selftrack.errors import UserError
    from selftrack.tracker.clips.config import TrackConfig
    from selftrack.tracker.clips.several import track_faces
    from selftrack.tracker.clips.single import track_clip
    from selftrack.tracker.frame_result import FrameResult
    from selftrack.tracker.model import Model
    from selftrack.tracker.results.track_file import Track, load
    from selftrack.tracker.sources.base import Frame, FrameSource
    from selftrack.tracker.sources.opening import open_source
    from selftrack.tracker.tracker import Tracker, TrackerConfig

    __version__: str

_PLACES = {
    "AdaptConfig": "adapt.learning.trainer",
    "Decoder": "decoders.base",
    "Frame": "tracker.sources.base",
    "FrameResult": "tracker.frame_result",
    "FrameSource": "tracker.sources.base",
    "Model": "tracker.model",
    "Track": "tracker.results.track_file",
    "TrackConfig": "tracker.clips.config",
    "Tracker": "tracker.tracker",
    "TrackerConfig": "tracker.tracker",
    "UserError": "errors",
    "Verdict": "adapt.verdict",
    "load": "tracker.results.track_file",
    "load_decoder": "decoders.registry",
    "open_source": "tracker.sources.opening",
    "register_decoder": "decoders.registry",
    "track_clip": "tracker.clips.single",
    "track_faces": "tracker.clips.several",
}

__all__ = [
    "AdaptConfig",
    "Decoder",
    "Frame",
    "FrameResult",
    "FrameSource",
    "Model",
    "Track",
    "TrackConfig",
    "Tracker",
    "TrackerConfig",
    "UserError",
    "Verdict",
    "__version__",
    "adapt",
    "load",
    "load_decoder",
    "open_source",
    "register_decoder",
    "track_clip",
    "track_faces",
]


def __getattr__(name: str) -> object:
    """Load a noun when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("selftrack")
    if name == "adapt":
        return import_module("selftrack.adapt")  # a package that may be called
    if name not in _PLACES:
        raise AttributeError(f"module 'selftrack' has no attribute {name!r}")
    return getattr(import_module(f"selftrack.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
