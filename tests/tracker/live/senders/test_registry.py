"""KIND[=HOST[:PORT]] as a user writes it."""

import socket
from types import SimpleNamespace

import pytest

from selftrack.errors import UserError
from selftrack.tracker.live.senders import SENDERS, Target, open_senders, parse_target

HEAD = SimpleNamespace(name="head", has_arkit_curves=True)
PERSONAL = SimpleNamespace(name="person", has_arkit_curves=False)


@pytest.mark.parametrize(
    "text, target",
    [
        ("livelink=10.0.0.5:11112", Target("livelink", "10.0.0.5", 11112)),
        ("livelink", Target("livelink", "127.0.0.1", 11111)),
        ("livelink=studio", Target("livelink", "studio", 11111)),
        ("vmc=localhost", Target("vmc", "localhost", 39539)),
        (" osc=127.0.0.1:7000 ", Target("osc", "127.0.0.1", 7000)),
        ("ws=[::1]:8080", Target("ws", "::1", 8080)),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text, why",
    [
        ("livelink=", "takes KIND or KIND=HOST:PORT"),
        ("livelink=a:b", "takes KIND or KIND=HOST:PORT"),
        ("livelink:11111", "takes KIND or KIND=HOST:PORT"),
        ("127.0.0.1", "takes KIND or KIND=HOST:PORT"),
        ("tv", "there is no kind 'tv'; there are livelink, osc, vmc, ws"),
        ("faces=127.0.0.1:1", "there is no kind 'faces'; there are livelink, osc, vmc, ws"),
        ("osc=127.0.0.1:0", "a port is a number from 1 to 65535"),
        ("osc=127.0.0.1:70000", "a port is a number from 1 to 65535"),
    ],
)
def test_what_is_no_target(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        parse_target(text)


def test_what_cannot_be_opened() -> None:
    with pytest.raises(UserError, match="host no.such.host.invalid is not known"):
        open_senders([Target("osc", "no.such.host.invalid", 9000)], HEAD)
    with pytest.raises(UserError, match="osc=127.0.0.1:9000: was given twice"):
        open_senders([Target("osc", "127.0.0.1", 9000)] * 2, HEAD)
    with pytest.raises(UserError, match=r"needs ARKit's curves, which this face model \(person\) .* there are osc, ws"):
        open_senders([Target("livelink", "127.0.0.1", 1)], PERSONAL)
    assert {name for name, kind in SENDERS.items() if kind.needs_arkit} == {"livelink", "vmc"}


def test_after_an_error_nothing_stays_open() -> None:
    """The port of the server that was opened first is free again."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with pytest.raises(UserError):
        open_senders([Target("ws", "127.0.0.1", port), Target("osc", "no.such.host.invalid", 1)], HEAD)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
