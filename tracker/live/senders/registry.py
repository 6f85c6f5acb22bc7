"""The senders by name, and the KIND=HOST[:PORT] by which a user asks for one."""

from __future__ import annotations

import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from selftrack.errors import UserError
from selftrack.tracker.live.performance import Performance

if TYPE_CHECKING:
    from selftrack.decoders.base import Decoder

_TARGET = re.compile(r"([a-z]+)(?:=(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]+)(?::(\d{1,5}))?)?")
_HERE = "127.0.0.1"


class Target(NamedTuple):
    """Where to send what."""

    kind: str
    host: str
    port: int

    def __str__(self) -> str:
        """As the user writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}={host}:{self.port}"


class Sender(ABC):
    """Sends each frame's performance on. Nothing here waits: what cannot be sent at once is left out."""

    needs_arkit = False
    """Whether it needs ARKit's curves."""

    @abstractmethod
    def send(self, shown: Performance) -> None:
        """Send one frame. Raises OSError where the network refuses it."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds."""


class Kind(NamedTuple):
    """A kind of sender."""

    make: Callable[[Target, str], Sender]
    """By the target and the name of the subject."""
    port: int
    """Where receivers of this kind listen unless they are told otherwise."""
    needs_arkit: bool


SENDERS: dict[str, Kind] = {}


def sender(kind: str, port: int) -> Callable[[type[Sender]], type[Sender]]:
    """Register a class of senders, made of a `Target` and the subject's name. Raises ValueError of a name taken."""
    if kind in SENDERS:
        raise ValueError(f"there is a sender {kind} already")

    def register(made: type[Sender]) -> type[Sender]:
        SENDERS[kind] = Kind(made, port, made.needs_arkit)
        return made

    return register


def parse_target(text: str) -> Target:
    """Read KIND, KIND=HOST or KIND=HOST:PORT; without them it is this machine, and the usual port of the kind.

    Raises:
        UserError: it has another form, or there is no such kind or port.
    """
    match = _TARGET.fullmatch(text.strip())
    if match is None:
        raise UserError(f"--send takes KIND or KIND=HOST:PORT, such as livelink=127.0.0.1:11111; got {text!r}")
    kind, host, port = match[1], (match[2] or _HERE).strip("[]"), match[3]
    if kind not in SENDERS:
        raise UserError(f"--send {text}: there is no kind {kind!r}; there are {', '.join(sorted(SENDERS))}")
    number = int(port) if port else SENDERS[kind].port
    if not 0 < number < 65536:
        raise UserError(f"--send {text}: a port is a number from 1 to 65535")
    return Target(kind, host, number)


def open_senders(targets: Sequence[Target], decoder: Decoder, subject: str = "selftrack") -> dict[Target, Sender]:
    """Open a sender for each target.

    Args:
        targets: where to send what.
        decoder: whose curves are sent.
        subject: what receivers that know several people call this one.

    Raises:
        UserError: two targets are the same, a host is not known, a port is taken, or a kind needs ARKit's curves, which
            the decoder does not have.
    """
    opened: dict[Target, Sender] = {}
    with ExitStack() as stack:
        for target in targets:
            kind = SENDERS[target.kind]
            if target in opened:
                raise UserError(f"--send {target}: was given twice; leave one out")
            if kind.needs_arkit and not decoder.has_arkit_curves:
                raise UserError(
                    f"--send {target}: needs ARKit's curves, which this face model ({decoder.name}) does not have; "
                    f"there are {', '.join(sorted(name for name, other in SENDERS.items() if not other.needs_arkit))}"
                )
            opened[target] = kind.make(target, subject)
            stack.callback(opened[target].close)
        stack.pop_all()
    return opened


class Datagrams:
    """Sends packets to one place by UDP, without waiting."""

    def __init__(self, target: Target) -> None:
        """Raises UserError where the host is not known."""
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"--send {target}: the host {target.host} is not known ({why})") from error
        family, _, _, _, place = found[0]
        self._place: tuple[Any, ...] = place
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def __call__(self, packet: bytes) -> None:
        """Send a packet. Raises OSError where the network refuses it."""
        self._socket.sendto(packet, self._place)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
