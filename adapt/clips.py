"""An adaptation to the clip of a run of `track`, whose results go into a folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from selftrack.adapt import checkpoint
from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.adapt.run import Progress, Reading, Say, adapt, read
from selftrack.adapt.verdict import Verdict
from selftrack.io import PRIVATE, json_text
from selftrack.tracker.clips.config import TrackConfig, load_model, open_clip
from selftrack.tracker.clips.files import ADAPTATION, ADAPTED, Writer, check_results
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.summary import Summary
from selftrack.tracker.export import require
from selftrack.tracker.landmarks.cast import CastFace
from selftrack.tracker.model import Model
from selftrack.tracker.results.texture import clip_texture, write_texture
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.tracker import TrackerConfig


class Outcome(NamedTuple):
    """What a run has done."""

    summary: Summary
    verdict: Verdict | None
    """Of the adaptation, where there was one."""


def settings_of(track: TrackConfig, config: AdaptConfig | None, exports: Sequence[str] = ()) -> dict[str, Any]:
    """The content of the `config.yaml` of a run."""
    return {"track": asdict(track), "adapt": asdict(config) if config else None, "export": list(exports)}


def adapt_and_track(
    path: Path | str,
    folder: Path | str,
    track: TrackConfig,
    config: AdaptConfig | None,
    model: Model | None = None,
    *,
    overwrite: bool = False,
    exports: Sequence[str] = (),
    progress: Progress = lambda stage, done, total, figures: None,
    say: Say = lambda line: None,
) -> Outcome:
    """Track a clip as `track_clip`, by a model that is adapted to it first where there are settings for that.

    What can be refused is refused before the adaptation. What was learned is in the folder when the clip has been
    tracked; until then it waits in a checkpoint there, from which a run with the same settings goes on.

    Args:
        path: the clip.
        folder: of the results.
        track: settings of the tracking.
        config: settings of the adaptation; None for none.
        model: by default `load_model` of the settings.
        overwrite: replace the results of an earlier run.
        exports: names of formats of `tracker.export` to write there too.
        progress: called as progress(stage, done, total, figures).
        say: told from where an adaptation goes on.

    Raises:
        UserError: as `track_clip` and `adapt`.
    """
    verdict = also = None
    seconds = 0.0
    if config is not None:
        check_results(path, folder, exports, overwrite)
        model = model or load_model(track)
        require(exports, model.decoder, track.export_options())
        began = time.perf_counter()
        model, verdict, also = adapt_clip(path, folder, track, config, model, progress, say)
        seconds = time.perf_counter() - began
    summary = track_clip(
        path,
        folder,
        track,
        model=model,
        overwrite=overwrite,
        exports=exports,
        also=also,
        settings=settings_of(track, config, exports),
        progress=lambda stage, done, total: progress(stage, done, total, {}),
    )
    if config is not None:
        forget(folder)
        summary = replace(summary, adaptation=seconds, seconds={"adapt": seconds} | summary.seconds)
    return Outcome(summary, verdict)


def adapt_clip(
    path: Path | str,
    folder: Path | str,
    track: TrackConfig,
    config: AdaptConfig,
    model: Model,
    progress: Progress = lambda stage, done, total, figures: None,
    say: Say = lambda line: None,
    face: CastFace | None = None,
    reading: Reading | None = None,
) -> tuple[Model, Verdict, Writer]:
    """Adapt a model to the clip of a run of `track`, with a checkpoint in the folder of its results.

    `forget` deletes that when the results are there. `face` is the one of the number in `track`, where it is known.

    Returns:
        As `adapt`, and what writes `adapted.safetensors`, `adaptation.json` and `texture.png`, for `track_clip`.
    """
    with open_clip(path, track) as source:
        adapted, verdict = adapt(
            model, source, config, _tracking(track), progress, _checkpoint(folder), track.person, say, face, reading
        )

    def write(tracked: Track, used: Model, results: Path) -> None:
        if verdict.kept:
            used.save(results / ADAPTED)
        (results / ADAPTATION).write_text(json_text(verdict.report()), encoding="utf-8")
        if tracked.ok.any():
            write_texture(clip_texture(tracked, track.overlay_style.texture), results)

    return adapted, verdict, write


def read_for(path: Path | str, track: TrackConfig, config: AdaptConfig, model: Model) -> Reading:
    """What `adapt_clip` reads of a clip, to be given to it. Raises UserError as `adapt`."""
    with open_clip(path, track) as source:
        return read(model, source, config, _tracking(track), track.person)


def _tracking(track: TrackConfig) -> TrackerConfig:
    """Those settings that are the tracker's own."""
    return TrackerConfig(track.identity, track.detect, track.crop)


def forget(folder: Path | str) -> None:
    """Delete the checkpoint of an adaptation whose results a folder has."""
    _checkpoint(folder).unlink(missing_ok=True)


def _checkpoint(folder: Path | str) -> Path:
    return Path(folder) / PRIVATE / checkpoint.NAME
