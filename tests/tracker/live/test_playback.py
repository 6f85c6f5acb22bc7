"""A file of messages played to a receiver of this machine, which reads them by python-osc."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pythonosc.osc_bundle import OscBundle

from selftrack.errors import UserError
from selftrack.tracker.export import write
from selftrack.tracker.export.tables.messages import read_messages
from selftrack.tracker.live.playback import play
from selftrack.tracker.live.senders.registry import Target
from selftrack.tracker.results.track_file import Track

TIMES = [5.0, 5.04, 5.1, 5.1, 5.9]


class Port:
    """A port of this machine."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.number = self.socket.getsockname()[1]

    def messages(self) -> list[tuple[str, list]]:
        """What has come since the last call, decoded by python-osc."""
        found = []
        while True:
            try:
                bundle = OscBundle(self.socket.recv(65535))
            except BlockingIOError:
                return found
            found += [(message.address, message.params) for message in bundle]


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.socket.close()


@pytest.fixture
def take(make_track: Callable[..., Track]) -> Track:
    """Five frames from second 5 on, at uneven times; one has no face."""
    return make_track(TIMES, {"jawOpen": np.linspace(0, 1, 5)}, ry=0.2, lost=[1])


@pytest.mark.parametrize("to,kind", [("osc", "osc"), ("vmc", "vmc"), ("vmc", "osc")])
def test_all_messages_come_at_their_own_times(
    take: Track, tmp_path: Path, port: Port, clock: Callable[[], float], to: str, kind: str
) -> None:
    """By a clock that goes on only where the player waits, a little more than it asks for."""
    path, came = write(take, to, tmp_path / "take.jsonl"), []

    def receive() -> None:
        came.extend((clock.now, address, values) for address, values in port.messages())

    def wait(seconds: float) -> None:
        receive()  # all that was sent before this wait
        clock.now += min(seconds, 0.1) + 0.001

    assert play(path, [Target(kind, "127.0.0.1", port.number)], clock=clock, wait=wait) == 5
    receive()
    expected = [(m.time - 5.0 + 100.0, *message) for m in read_messages(path) for message in m.messages]
    assert len(came) == len(expected)
    for (at, address, values), (due, sent_to, sent) in zip(came, expected, strict=True):
        assert address == sent_to and 0 <= at - due < 0.010
        assert [type(value) for value in values] == [type(value) for value in sent]
        assert [v for v in values if not isinstance(v, float)] == [v for v in sent if not isinstance(v, float)]
        numbers = [[v for v in of if isinstance(v, float)] for of in (values, sent)]
        np.testing.assert_allclose(*numbers, rtol=1e-6)


def test_it_ends_when_it_is_told_to(take: Track, tmp_path: Path, port: Port, clock: Callable[[], float]) -> None:
    """Also while it waits for the next frame."""
    path = write(take, "osc", tmp_path / "take.jsonl")

    def wait(seconds: float) -> None:
        clock.now += 0.01

    target = Target("osc", "127.0.0.1", port.number)
    assert play(path, [target], going=lambda: clock.now < 100.07, clock=clock, wait=wait) == 2


def test_a_place_that_cannot_be_reached_is_said_once(
    take: Track, tmp_path: Path, port: Port, clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one gets all frames."""
    from selftrack.tracker.live.senders import registry

    class Cut(registry.Datagrams):
        def __call__(self, packet: bytes) -> None:
            if self._place[1] == 9:
                raise OSError(101, "Network is unreachable")
            super().__call__(packet)

    monkeypatch.setattr("selftrack.tracker.live.senders.osc.Datagrams", Cut)
    said: list[str] = []
    path = write(take, "osc", tmp_path / "take.jsonl")
    targets = [Target("osc", "127.0.0.1", number) for number in (9, port.number)]

    def wait(seconds: float) -> None:
        clock.now += seconds

    assert play(path, targets, say=said.append, clock=clock, wait=wait) == 5
    assert said == ["osc=127.0.0.1:9: cannot be sent (Network is unreachable); trying on"]
    assert [address for address, _ in port.messages()].count("/frame/time") == 5


@pytest.mark.parametrize(
    "targets,words",
    [
        ([Target("livelink", "127.0.0.1", 11111)], "livelink=127.0.0.1:11111: .* osc and vmc alone"),
        ([Target("osc", "127.0.0.1", 9)] * 2, "twice"),
    ],
)
def test_places_that_it_cannot_send_to(take: Track, tmp_path: Path, targets: list[Target], words: str) -> None:
    with pytest.raises(UserError, match=words):
        play(write(take, "osc", tmp_path / "take.jsonl"), targets)
