"""What `track` does with its options: one face, several, or a picture of who is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selftrack.cli.progress import Stages
from selftrack.cli.settings import changed, under
from selftrack.command import quiet
from selftrack.errors import NoFaceError, TooLittleError
from selftrack.tracker.sources.names import source_name

if TYPE_CHECKING:
    from selftrack.tracker.clips.config import TrackConfig
    from selftrack.tracker.clips.files import Writer
    from selftrack.tracker.clips.summary import Summary
    from selftrack.tracker.landmarks.cast import CastFace
    from selftrack.tracker.model import Model


@dataclass(frozen=True)
class Order:
    """What was asked for."""

    video: str
    output: Path | None
    changes: Mapping[str, Any]
    """Settings by name."""
    exports: Sequence[str]
    adapts: bool
    """Whether the tracker learns from the clip first."""
    overwrite: bool

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return _folder(self.video, self.output)

    def tracking(self) -> TrackConfig:
        """The settings of the tracking. Raises UserError where there is no such setting, or a value is of no use."""
        return _tracking(self.changes)


def _folder(video: str, output: Path | None) -> Path:
    return output or Path(f"{source_name(video)}_track")


def _tracking(changes: Mapping[str, Any]) -> TrackConfig:
    from selftrack.tracker.clips.config import TrackConfig

    return changed(TrackConfig(), under(changes, "track"), "track.")


def show(video: str, output: Path | None, changes: Mapping[str, Any], overwrite: bool) -> None:
    """Write a picture of the clip's faces, and say who is there."""
    from selftrack.tracker.clips.thumbnails import show_faces
    from selftrack.tracker.results.faces import NAME

    track, folder = _tracking(changes), _folder(video, output)
    with Stages() as stages:
        faces = show_faces(video, folder, track, overwrite, stages.show)
    if not quiet():
        for number, face in enumerate(faces):
            print(f"face {number}   {face}")
        print(f"results  {folder}: {NAME}")


def track_one(order: Order) -> tuple[Summary, list[Path]]:
    """Track one face; adapt first where that is asked for. Prints and returns the summary; and the folder of it."""
    track = _checked(order)
    with Stages() as stages:
        if order.adapts:
            summary, verdict = _adapt_and_track(order, track, stages)
        else:
            summary, verdict = _track_only(order, track, stages), ""
    _say(summary, [verdict] if verdict else [])
    return summary, [order.folder]


def _track_only(order: Order, track: TrackConfig, stages: Stages) -> Summary:
    """Without the adaptation, which takes a moment to load."""
    from selftrack.tracker.clips.single import track_clip

    return track_clip(
        order.video,
        order.folder,
        track,
        overwrite=order.overwrite,
        exports=order.exports,
        progress=stages.show,
    )


def _adapt_and_track(order: Order, track: TrackConfig, stages: Stages) -> tuple[Summary, str]:
    """Returns the verdict of the adaptation, too."""
    from selftrack.adapt.clips import adapt_and_track
    from selftrack.adapt.run import load_preset
    from selftrack.tracker.clips.config import load_model

    model = load_model(track)
    settings = changed(load_preset(decoder=model.decoder), under(order.changes, "adapt"), "adapt.")
    summary, verdict = adapt_and_track(
        order.video,
        order.folder,
        track,
        settings,
        model,
        overwrite=order.overwrite,
        exports=order.exports,
        progress=stages.show,
        say=stages.say,
    )
    return summary, str(verdict)


def track_several(order: Order) -> tuple[Summary, list[Path]]:
    """Track several faces; adapt to each first where that is asked for. Prints and returns the summary; and the folders
    of the faces."""
    from selftrack.tracker.clips.several import face_folder, track_faces

    track = _checked(order)
    with Stages() as stages:
        adapting = settings = None
        if order.adapts:
            from selftrack.adapt.clips import settings_of

            adapting = _Adapting(order, stages)
            settings = settings_of(track, adapting.config, order.exports)
        summary = track_faces(
            order.video,
            order.folder,
            order.changes["faces"],
            track,
            overwrite=order.overwrite,
            exports=order.exports,
            adapter=adapting,
            settings=settings,
            progress=stages.show,
        )
    folders = [order.folder / face_folder(number) for number in summary.faces]
    if adapting:
        from selftrack.adapt.clips import forget

        for folder in folders:
            forget(folder)
    _say(summary, adapting.verdicts if adapting else [])
    return summary, folders


class _Adapting:
    """Adapts a model to one face of several after the other, and keeps what is to be said of that."""

    def __init__(self, order: Order, stages: Stages) -> None:
        from selftrack.adapt.run import load_preset

        self._order, self._stages = order, stages
        self.config = changed(load_preset(), under(order.changes, "adapt"), "adapt.")
        self.verdicts: list[str] = []

    def __call__(
        self, number: int, face: CastFace | None, track: TrackConfig, model: Model
    ) -> tuple[Model, Writer | None]:
        """The model of a face; as it was where there is too little of that to learn from."""
        from selftrack.adapt.clips import adapt_clip
        from selftrack.tracker.clips.several import face_folder

        def show(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            self._stages.show(f"face {number}: {stage}", done, total, figures)

        def say(line: str) -> None:
            self._stages.say(f"face {number}: {line}")

        folder = self._order.folder / face_folder(number)
        try:
            model, verdict, also = adapt_clip(self._order.video, folder, track, self.config, model, show, say, face)
        except (NoFaceError, TooLittleError) as error:
            self.verdicts.append(f"face {number}: no, the un-adapted tracker is used: {error}")
            return model, None
        self.verdicts.append(f"face {number}: {verdict}")
        return model, also


def _checked(order: Order) -> TrackConfig:
    """The settings of the tracking, when all is known to be in order that can be before anything is loaded."""
    from selftrack.tracker.clips.files import check_results

    track = order.tracking()
    if order.adapts:
        from selftrack.adapt.run import load_preset

        changed(load_preset(), under(order.changes, "adapt"), "adapt.")
    check_results(order.video, order.folder, order.exports, order.overwrite)
    return track


def _say(summary: Summary, verdicts: Sequence[str]) -> None:
    """Print what a run did."""
    if not quiet():
        print(summary)
        for verdict in verdicts:
            print(f"adapted  {verdict}")
