"""OSC messages in a file: a line of JSON a frame, {"time": seconds, "messages": [[address, [arguments]], ...]}."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from selftrack.errors import UserError

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track


class Message(NamedTuple):
    """An OSC message."""

    address: str
    arguments: tuple[str | int | float, ...] = ()


class Moment(NamedTuple):
    """What is sent for one frame."""

    time: float
    """Seconds of the clip."""
    messages: list[Message]


def write_messages(
    track: Track, path: Path, messages: Callable[[int, dict[str, float], dict[str, float]], list[Message]]
) -> None:
    """Write the messages of each frame; they are made from its row, its curves and its pose, see `Track.pose`."""
    curves, pose = track.curves(), track.pose()
    with open(path, "w", encoding="utf-8") as file:
        for row, time in enumerate(track.times.tolist()):
            values, angles = ({name: float(v[row]) for name, v in columns.items()} for columns in (curves, pose))
            file.write(json.dumps({"time": time, "messages": messages(row, values, angles)}) + "\n")


def read_messages(path: Path) -> Iterator[Moment]:
    """Read the frames of a file one by one, as they are asked for.

    Raises:
        UserError: there is no such file, it has no frame, or a line is none or one that is earlier than that before.
    """
    last = -math.inf
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    moment = _moment(json.loads(line))
                except (ValueError, TypeError, KeyError) as error:
                    raise UserError(
                        f"{path}: line {number} is no frame of messages; such a file is written by --to osc or --to vmc"
                    ) from error
                if moment.time < last:
                    raise UserError(f"{path}: line {number} is earlier than the line before it")
                last = moment.time
                yield moment
        if last == -math.inf:
            raise UserError(f"{path}: holds no frame; such a file is written by --to osc or --to vmc")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"{path}: cannot be read ({why}); name a file of --to osc or --to vmc") from error


def _moment(line: dict[str, Any]) -> Moment:
    """The frame of a line. Raises ValueError, TypeError or KeyError where it is none."""
    time = float(line["time"])
    messages = [Message(address, tuple(arguments)) for address, arguments in line["messages"]]
    wrong = [m for m in messages if not (isinstance(m.address, str) and m.address.startswith("/"))]
    wrong += [m for m in messages if not all(type(argument) in (str, int, float) for argument in m.arguments)]
    if wrong or not messages or not math.isfinite(time):
        raise ValueError("no time, or no messages")
    return Moment(time, messages)
