"""From a camera or a file to the senders and, if it is recorded, to a folder of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from selftrack.errors import UserError
from selftrack.io import OutputFolder
from selftrack.tracker.clips.config import TrackConfig, load_model, open_clip
from selftrack.tracker.clips.files import OUTPUTS, scratch_folder, write_settings
from selftrack.tracker.clips.notes import check_face, noted
from selftrack.tracker.clips.subjects import PersonConfig, known_person
from selftrack.tracker.live.capture import CameraFeed, Clock, EveryFrame, Feed, PacedFile
from selftrack.tracker.live.senders import Sender, Target, open_senders
from selftrack.tracker.live.session import LiveConfig, LiveSession, Say, Watch, run_live
from selftrack.tracker.live.statistics import Figures
from selftrack.tracker.model import Model
from selftrack.tracker.refinement.subject import Person
from selftrack.tracker.results import curves
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.rows import FileRows, NoRows, Rows
from selftrack.tracker.threads import threads
from selftrack.tracker.tracker import Tracker

CAMERA_REST = 3.0
"""Seconds at the start of a camera that are taken for the person's rest, where nothing else is said."""


class LiveSource(NamedTuple):
    """What is tracked."""

    place: int | Path
    """The number of a camera, or a video or pictures."""
    realtime: bool = False
    """Whether a file is played at its own speed, so that frames are dropped as a camera's are; else none are."""


@dataclass(frozen=True)
class LiveSummary:
    """What a live stream did."""

    figures: Figures
    targets: tuple[Target, ...]
    folder: Path | None = None
    """Where it was recorded."""
    names: tuple[str, ...] = ()
    """Of the files there."""
    notes: tuple[str, ...] = ()
    """One line each of what the user should know."""

    def __str__(self) -> str:
        """A few lines for the user."""
        lines = [
            f"frames   {self.figures.frames}, lost {self.figures.lost}, dropped {self.figures.dropped}",
            f"speed    {self.figures}",
        ]
        if self.targets:
            lines.append(f"sent     {', '.join(map(str, self.targets))}")
        if self.folder is not None:
            lines.append(f"results  {self.folder}: {', '.join(self.names)}")
        return "\n".join([*lines, *(f"note     {note}" for note in self.notes)])


@dataclass(frozen=True)
class Hooks:
    """How a stream is watched and steered from outside."""

    say: Say = print
    """Takes a line for the user."""
    going: Callable[[], bool] = lambda: True
    """Asked before each frame; the stream ends when it says no."""
    began: Callable[[LiveSession], None] = lambda session: None
    """Gets the session before the first frame, to calibrate it at a key."""
    watch: Watch = lambda shot, result: None
    """Is shown each frame and its result."""
    report: Callable[[Figures], None] = lambda figures: None
    """Gets the figures of each second."""
    also: Callable[[Path], None] = lambda folder: None
    """Writes further results into the folder of a recording, under names of `clips.files.OUTPUTS`."""
    clock: Clock = time.monotonic
    """Seconds."""


def track_live(
    source: LiveSource,
    targets: Sequence[Target] = (),
    folder: Path | None = None,
    tracking: TrackConfig | None = None,
    config: LiveConfig | None = None,
    *,
    overwrite: bool = False,
    model: Model | None = None,
    feed: Feed | None = None,
    hooks: Hooks | None = None,
) -> LiveSummary:
    """Track a camera, or a file as if it were one, and send each frame on.

    A recording has `track.npz`, `curves.csv`, `config.yaml` and what the hooks write. Pictures are not kept, so there
    is no overlay. It is complete or not there, as that of `track_clip`.

    Args:
        source: what is tracked.
        targets: where to send what.
        folder: where to record; None: nothing is.
        tracking: how it is tracked; `start`, `duration` and the like are those of the source.
        config: how the stream is run.
        overwrite: replace the results of an earlier run.
        model: what tracks; by default `load_model` of the settings.
        feed: the source, open; by default it is opened here.
        hooks: from outside.

    Raises:
        UserError: the source cannot be opened, a target cannot be reached or served, settings that do not hold, or a
            folder that cannot be written or has results and `overwrite` is not set.
        NoFaceError: it is recorded, and no face was found.
    """
    tracking, config, hooks = (
        replace(tracking or TrackConfig(), overlay=False),
        config or LiveConfig(),
        hooks or Hooks(),
    )
    _check(source, tracking)
    if folder is not None:
        OutputFolder(folder).check(OUTPUTS, overwrite)
    with ExitStack() as stack:
        feed = stack.enter_context(feed or open_feed(source, tracking, config, hooks))
        stack.enter_context(threads(tracking.threads))
        model, notes = _for_stream(model or load_model(tracking), tracking)
        person, of_person = _person(model, tracking)
        notes = [*notes, *of_person]
        senders = stack.enter_context(_opened(targets, model, config))
        rows = _Recording(folder, overwrite, tracking.weights) if folder is not None else None
        _warm_up(model, tracking, person, feed)
        tracker = Tracker(model, tracking, person=person, rows=stack.enter_context(rows) if rows else NoRows())
        session = LiveSession(tracker, senders, config, hooks.say, hooks.clock)
        rest = config.rest if config.rest is not None else CAMERA_REST if isinstance(source.place, int) else 0.0
        if rest > 0 and person is None:
            session.calibrate(rest)
        hooks.began(session)
        figures = run_live(feed, session, tracking.duration, hooks.going, hooks.watch, hooks.report, hooks.clock)
        names: tuple[str, ...] = ()
        if rows is not None:
            track = _finished(tracker, feed, tracking, (*notes, *_left_out(figures)))
            settings: dict[str, Any] = {"track": asdict(tracking), "live": asdict(config), "adapt": None, "export": []}
            names = rows.save(track, settings, hooks.also)
    return LiveSummary(figures, tuple(targets), folder, names, tuple(notes))


def open_feed(source: LiveSource, tracking: TrackConfig, config: LiveConfig, hooks: Hooks) -> Feed:
    """Open a camera or a file. Raises UserError where it cannot be opened."""
    if isinstance(source.place, int):
        return CameraFeed(source.place, config.patience, hooks.say, clock=hooks.clock)
    clip = open_clip(source.place, tracking)
    if source.realtime:
        return PacedFile(clip, config.patience, hooks.say, hooks.clock)
    return EveryFrame(clip, hooks.clock)


def _check(source: LiveSource, tracking: TrackConfig) -> None:
    """Refuse settings of a clip that a stream does not have. Raises UserError."""
    if tracking.person.photo is not None:
        raise UserError("track.person.photo: a stream is not searched for a person; leave it out, or track a file")
    if tracking.person.neutral is not None:
        raise UserError("track.person.neutral: a stream has no such second; it is calibrated at a key, or by live.rest")
    of_files = ("start", "fps", "stream", "timecode")
    given = [name for name in of_files if getattr(tracking, name) != getattr(TrackConfig(), name)]
    if isinstance(source.place, int):
        if given:
            raise UserError(f"track.{given[0]}: a camera has no such setting; it shows what is there now")
        if source.realtime:
            raise UserError("--realtime is how a file is played; a camera is always so; leave it out")


def _for_stream(model: Model, tracking: TrackConfig) -> tuple[Model, list[str]]:
    """The model for a stream, which is never the clip that weights were adapted to, and notes for the user."""
    if model.fit is None:
        return model, []
    if not model.fit.trained:
        note = "holds key frames of a clip and no network of its own; it was left out"
        return model.unadapted(), [f"{tracking.weights}: {note}"]
    return model.elsewhere(), []


def _person(model: Model, tracking: TrackConfig) -> tuple[Person | None, tuple[str, ...]]:
    """Who is known to be seen, and notes for the user."""
    if tracking.person.calibration is None:
        return None, ()
    if model.refiner is None:
        raise UserError("this face model has no rest of its own; leave --calibration out")
    return known_person(Path(tracking.person.calibration), model, tracking, PersonConfig())


def _warm_up(model: Model, tracking: TrackConfig, person: Person | None, feed: Feed) -> None:
    """Track a picture of the feed once, and forget that: a first frame takes longest, and what comes meanwhile is
    lost."""
    picture = feed.sample()
    if picture is not None:
        Tracker(model, tracking, person=person, rows=NoRows())(picture)


@contextmanager
def _opened(targets: Sequence[Target], model: Model, config: LiveConfig) -> Iterator[dict[Target, Sender]]:
    senders = open_senders(targets, model.decoder, config.subject)
    try:
        yield senders
    finally:
        for sender in senders.values():
            sender.close()


def _left_out(figures: Figures) -> list[str]:
    """A note where frames were dropped."""
    if not figures.dropped:
        return []
    return [
        f"{figures.dropped} frames came while others were worked on, and were dropped; times are those of the others"
    ]


def _finished(tracker: Tracker, feed: Feed, tracking: TrackConfig, notes: Sequence[str]) -> Track:
    """The track of what was recorded. Only that of a file of which nothing was dropped names its clip."""
    if isinstance(feed, EveryFrame):
        track = noted(tracker.finish(feed.source, tracking), (*notes, *feed.source.notes))
    else:
        track = noted(replace(tracker.finish(None, tracking), clip=feed.name), notes)
    check_face(track, feed.title)
    return track


class _Recording:
    """A folder of results while a stream is written to it: use it as a context manager, which gives the rows."""

    def __init__(self, folder: Path, overwrite: bool, weights: str | None) -> None:
        """`weights` are in use: where they are of an earlier run in this folder, they stay."""
        self._output, self._overwrite = OutputFolder(folder), overwrite
        self._keep = Path(weights) if weights else None
        self._stack = ExitStack()

    def __enter__(self) -> Rows:
        self._results = self._stack.enter_context(self._output.writing(OUTPUTS, self._overwrite, self._keep))
        scratch = self._stack.enter_context(scratch_folder(self._results))
        return self._stack.enter_context(FileRows(scratch))

    def __exit__(self, *exc: Any) -> bool | None:
        return self._stack.__exit__(*exc)

    def save(self, track: Track, settings: dict[str, Any], also: Callable[[Path], None]) -> tuple[str, ...]:
        """Write the results of a track, and what else there is; returns their names."""
        track.save(self._results)
        curves.write_curves(track, self._results)
        write_settings(settings, self._results)
        also(self._results)
        return tuple(name for name in OUTPUTS if (self._results / name).exists())
