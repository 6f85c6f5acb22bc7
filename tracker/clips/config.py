"""The settings of `track`, and the model and the clip that they name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.model import Model
from selftrack.tracker.results.painter import OverlayConfig
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.timecode import Timecode
from selftrack.tracker.tracker import TrackerConfig


@dataclass(frozen=True)
class TrackConfig(TrackerConfig):
    """Settings of `track`."""

    start: float = 0.0
    """Where to begin, seconds of the clip's own time."""
    duration: float | None = None
    """How much to track, seconds; None for all."""
    fps: float | None = None
    """Frames per second of a sequence of pictures; None for 24. A video has times of its own."""
    stream: int | None = None
    """Number of the video to track in a file with several; None for the default one, else the largest."""
    timecode: str | None = None
    """Timecode of the clip's time 0, HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame; None for what the clip itself says."""
    landmarks: str = "mediapipe"
    """Source of the landmarks: mediapipe (478 points) or fan (68 points)."""
    weights: str | None = None
    """File of I2ZNet weights; None for the bundled ones."""
    streams: str | None = None
    """File of `track-train streams`, for weights whose network reads VGG-16 or FAN's heatmaps."""
    decoder: str | None = None
    """File of a personal model, beside which its network lies; None for the bundled head."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""
    overlay: bool = True
    """Whether to write overlay.mp4 and contact_sheet.png."""
    overlay_style: OverlayConfig = field(default_factory=OverlayConfig)
    """How it is drawn."""
    character: str | None = None
    """The user's own character, a .rig file of track-rig, for `--export character`."""
    person: PersonConfig = field(default_factory=PersonConfig)
    """How it is found who is seen."""
    threads: int = 1
    """Of torch on the CPU. The bundled networks are small: more threads mostly wait for each other."""

    def export_options(self, folder: Path | None = None, home: Path | None = None) -> ExportOptions:
        """What writers of a run's results in `folder` get; they will lie in `home`."""
        return ExportOptions(folder=folder, home=home, character=Path(self.character) if self.character else None)


def of_face(config: TrackConfig, number: int) -> TrackConfig:
    """The settings of a run for the face of that number alone."""
    return replace(config, detect=replace(config.detect, face=number))


def load_model(config: TrackConfig) -> Model:
    """The model that the settings name; see `Model.load`. Raises UserError, too, of streams that it does not read."""
    model = Model.load(config.weights, config.decoder, config.landmarks, config.device, config.streams)
    model.network.config.check_streams(Path(config.streams) if config.streams else None)
    return model


def open_clip(path: Path | str, config: TrackConfig) -> FrameSource:
    """The window of a clip that the settings name, with their timecode; see `open_source`."""
    source = open_source(path, config.start, config.duration, config.fps, config.stream)
    if config.timecode is not None:
        text = str(Timecode.parse(config.timecode, source.info.rate))
        source.info = replace(source.info, timecode=text)
    return source
