"""Unreal's Live Link Face: the packets that version 6 of Epic's app sends by UDP, one a frame.

    uint8     version, 6
    int32     length of the device's id, and its UTF-8 bytes (the app's are the 36 of a UUID)
    int32     length of the subject's name, and its UTF-8 bytes
    int32     frame, float32 sub-frame, int32 rate, int32 its denominator (Unreal's FQualifiedFrameTime)
    uint8     number of the values, 61, or 0 where no face is seen
    float32   the values: 52 curves in ARKit's own order, then head and eyes as yaw, pitch and roll, radians

All numbers are big-endian. This is how receivers read the app's packets: JimWest/PyLiveLinkFace, which has the order of
the values, and think-biq/LLV, whose readme quotes the sizes in Unreal's AppleARKitLiveLinkSource.cpp. (PyLiveLinkFace
takes the first three bytes of the id's length for the version's and the last one, 36 or "$", for the id's.) The frame
is the time of day in sixtieths of a second, as in the app's own timecode. Signs are those of the `livelink` file.
"""

from __future__ import annotations

import struct
import time
import uuid

import numpy as np

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.export.tables.livelink import livelink_values
from selftrack.tracker.live.performance import Performance
from selftrack.tracker.live.senders.registry import Datagrams, Sender, Target, sender

VERSION = 6
RATE = 60
"""On which the app counts frames, at any rate of its camera."""
_ANGLES = tuple(f"{part}{angle}" for part in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll"))
_ORDER = (*(name[0].upper() + name[1:] for name in ARKIT_NAMES), *_ANGLES)


def packet(shown: Performance, subject: str, device: str) -> bytes:
    """Put a frame into a packet; one without a face has no values."""
    moment = time.localtime(shown.moment)
    day = 3600 * moment.tm_hour + 60 * moment.tm_min + moment.tm_sec + shown.moment % 1
    frame, rest = divmod(day * RATE, 1)
    head = struct.pack(">B", VERSION) + _text(device) + _text(subject)
    head += struct.pack(">ifii", int(frame), rest, RATE, 1)
    if not shown.ok:
        return head + struct.pack(">B", 0)
    columns = ({name: np.array([value]) for name, value in part.items()} for part in (shown.curves, shown.pose))
    values = livelink_values(*columns)
    return head + struct.pack(f">B{len(_ORDER)}f", len(_ORDER), *(values[name][0] for name in _ORDER))


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">i", len(data)) + data


@sender("livelink", 11111)
class LiveLink(Sender):
    """To Unreal's Live Link, source "Live Link Face" or Message Bus of the Apple ARKit plugin."""

    needs_arkit = True

    def __init__(self, target: Target, subject: str) -> None:
        self._datagrams, self._subject = Datagrams(target), subject
        # the same at each run, so that Unreal takes it for the same device
        self._device = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{subject}.selftrack")).upper()

    def send(self, shown: Performance) -> None:
        """See `Sender.send`."""
        self._datagrams(packet(shown, self._subject, self._device))

    def close(self) -> None:
        """See `Sender.close`."""
        self._datagrams.close()
