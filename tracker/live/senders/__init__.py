"""What sends a live stream on, one module a protocol; all are imported with the package and register themselves."""

from selftrack.tracker.live.senders import livelink, osc, vmc, websocket
from selftrack.tracker.live.senders.registry import SENDERS, Sender, Target, open_senders, parse_target

__all__ = ["SENDERS", "Sender", "Target", "livelink", "open_senders", "osc", "parse_target", "vmc", "websocket"]
