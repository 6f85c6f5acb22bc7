"""A stream by a made-up model: what is sent, what is recorded, and an hour of it in flat memory."""

import gc
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from selftrack.errors import NoFaceError, UserError
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.live import run as runs
from selftrack.tracker.live.capture import Feed, Shot
from selftrack.tracker.live.performance import Performance
from selftrack.tracker.live.run import Hooks, LiveSource, track_live
from selftrack.tracker.live.senders import Sender, Target
from selftrack.tracker.live.session import LiveConfig, LiveSession, run_live
from selftrack.tracker.rows import FileRows, NoRows
from selftrack.tracker.tracker import Tracker

TARGET = Target("osc", "127.0.0.1", 9000)


def picture(number: int) -> np.ndarray:
    """What the made-up model takes for frame `number`."""
    return np.full((100, 120, 3), 5 * number + 5, np.uint8)


class Listener(Sender):
    """Keeps what is sent; refuses some."""

    def __init__(self, refuses: set[int] = frozenset()) -> None:
        self.heard: list[Performance] = []
        self.refuses, self.calls, self.closed = refuses, 0, False

    def send(self, shown: Performance) -> None:
        self.calls += 1
        if self.calls - 1 in self.refuses:
            raise OSError(101, "Network is unreachable")
        self.heard.append(shown)

    def close(self) -> None:
        self.closed = True


class Script(Feed):
    """Gives the frames of given numbers at given seconds, and None where it says so; the clock goes along."""

    def __init__(self, clock: object, steps: list[tuple[float, int | None]], work: float = 0.02) -> None:
        self.name, self.clock, self.steps, self.work, self.began = "camera0", clock, list(steps), work, clock.now

    def take(self, timeout: float) -> Shot | None:
        if not self.steps:
            self.ended = True
            return None
        seconds, number = self.steps.pop(0)
        if number is None:
            self.clock.now += timeout
            return None
        captured = self.began + seconds
        self.clock.now = captured + self.work
        return Shot(seconds, captured, picture(number))

    def close(self) -> None:
        self.steps = []


@pytest.fixture
def session(fake_model: Callable, clock: object) -> Callable[..., tuple[LiveSession, Listener, list[str]]]:
    def make(lost: set[int] = frozenset(), refuses: set[int] = frozenset(), **config: object) -> tuple:
        listener, said = Listener(refuses), []
        tracker = Tracker(fake_model(lost=lost), rows=NoRows())
        made = LiveSession(
            tracker, {TARGET: listener}, LiveConfig(**config), said.append, clock, lambda: clock.now + 1e9
        )
        return made, listener, said

    return make


def test_what_is_sent(session: Callable, clock: object) -> None:
    """Each frame as the tracker has it, with the moment it was taken, not that at which it was worked on."""
    made, listener, _ = session(lost={2})
    figures = run_live(Script(clock, [(i / 30, i) for i in range(5)]), made, clock=clock)
    assert [shown.ok for shown in listener.heard] == [True, True, False, True, True]
    assert [shown.index for shown in listener.heard] == list(range(5))
    np.testing.assert_allclose([shown.time for shown in listener.heard], np.arange(5) / 30)
    np.testing.assert_allclose([shown.moment for shown in listener.heard], 1e9 + 100 + np.arange(5) / 30, atol=1e-5)
    one = listener.heard[1]
    assert one.curves["mouthSmileLeft"] == pytest.approx(0.25)
    assert one.pose["roll"] == pytest.approx(np.degrees(0.02), abs=0.05)
    assert one.pose["tx"] == pytest.approx(61, abs=0.1) and one.pose["scale"] == pytest.approx(np.exp(5.51), rel=1e-3)
    lost = listener.heard[2]
    assert lost.confidence == 0 and lost.curves == one.curves and lost.pose == one.pose
    assert (figures.frames, figures.lost) == (5, 1) and figures.p50 == pytest.approx(0.02, abs=0.001)


def test_while_a_camera_is_silent_receivers_know(session: Callable, clock: object) -> None:
    made, listener, _ = session(silence=0.5)
    run_live(Script(clock, [(0.0, None), (0.0, 0), (0.1, 1), (0, None), (0, None), (2.0, 2)]), made, clock=clock)
    assert [shown.ok for shown in listener.heard] == [True, True, False, False, True]
    np.testing.assert_allclose([shown.time for shown in listener.heard], [0, 0.1, 0.6, 1.1, 2.0], atol=0.05)
    assert listener.heard[2].confidence == 0 and listener.heard[2].curves == listener.heard[1].curves


def test_a_face_is_found_again_in_the_first_frame_that_shows_it(session: Callable, clock: object) -> None:
    made, listener, _ = session(lost={3, 4, 5})
    run_live(Script(clock, [(i / 30, i) for i in range(8)]), made, clock=clock)
    assert [shown.ok for shown in listener.heard] == [True] * 3 + [False] * 3 + [True] * 2


def test_a_network_that_fails_is_told_once_and_tried_on(session: Callable, clock: object) -> None:
    made, listener, said = session(refuses={1, 2, 4})
    run_live(Script(clock, [(i / 30, i) for i in range(6)]), made, clock=clock)
    assert [shown.index for shown in listener.heard] == [0, 3, 5]
    assert said == ["osc=127.0.0.1:9000: cannot be sent (Network is unreachable); trying on"] * 2


def test_it_ends_after_its_duration_also_without_frames(session: Callable, clock: object) -> None:
    made, listener, _ = session()
    run_live(Script(clock, [(i / 10, i % 20) for i in range(100)]), made, duration=2.0, clock=clock)
    assert len(listener.heard) == 20
    made, listener, _ = session()
    run_live(Script(clock, [(0.0, 0)] + [(0.0, None)] * 100), made, duration=3.0, clock=clock)
    assert len(listener.heard) == 7  # the frame, and every half second of the three


def test_each_second_is_reported(session: Callable, clock: object) -> None:
    made, _, _ = session()
    reports: list = []
    run_live(Script(clock, [(i / 10, i % 20) for i in range(35)]), made, report=reports.append, clock=clock)
    assert [report.frames for report in reports] == [11, 10, 10]


def test_a_model_without_rest_says_so(session: Callable) -> None:
    made, _, said = session()
    made.calibrate()
    assert said == ["this face model has no rest of its own: there is nothing to calibrate"]


def test_an_hour_in_flat_memory(fake_model: Callable, clock: object, tmp_path: Path) -> None:
    """108,000 results, recorded as a tracker records them: what is kept of them is on the disk."""
    tracker = Tracker(fake_model(), rows=NoRows())
    listener = Listener()
    listener.heard = []  # type: ignore[assignment]
    listener.send = lambda shown: None  # type: ignore[method-assign]
    made = LiveSession(tracker, {TARGET: listener}, LiveConfig(smooth=True), clock=clock)
    result = made.frame(Shot(0.0, clock.now, picture(3)))
    with FileRows(tmp_path) as rows:

        def pass_on(first: int, last: int) -> None:
            for _ in range(first, last):
                rows.append(result)
                made.statistics.add(0.03, True)

        pass_on(0, 8_000)
        gc.collect()
        tracemalloc.start()
        pass_on(8_000, 108_000)
        kept, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 1_000_000 and kept < 200_000
        assert len(rows) == 108_000 and rows.columns()["landmarks"].shape == (108_000, 478, 2)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) / 108_000 == pytest.approx(4500, abs=150)


def test_what_a_stream_keeps_does_not_grow(session: Callable, clock: object) -> None:
    """Between two windows of tracked frames, an hour apart by the clock, no more is held than before."""
    made, listener, _ = session(smooth=True)
    listener.send = lambda shown: None  # type: ignore[method-assign]

    def pass_on(count: int) -> int:
        for i in range(count):
            clock.now += 0.1
            made.frame(Shot(clock.now, clock.now, picture(i % 20)))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    pass_on(40)  # the confidence's memory of seconds is full
    tracemalloc.start()
    before = pass_on(40)
    clock.now += 3600
    after = pass_on(40)
    tracemalloc.stop()
    assert after - before < 100_000  # 40 results are more than 300,000 bytes


@pytest.fixture
def live(fake_model: Callable, clock: object, tmp_path: Path) -> Callable:
    """`live(steps, lost)`: a recording in `rec`, and what was said."""

    def make(
        steps: list, lost: set[int] = frozenset(), also: Callable = lambda folder: None, **arguments: object
    ) -> tuple:
        said: list[str] = []
        feed = Script(clock, steps)
        feed.dropped = 4
        summary = track_live(
            LiveSource(0),
            folder=tmp_path / "rec",
            model=fake_model(lost=lost),
            feed=feed,
            hooks=Hooks(said.append, also=also, clock=clock),
            **arguments,
        )
        return summary, said

    return make


def test_a_recording(live: Callable, tmp_path: Path) -> None:
    summary, _ = live([(i / 10, i) for i in range(8)], {0, 4})
    assert summary.names == ("track.npz", "curves.csv", "config.yaml")
    assert {path.name for path in (tmp_path / "rec").iterdir()} == {*summary.names, ".selftrack"}
    track = load(tmp_path / "rec")
    assert track.ok.tolist() == [False, True, True, True, False, True, True, True] and track.clip == "camera0"
    np.testing.assert_allclose(track.times, np.arange(8) / 10)
    np.testing.assert_array_equal(track.z[4], track.z[3])
    assert track.notes[0].startswith("4 frames came while others were worked on")
    assert "frames   8, lost 2, dropped 4" in str(summary)
    with pytest.raises(UserError, match="results of an earlier run; replace them with --overwrite"):
        live([(0.0, 1)])
    live([(0.0, 1), (0.1, 2)], overwrite=True)
    assert len(load(tmp_path / "rec")) == 2


def test_what_is_written_beside_a_recording(live: Callable, tmp_path: Path) -> None:
    """It is among the results; a later recording in that folder by these weights keeps them."""
    weights = tmp_path / "rec" / "adapted.safetensors"
    summary, _ = live([(0.0, 1)], also=lambda folder: (folder / weights.name).write_text("learned"))
    assert summary.names == ("track.npz", "curves.csv", "config.yaml", weights.name)
    live([(0.0, 1)], overwrite=True, tracking=TrackConfig(weights=str(weights)))
    assert weights.read_text() == "learned"
    live([(0.0, 1)], overwrite=True)
    assert not weights.exists()


def test_a_recording_is_that_of_a_tracker_that_keeps_all(live: Callable, fake_model: Callable, tmp_path: Path) -> None:
    live([(i / 10, i) for i in range(6)], {2})
    track, tracker = load(tmp_path / "rec"), Tracker(fake_model(lost={2}))
    for i in range(6):
        tracker(picture(i), i / 10)
    whole = tracker.finish()
    for name in ("times", "ok", "confidence", "presence", "sharpness", "z", "H", "crop", "H_image", "landmarks"):
        np.testing.assert_array_equal(getattr(track, name), getattr(whole, name), err_msg=name)
        assert getattr(track, name).dtype == getattr(whole, name).dtype
    np.testing.assert_array_equal(track.curve_values, whole.curve_values)


def test_what_takes_long_once_is_over_before_the_stream_begins(fake_model: Callable, clock: object) -> None:
    """A sample goes through the model before the first frame is asked for, and is nothing that was tracked."""
    model, done = fake_model(), []

    class Sampled(Script):
        def sample(self) -> np.ndarray:
            return picture(5)

        def take(self, timeout: float) -> Shot | None:
            done.append(model.network.frames)
            return super().take(timeout)

    shown: list[int] = []
    hooks = Hooks(watch=lambda shot, result: shown.append(result.index), clock=clock)
    summary = track_live(LiveSource(0), model=model, feed=Sampled(clock, [(0.0, 0), (0.1, 1)]), hooks=hooks)
    assert done == [1, 2, 3] and shown == [0, 1] and summary.figures.frames == 2


def test_without_a_face_nothing_is_recorded(live: Callable, tmp_path: Path) -> None:
    with pytest.raises(NoFaceError):
        live([(i / 10, i) for i in range(3)], {0, 1, 2})
    assert os.listdir(tmp_path) == []


def test_an_error_leaves_nothing_and_closes_all(
    live: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    monkeypatch.setattr(runs, "open_senders", lambda targets, decoder, subject: {TARGET: listener})
    with pytest.raises(ValueError, match="comes after one"):
        live([(1.0, 1), (0.5, 2)])
    assert os.listdir(tmp_path) == [] and listener.closed


@pytest.mark.parametrize(
    "source, config, why",
    [
        (LiveSource(0), TrackConfig(start=2.0), "track.start: a camera has no such setting"),
        (
            LiveSource(0),
            TrackConfig(person=PersonConfig(photo="me.jpg")),
            "track.person.photo: a stream is not searched",
        ),
        (LiveSource(0, realtime=True), TrackConfig(), "--realtime is how a file is played"),
    ],
)
def test_settings_that_do_not_hold(source: LiveSource, config: TrackConfig, why: str) -> None:
    with pytest.raises(UserError, match=why):
        track_live(source, tracking=config)
