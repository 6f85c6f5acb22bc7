"""What a batch does with each of its clips, and the hashes by which results are known to be of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from selftrack.adapt.clips import adapt_and_track, adapt_clip, read_for, settings_of
from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.adapt.run import Reading
from selftrack.adapt.verdict import Verdict
from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.clips.config import TrackConfig, load_model
from selftrack.tracker.clips.files import REPORT, REPORT_DATA
from selftrack.tracker.clips.summary import Summary
from selftrack.tracker.landmarks.base import landmark_source
from selftrack.tracker.model import Model
from selftrack.tracker.network.weights import BUNDLED, network_beside
from selftrack.tracker.progress import Progress, no_progress

Load = Callable[[TrackConfig], Model]
_ELSEWHERE = ("weights", "decoder", "streams", "device", "threads")
"""Settings that are no part of the hash: files of what tracks, whose bytes count, and what computes."""


class Tracked(NamedTuple):
    """What has become of a clip."""

    summary: Summary
    verdict: Verdict | None
    """Of the adaptation, where there was one."""
    files: tuple[str, ...]
    """Names in the folder of the results."""


@dataclass(frozen=True)
class Job:
    """What is done with each clip."""

    track: TrackConfig
    """Settings of the tracking."""
    adapt: AdaptConfig | None = None
    """Those of the adaptation to each clip; None for none."""
    exports: tuple[str, ...] = ()
    """Formats that are written, too."""
    report: bool = False
    """Whether `report.html` is written, too."""
    load: Load = load_model
    """Loads the model that tracks, once a process."""

    def settings(self) -> dict[str, Any]:
        """The content of a clip's config.yaml."""
        return settings_of(self.track, self.adapt, self.exports)

    def settings_hash(self) -> str:
        """SHA-256 in hex of the settings that the results depend on."""
        settings = self.settings() | {"report": self.report}
        settings["track"] = {name: value for name, value in settings["track"].items() if name not in _ELSEWHERE}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def weights_hash(self) -> str:
        """SHA-256 in hex of the files of what tracks. Raises UserError where one of them is not there."""
        track = self.track
        weights = track.weights or (network_beside(Path(track.decoder)) if track.decoder else None)
        files = [weights or BUNDLED[landmark_source(track.landmarks).points], track.decoder, track.streams]
        try:
            hashes = [file_hash(Path(file)) if file else "" for file in files]
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be read ({error.strerror}); name a file of weights") from error
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def on(self, device: str) -> Job:
        """The same on another device."""
        return replace(self, track=replace(self.track, device=device))

    def read(self, path: Path, model: Model) -> Reading | None:
        """Read a clip for its adaptation; None where there is none. Raises UserError as `adapt`."""
        return read_for(path, self.track, self.adapt, model) if self.adapt else None

    def adapt_only(self, path: Path, folder: Path, model: Model, reading: Reading) -> None:
        """Adapt to a clip that was read, and leave the result beside where the results will be: `run` goes on with it.

        Raises:
            UserError: as `adapt`.
        """
        assert self.adapt is not None, "expected settings of an adaptation"
        adapt_clip(path, folder, self.track, self.adapt, model, reading=reading)

    def run(
        self,
        path: Path,
        folder: Path,
        model: Model,
        overwrite: bool,
        progress: Progress = no_progress,
    ) -> Tracked:
        """Track a clip, as `track` does, into a folder, which gets the results when they are complete.

        `progress` is called as progress(stage, done, total).

        Raises:
            UserError: as `adapt_and_track`.
        """
        summary, verdict = adapt_and_track(
            path,
            folder,
            self.track,
            self.adapt,
            model,
            overwrite=overwrite,
            exports=self.exports,
            progress=lambda stage, done, total, figures: progress(stage, done, total),
        )
        if self.report:
            from selftrack.eval.report.report import write_report

            write_report(folder)
            return Tracked(summary, verdict, (*summary.names, REPORT, REPORT_DATA))
        return Tracked(summary, verdict, summary.names)
