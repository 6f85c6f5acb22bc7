"""Plain OSC 1.0 by UDP, for TouchDesigner, Max, add-ons and scripts; the messages are those of the format `osc`.

A frame is a bundle, or several where it is too long for a datagram.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from selftrack.errors import of_extra
from selftrack.tracker.export.tables.messages import Message
from selftrack.tracker.export.tables.osc import osc_messages
from selftrack.tracker.live.performance import Performance
from selftrack.tracker.live.senders.registry import Datagrams, Sender, Target, sender

MOST_BYTES = 1400
"""Of a datagram: one that is longer than a packet of an Ethernet is lost as a whole with any part of it."""


class OscDatagrams:
    """Sends OSC messages to one place, in as few bundles as fit into datagrams."""

    def __init__(self, target: Target) -> None:
        """Raises UserError where the host is not known, or python-osc is not installed."""
        with of_extra("live"):
            import pythonosc.osc_bundle_builder  # noqa: F401  before anything is opened
        self._datagrams = Datagrams(target)

    def __call__(self, messages: Iterable[Message]) -> None:
        """Send messages of one moment. Raises OSError where the network refuses them."""
        for bundle in bundles(messages):
            self._datagrams(bundle)

    def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()


def bundles(messages: Iterable[Message]) -> Iterator[bytes]:
    """Put messages into bundles of at most `MOST_BYTES` each, in their order. They are to be used at once, whatever the
    receiver's clock says."""
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
    from pythonosc.osc_message_builder import OscMessageBuilder

    bundle, size, count = OscBundleBuilder(IMMEDIATELY), 16, 0  # "#bundle", its end and the time
    for address, arguments in messages:
        builder = OscMessageBuilder(address)
        for argument in arguments:
            builder.add_arg(argument)
        message = builder.build()
        if count and size + 4 + message.size > MOST_BYTES:
            yield bundle.build().dgram
            bundle, size, count = OscBundleBuilder(IMMEDIATELY), 16, 0
        bundle.add_content(message)
        size, count = size + 4 + message.size, count + 1
    yield bundle.build().dgram


@sender("osc", 9000)
class Osc(Sender):
    """To anything that reads OSC."""

    def __init__(self, target: Target, subject: str) -> None:
        self._send = OscDatagrams(target)

    def send(self, shown: Performance) -> None:
        """See `Sender.send`."""
        self._send(osc_messages(shown.time, shown.ok, shown.confidence, shown.curves, shown.pose))

    def close(self) -> None:
        """See `Sender.close`."""
        self._send.close()
