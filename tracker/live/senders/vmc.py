"""The VMC protocol by UDP, for VSeeFace, Warudo and others; its messages are those of the format `vmc`."""

from __future__ import annotations

from selftrack.tracker.export.tables.vmc import vmc_messages
from selftrack.tracker.live.performance import Performance
from selftrack.tracker.live.senders.osc import OscDatagrams
from selftrack.tracker.live.senders.registry import Sender, Target, sender


@sender("vmc", 39539)
class Vmc(Sender):
    """To what the protocol calls a marionette."""

    needs_arkit = True

    def __init__(self, target: Target, subject: str) -> None:
        self._send = OscDatagrams(target)

    def send(self, shown: Performance) -> None:
        """See `Sender.send`."""
        self._send(vmc_messages(shown.time, shown.ok, shown.curves, shown.pose))

    def close(self) -> None:
        """See `Sender.close`."""
        self._send.close()
