"""A run over a clip: what tracking one face and several have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from selftrack.io import OutputFolder
from selftrack.tracker import export
from selftrack.tracker.clips.config import TrackConfig, open_clip
from selftrack.tracker.clips.files import (
    OUTPUTS,
    Writer,
    check_results,
    export_names,
    scratch_folder,
    write_settings,
)
from selftrack.tracker.clips.following import PreparedFace, TrackedFace, follow, load_for
from selftrack.tracker.model import Model
from selftrack.tracker.progress import DRAWING, TRACKING, Progress, Steps
from selftrack.tracker.results import contact_sheet, curves, overlay
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.base import FrameSource
from selftrack.tracker.stopwatch import Stopwatch
from selftrack.tracker.threads import threads


@dataclass(frozen=True)
class Run:
    """A clip on its way into a folder of results."""

    source: FrameSource
    model: Model
    config: TrackConfig
    output: OutputFolder
    results: Path
    """The temporary folder whose files move to the output together."""
    scratch: Path
    """An empty folder in it, for files that are no results."""
    exports: Mapping[str, str]
    """Names of the files to export to, by format."""
    settings: Mapping[str, Any]
    """What `config.yaml` says."""
    progress: Progress
    watch: Stopwatch
    began: float
    """Of `time.perf_counter`."""

    def stage(self, name: str) -> Steps:
        """The progress of a stage."""
        return partial(self.progress, name)

    def follow(self, faces: Sequence[PreparedFace]) -> list[TrackedFace]:
        """Follow faces through the clip."""
        return follow(self.source, faces, self.scratch, self.watch, self.stage(TRACKING))

    def save(self, tracks: Mapping[str, Track]) -> float:
        """Write tracks into sub-folders of these names, "" for none; returns frames per second from file to them all,
        adaptations left out."""
        for part, track in tracks.items():
            (self.results / part).mkdir(exist_ok=True)
            with self.watch("write"):
                track.save(self.results / part)
        return len(next(iter(tracks.values()))) / self.elapsed()

    def elapsed(self) -> float:
        """Seconds since the clip was opened, adaptations left out."""
        return time.perf_counter() - self.began - self.watch.seconds.get("adapt", 0.0)

    def outdated(self) -> tuple[str, ...]:
        """A note of exports of an earlier track, which stay in the folder of results, where there are any."""
        names = sorted(set(self.output.owned()) - {*OUTPUTS, *self.exports.values()})
        return (f"{', '.join(names)}: of an earlier track; export again, or delete them",) if names else ()

    def write_beside(self, face: TrackedFace, part: str = "", also: Writer | None = None) -> None:
        """Write what belongs to a face beside its track, which lies in that sub-folder, but for the overlay."""
        place, home = self.results / part, self.output.path / part
        with self.watch("write"):
            curves.write_curves(face.track, place)
            write_settings({**self.settings, "track": asdict(face.config)}, place)
        if self.config.overlay:
            with self.watch("overlay"):
                contact_sheet.write_contact_sheet(face.track, place, self.config.overlay_style)
        if also:
            also(face.track, face.model, place)
        for to, name in self.exports.items():
            with self.watch("export"):
                stage = self.stage(f"{part}: {to}" if part else to)  # each face begins anew
                options = replace(self.config.export_options(place, home), progress=stage)
                export.write(face.track, to, place / name, options)

    def draw(self, track: Track | Mapping[int, Track]) -> None:
        """Write the overlay of a face, or of several by their numbers, if one is wanted."""
        if self.config.overlay:
            with self.watch("overlay"):
                overlay.write_overlay(track, self.results, self.config.overlay_style, self.stage(DRAWING))


@contextmanager
def running(
    path: Path | str,
    folder: Path | str,
    config: TrackConfig,
    model: Model | None,
    overwrite: bool,
    exports: Sequence[str],
    settings: Mapping[str, Any] | None,
    progress: Progress,
) -> Iterator[Run]:
    """Open a clip and its folder of results, which gets them when the context ends without an error.

    Args are those of `track_clip`, and so is the UserError.
    """
    output, names = OutputFolder(folder), export_names(path, exports)
    settings = settings or {"track": asdict(config), "adapt": None, "export": list(names)}
    check_results(path, folder, exports, overwrite)
    keep = Path(config.weights) if config.weights else None
    began, watch = time.perf_counter(), Stopwatch()
    with (
        output.writing((*OUTPUTS, *names.values()), overwrite, keep) as results,
        open_clip(path, config) as source,
        scratch_folder(results) as scratch,
    ):
        with watch("load"), threads(config.threads):
            model = model or load_for(source, config)
            export.require(names, model.decoder, config.export_options())
        yield Run(source, model, config, output, results, scratch, names, settings, progress, watch, began)
