"""Messages that were written into a file, sent again as they were streamed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from selftrack.errors import UserError
from selftrack.tracker.export.tables.messages import Message, read_messages
from selftrack.tracker.live.capture import Clock
from selftrack.tracker.live.senders.osc import OscDatagrams
from selftrack.tracker.live.senders.registry import Target
from selftrack.tracker.live.session import Say

KINDS = ("osc", "vmc")
"""Of the targets to which messages can be sent: both are OSC by UDP."""
_DOZE = 0.1
"""Seconds after which, at the latest, it is asked again whether to go on."""


def play(
    path: Path,
    targets: Sequence[Target],
    going: Callable[[], bool] = lambda: True,
    say: Say = print,
    clock: Clock = time.monotonic,
    wait: Callable[[float], object] = lambda seconds: time.sleep(min(seconds, _DOZE)),
) -> int:
    """Send the frames of a file at their own times, the first at once.

    Args:
        path: a file of the formats `osc` or `vmc`.
        targets: where to send them.
        going: asked before each frame; playing ends when it says no.
        say: takes a line for the user.
        clock: seconds.
        wait: waits for so many seconds, or less.

    Returns:
        How many frames were sent.

    Raises:
        UserError: a target is of another kind or given twice, a host is not known, the file cannot be read, or a line
            of it is no frame.
    """
    for target in targets:
        if target.kind not in KINDS:
            raise UserError(f"--send {target}: a file of messages can be sent to {' and '.join(KINDS)} alone")
    if len(set(targets)) < len(targets):
        raise UserError(f"--send: {', '.join(map(str, targets))} has a place twice; leave one out")
    count, start = 0, 0.0
    with ExitStack() as stack:
        places = {target: OscDatagrams(target) for target in targets}
        for datagrams in places.values():
            stack.callback(datagrams.close)
        refused: set[Target] = set()
        for moment in read_messages(path):
            if not count:
                start = clock() - moment.time
            while going() and (early := start + moment.time - clock()) > 0:
                wait(early)
            if not going():
                break
            refused = _send(moment.messages, places, refused, say)
            count += 1
    return count


def _send(
    messages: Sequence[Message], places: dict[Target, OscDatagrams], refused: set[Target], say: Say
) -> set[Target]:
    """Send to all places. Returns those that the network refuses; a line says so of those that it did not before."""
    now: set[Target] = set()
    for target, datagrams in places.items():
        try:
            datagrams(messages)
        except OSError as error:
            now.add(target)
            if target not in refused:
                say(f"{target}: cannot be sent ({error.strerror or error}); trying on")
    return now
