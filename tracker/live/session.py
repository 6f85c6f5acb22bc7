"""A live stream: each frame is tracked and sent on; what nobody keeps is forgotten."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from selftrack.errors import UserError
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.live.calibration import Calibration, can_rest
from selftrack.tracker.live.capture import Feed, Shot
from selftrack.tracker.live.one_euro import SmoothConfig, Smoother
from selftrack.tracker.live.performance import Performance
from selftrack.tracker.live.senders.registry import Sender, Target
from selftrack.tracker.live.statistics import Figures, Statistics
from selftrack.tracker.tracker import Tracker

Say = Callable[[str], None]


@dataclass(frozen=True)
class LiveConfig:
    """Settings of a live stream."""

    rest: float | None = None
    """Seconds of the face at the start that show it at rest; 0: none do. None: 3 of a camera, none of a file."""
    recalibration: float = 3.0
    """Seconds of the face that are taken for its rest when a key asks for that."""
    smooth: bool = False
    """Whether what is sent goes through a One-Euro filter; what is recorded never does."""
    smoothing: SmoothConfig = field(default_factory=SmoothConfig)
    """The filter."""
    silence: float = 0.5
    """Seconds without a frame after which receivers are told that there is no face, and then as often again."""
    patience: float = 2.0
    """Seconds without a frame after which a camera is opened again."""
    subject: str = "selftrack"
    """What receivers that know several people call this one."""

    def __post_init__(self) -> None:
        for name, seconds in {"rest": self.rest, "recalibration": self.recalibration}.items():
            if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
                raise UserError(f"{name} must be seconds, 0 or more; got {seconds}")


class LiveSession:
    """What a stream has: its tracker, its senders and its figures. It is for one thread."""

    def __init__(
        self,
        tracker: Tracker,
        senders: Mapping[Target, Sender],
        config: LiveConfig | None = None,
        say: Say = print,
        clock: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        """Begin a stream.

        Args:
            tracker: of no other frames.
            senders: by what the user calls them.
            config: how.
            say: takes a line for the user.
            clock: seconds, that of the frames' `Shot.captured`.
            epoch: seconds of the Unix epoch.
        """
        self.config, self._tracker, self._senders = config or LiveConfig(), tracker, senders
        self._say, self._clock, self._epoch = say, clock, epoch
        self._calibration = Calibration(tracker, self.config.recalibration) if can_rest(tracker) else None
        self._smoother = Smoother(self.config.smoothing) if self.config.smooth else None
        self._refused: set[Target] = set()
        self._last: tuple[float, Performance] | None = None  # when it was sent, and what
        self.statistics = Statistics(clock())

    @property
    def tracker(self) -> Tracker:
        """What tracks the frames."""
        return self._tracker

    @property
    def calibrating(self) -> bool:
        """Whether the face is at rest now, by what the user was told."""
        return self._calibration is not None and self._calibration.runs

    def calibrate(self, seconds: float | None = None) -> None:
        """Take the next seconds of the face for its rest, by default `LiveConfig.recalibration`."""
        if self._calibration is None:
            self._say("this face model has no rest of its own: there is nothing to calibrate")
            return
        seconds = self.config.recalibration if seconds is None else seconds
        self._calibration = Calibration(self._tracker, seconds)
        self._calibration.begin()
        self._say(f"calibrating: keep a relaxed face for {seconds:g} s")

    def frame(self, shot: Shot) -> FrameResult:
        """Track a frame and send it on."""
        result = self._tracker(shot.image, shot.time)
        shown = Performance.of(result, self._epoch() - (self._clock() - shot.captured))
        if self._calibration is not None and self._calibration.add(result):
            self._say("calibrated: the face at rest is known")
        self._send(self._smoother(shown) if self._smoother else shown)
        self.statistics.add(self._clock() - shot.captured, result.ok)
        return result

    def silence(self) -> None:
        """Tell receivers that nothing is seen; before the first frame there is nothing to tell."""
        if self._last is not None:
            at, shown = self._last
            self._send(shown.without_face(self._clock() - at))

    def _send(self, shown: Performance) -> None:
        for target, sender in self._senders.items():
            try:
                sender.send(shown)
            except OSError as error:  # nobody listens, or the cable is out: that may change
                if target not in self._refused:
                    self._refused.add(target)
                    self._say(f"{target}: cannot be sent ({error.strerror or error}); trying on")
            else:
                self._refused.discard(target)
        self._last = self._clock(), shown


Watch = Callable[[Shot, FrameResult], None]
"""Is shown each frame and its result."""


def run_live(
    feed: Feed,
    session: LiveSession,
    duration: float | None = None,
    going: Callable[[], bool] = lambda: True,
    watch: Watch = lambda shot, result: None,
    report: Callable[[Figures], None] = lambda figures: None,
    clock: Callable[[], float] = time.monotonic,
) -> Figures:
    """Track a feed's frames until it ends.

    Args:
        feed: where they come from.
        session: what tracks and sends them.
        duration: seconds of the stream after which to end, by the frames' times, and by the clock while none come.
        going: asked before each frame; the stream ends when it says no.
        watch: is shown each frame and its result.
        report: gets the figures of each second.
        clock: seconds.

    Returns:
        The figures of the whole stream.
    """
    reported = arrived = clock()
    first: float | None = None
    last = 0.0
    while going() and not feed.ended:
        shot = feed.take(session.config.silence)
        if shot is not None:
            first = shot.time if first is None else first
            last, arrived = shot.time - first, clock()
            if duration is not None and last >= duration:
                break
            watch(shot, session.frame(shot))
        elif not feed.ended:
            session.silence()
            if duration is not None and last + clock() - arrived >= duration:
                break
        if clock() - reported >= 1:
            reported = clock()
            report(session.statistics.recent(reported, feed.dropped))
    return session.statistics.whole(clock(), feed.dropped)
