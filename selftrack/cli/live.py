"""`track live`: a camera, or a file as if it were one, sent to other programs as it comes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selftrack.cli.settings import (
    CalibrationOption,
    Given,
    Models,
    OverwriteOption,
    changed,
    check_roots,
    said,
    text_of,
    under,
)
from selftrack.command import quiet, run
from selftrack.errors import UserError
from selftrack.tracker.sources.names import check_there, place_of

if TYPE_CHECKING:
    from selftrack.adapt.live.background import BackgroundAdaptation
    from selftrack.tracker.clips.config import TrackConfig
    from selftrack.tracker.frame_result import FrameResult
    from selftrack.tracker.live.capture import Shot
    from selftrack.tracker.live.preview import Preview
    from selftrack.tracker.live.session import LiveSession, Say
    from selftrack.tracker.live.statistics import Figures

_ROOTS = ("track", "live")
_OTHERS = ("adapt", "export", "faces")  # of the config.yaml of a result; a stream has none of them


@dataclass(frozen=True)
class _Source:
    """What is tracked."""

    camera: Annotated[int | None, typer.Option(help="Track the camera of this number (default 0).", min=0)] = None
    source: Annotated[
        str | None,
        typer.Option(help="Track this video, or folder or pattern of pictures, instead of a camera.", metavar="CLIP"),
    ] = None
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            help="Play the source at its own speed, dropping frames as a camera does (default: every frame, as fast as "
            "it goes).",
        ),
    ] = False

    def check(self) -> None:
        """Refuse two at once."""
        if self.camera is not None and self.source is not None:
            raise UserError("--camera and --source exclude each other: name one of them")

    def place(self) -> int | Path:
        """The number of a camera, or a file. Raises UserError where that is not there."""
        if self.source is None:
            return self.camera or 0
        place = place_of(self.source)
        if isinstance(place, int):
            raise UserError(f"--source {self.source}: no such file; a camera is named with --camera {self.source}")
        check_there(place, f"--source {self.source}")
        return place


@dataclass(frozen=True)
class _Targets:
    """Where it goes."""

    play: Annotated[
        Path | None,
        typer.Option(
            help="Send a file of --to osc or --to vmc again, at its own times, instead of tracking; takes --send.",
            metavar="FILE",
        ),
    ] = None
    send: Annotated[
        list[str] | None,
        typer.Option(
            help="Send each frame to this place (HOST: this machine); may be given several times. KIND is livelink "
            "(Unreal, port 11111), vmc (VSeeFace, Warudo; 39539), osc (9000), or ws (a WebSocket server at that "
            "address; 8765).",
            metavar="KIND[=HOST[:PORT]]",
        ),
    ] = None
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Record into this folder (default: nothing is recorded).")
    ] = None


@dataclass(frozen=True)
class _Take:
    """How long, who, and what is made of it."""

    duration: Annotated[float | None, typer.Option(help="End after so many seconds (default: at Ctrl-C).")] = None
    face: Annotated[
        int | None, typer.Option(help="Follow the face of this number, the largest being 0 (default 0).", min=0)
    ] = None
    rest: Annotated[
        float | None,
        typer.Option(help="The face is at rest in its first so many seconds (default: 3 of a camera, 0 of a source)."),
    ] = None
    calibration: CalibrationOption = None
    smooth: Annotated[
        bool,
        typer.Option(
            "--smooth", help="Smooth what is sent (One-Euro filter); what is recorded is as tracked (default: no)."
        ),
    ] = False
    adapt_in_background: Annotated[
        bool,
        typer.Option(
            "--adapt-in-background",
            help="Fine-tune the tracker on the face of the first 20 s, by a process of low priority, and use that once "
            "it is ready, if it is better (default: no).",
        ),
    ] = False
    preview: Annotated[bool, typer.Option("--preview", help="Show a window; c calibrates, q ends (default: no).")] = (
        False
    )

    def settings(self) -> dict[str, Any]:
        """The settings of the take, by name."""
        return said(
            {
                "track.duration": self.duration,
                "track.detect.face": self.face,
                "track.person.calibration": text_of(self.calibration),
                "live.rest": self.rest,
                "live.smooth": self.smooth or None,
            }
        )


def live(
    *,
    source: _Source,
    targets: _Targets,
    take: _Take,
    models: Models,
    given: Given,
    overwrite: OverwriteOption = False,
) -> None:
    """Track a camera, or a file as if it were one, and send curves and head pose to other programs, frame by frame.

    With --play, what was tracked before is sent.

    Enter on the terminal calibrates: it takes the next three seconds of the face for its rest. Ctrl-C ends.
    """
    source.check()
    if targets.play is not None:
        others = (
            targets.output,
            *(value for group in (source, take, models, given) for value in vars(group).values()),
        )
        if any(value is not None and value is not False and value != [] for value in (*others, overwrite)):
            raise UserError("--play sends what was tracked before, and takes --send alone; leave the other options out")
        _play(targets.play, targets.send or [])
        return
    changes = _changed(given, take.settings() | models.settings(), take.adapt_in_background)
    _run(source, targets, take, changes, overwrite)


def _changed(given: Given, options: dict[str, Any], adapts: bool) -> dict[str, Any]:
    """Settings of a file, of --set and of options. Raises UserError where a stream has none of such a name."""
    from_file, assigned = given.from_file(*_OTHERS), given.assigned()
    for name in assigned:
        if name.startswith("track.overlay"):
            raise UserError(f"--set {name}: a stream's pictures are not kept, so there is no overlay; leave that out")
    changes = from_file | assigned | options
    check_roots(changes, (*_ROOTS, "adapt") if adapts else _ROOTS)
    return changes


def _run(source: _Source, targets: _Targets, take: _Take, changes: dict[str, Any], overwrite: bool) -> None:
    """Track with settings changed by name."""
    place = source.place()
    from selftrack.tracker.clips.config import TrackConfig
    from selftrack.tracker.live.run import Hooks, LiveSource, track_live
    from selftrack.tracker.live.senders import parse_target
    from selftrack.tracker.live.session import LiveConfig

    tracking = changed(TrackConfig(), under(changes, "track"), "track.")
    config = changed(LiveConfig(), under(changes, "live"), "live.")
    senders = [parse_target(text) for text in targets.send or ()]
    if not senders and targets.output is None and not take.preview:
        raise UserError("nothing would come of it; name a place with --send, a folder with -o, or add --preview")
    goes = [f"sent to {target}" for target in senders] + [f"recorded into {targets.output}"] * bool(targets.output)
    terminal = _Terminal(", ".join(goes), tracking.person.calibration is not None)
    with terminal.shown(take.preview), ExitStack() as stack:
        if take.adapt_in_background:
            terminal.learn = _learner(tracking, under(changes, "adapt"), terminal.say, stack)
        hooks = Hooks(
            terminal.say,
            lambda: not terminal.over,
            terminal.began,
            terminal.watch,
            terminal.report,
            terminal.write,
        )
        read = LiveSource(place, source.realtime)
        summary = track_live(read, senders, targets.output, tracking, config, overwrite=overwrite, hooks=hooks)
    if not quiet():
        print(summary)


def _play(path: Path, send: list[str]) -> None:
    """Send a file of messages again."""
    from selftrack.tracker.live.playback import play
    from selftrack.tracker.live.senders import parse_target

    targets = [parse_target(text) for text in send]
    if not targets:
        raise UserError("--play needs a place to send to: --send vmc=HOST:PORT or osc=HOST:PORT")
    terminal = _Terminal()
    with terminal.shown(False):
        terminal.end_at_interrupt()
        frames = play(path, targets, lambda: not terminal.over, terminal.say)
    if not quiet():
        print(f"frames   {frames}\nsent     {', '.join(map(str, targets))}")


def _learner(
    tracking: TrackConfig, changes: dict[str, Any], say: Say, stack: ExitStack
) -> Callable[[LiveSession], BackgroundAdaptation]:
    """What begins an adaptation in the background of a stream, which ends with the stack. Raises UserError where there
    is no such setting."""
    from selftrack.adapt.live.background import BackgroundAdaptation
    from selftrack.adapt.live.process import Job
    from selftrack.adapt.run import load_preset

    if tracking.identity != "clip":
        raise UserError("--adapt-in-background learns one identity; use it without track.identity per-frame")
    job = Job(tracking, changed(load_preset(), changes, "adapt."))
    return lambda session: stack.enter_context(BackgroundAdaptation(job, session, say))


class _Terminal:
    """What is shown while a stream runs, and the keys that are pressed."""

    def __init__(self, goes: str = "", known: bool = False) -> None:
        """`goes`: where the frames go, in words; `known`: whether it is known who is seen."""
        self.over = False
        self._goes, self._known = goes, known
        self._line = ""  # that of the last second, which the next one replaces
        self._live = sys.stderr.isatty() and not quiet()
        self._session: LiveSession | None = None
        self._asked = threading.Event()
        self._preview: Preview | None = None
        self._handler = signal.getsignal(signal.SIGINT)
        self.learn: Callable[[LiveSession], BackgroundAdaptation] | None = None
        """What begins an adaptation to the stream, if there is to be one."""
        self._adaptation: BackgroundAdaptation | None = None

    @contextmanager
    def shown(self, preview: bool) -> Iterator[None]:
        """With a window, if that is asked for and there is a display."""
        if preview:
            from selftrack.tracker.live.preview import Preview, missing_display

            missing = missing_display()
            if missing:
                self.say(missing)
            else:
                self._preview = Preview()
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, self._handler)
            self._clear()
            if self._preview is not None:
                self._preview.close()

    def say(self, line: str) -> None:
        """Show a line."""
        if not quiet():
            self._clear()
            print(line, file=sys.stderr, flush=True)

    def began(self, session: LiveSession) -> None:
        """Take the session, and from now on Ctrl-C and the Enter key; before that, Ctrl-C ends the command at once."""
        self._session = session
        if self.learn is not None:
            self._adaptation = self.learn(session)
        self.end_at_interrupt()
        self.say(f"tracking{f': {self._goes}' if self._goes else ''}; Ctrl-C ends")
        if sys.stdin is not None and sys.stdin.isatty():
            unknown = "" if self._known or session.calibrating else "no rest was taken; "
            self.say(f"{unknown}Enter calibrates: it takes the face of the next seconds for its rest")
            threading.Thread(target=self._read_keys, name="keys", daemon=True).start()

    def end_at_interrupt(self) -> None:
        """From now on, Ctrl-C ends after the frame that is worked on."""
        signal.signal(signal.SIGINT, self._end)

    def watch(self, shot: Shot, result: FrameResult) -> None:
        """Show a frame, let it be learned from, and do what a key has asked for."""
        if self._adaptation is not None:
            self._adaptation.watch(shot, result)
        key = "" if self._preview is None else self._preview.show(shot.image, result, self._line)
        self.over = self.over or key == "q"
        if (key == "c" or self._asked.is_set()) and self._session is not None:
            self._asked.clear()
            self._session.calibrate()

    def write(self, folder: Path) -> None:
        """Write what was learned into the folder of a recording."""
        if self._adaptation is not None:
            self._adaptation.save(folder)

    def report(self, figures: Figures) -> None:
        """Show how well it runs, on a terminal in place of the line before."""
        line = f"{figures}, dropped {figures.dropped}, without a face {figures.lost}"
        if self._live:
            print(f"\r{line:<{len(self._line)}}", end="", file=sys.stderr, flush=True)
        self._line = line

    def _end(self, number: int, frame: object) -> None:
        """End after the frame that is worked on; pressed again, Ctrl-C ends at once, and nothing is recorded."""
        self.over = True
        signal.signal(signal.SIGINT, self._handler)

    def _clear(self) -> None:
        if self._live and self._line:
            print("\r" + " " * len(self._line) + "\r", end="", file=sys.stderr, flush=True)

    def _read_keys(self) -> None:
        for _ in sys.stdin:
            self._asked.set()


def main() -> None:
    """Run `track live`, whose options are behind that word."""
    run("track live", None, sys.argv[2:], live=live)
