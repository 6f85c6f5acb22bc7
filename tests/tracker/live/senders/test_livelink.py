"""Packets of Live Link Face, read by the published layout."""

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from selftrack.tracker.live.senders.livelink import LiveLink, packet
from selftrack.tracker.live.senders.registry import Target

# the order in which JimWest/PyLiveLinkFace numbers the values of a packet
ORDER = """
EyeBlinkLeft EyeLookDownLeft EyeLookInLeft EyeLookOutLeft EyeLookUpLeft EyeSquintLeft EyeWideLeft EyeBlinkRight
EyeLookDownRight EyeLookInRight EyeLookOutRight EyeLookUpRight EyeSquintRight EyeWideRight JawForward JawLeft JawRight
JawOpen MouthClose MouthFunnel MouthPucker MouthLeft MouthRight MouthSmileLeft MouthSmileRight MouthFrownLeft
MouthFrownRight MouthDimpleLeft MouthDimpleRight MouthStretchLeft MouthStretchRight MouthRollLower MouthRollUpper
MouthShrugLower MouthShrugUpper MouthPressLeft MouthPressRight MouthLowerDownLeft MouthLowerDownRight MouthUpperUpLeft
MouthUpperUpRight BrowDownLeft BrowDownRight BrowInnerUp BrowOuterUpLeft BrowOuterUpRight CheekPuff CheekSquintLeft
CheekSquintRight NoseSneerLeft NoseSneerRight TongueOut HeadYaw HeadPitch HeadRoll LeftEyeYaw LeftEyePitch LeftEyeRoll
RightEyeYaw RightEyePitch RightEyeRoll
""".split()


def decode(data: bytes) -> dict[str, Any]:
    """A packet by its layout: all lengths count, and nothing is left over."""
    version, at = data[0], 1
    texts = []
    for _ in range(2):
        (length,) = struct.unpack_from(">i", data, at)
        texts.append(data[at + 4 : at + 4 + length].decode("utf-8"))
        at += 4 + length
    frame, part, rate, denominator = struct.unpack_from(">ifii", data, at)
    count = data[at + 16]
    values = struct.unpack(f">{count}f", data[at + 17 :])
    return {
        "version": version,
        "device": texts[0],
        "subject": texts[1],
        "seconds": (frame + part) * denominator / rate,
        "rate": rate,
        "values": dict(zip(ORDER, values, strict=True)) if count else {},
        "count": count,
    }


def test_the_layout(shown: Callable) -> None:
    sent = shown(yaw=30.0, pitch=20.0, roll=-10.0)
    read = decode(packet(sent, "Zoë", "x" * 36))
    assert (read["version"], read["device"], read["subject"], read["count"]) == (6, "x" * 36, "Zoë", 61)
    assert len(ORDER) == 61
    for name, value in sent.curves.items():
        assert read["values"][name[0].upper() + name[1:]] == pytest.approx(value, abs=1e-6)
    # as the `livelink` file: to the subject's right is +, nodding down -, the ear to the left shoulder +
    assert read["values"]["HeadYaw"] == pytest.approx(0.5235988)
    assert read["values"]["HeadPitch"] == pytest.approx(-0.3490659)
    assert read["values"]["HeadRoll"] == pytest.approx(-0.1745329)


def test_as_a_widespread_reader_takes_it(shown: Callable) -> None:
    """PyLiveLinkFace: version from four bytes, an id of 37 whose first is $, then the name and 17 bytes of frame."""
    data = packet(shown(), "selftrack", "12345678-1234-1234-1234-123456789012")
    assert struct.unpack("<i", data[0:4])[0] == 6
    assert data[4:41] == b"$12345678-1234-1234-1234-123456789012"
    end = 45 + struct.unpack("!i", data[41:45])[0]
    assert data[45:end] == b"selftrack"
    assert struct.unpack("!if2ib", data[end : end + 17])[2:] == (60, 1, 61)
    assert struct.unpack("!61f", data[end + 17 :])[17] == pytest.approx(0.17)  # jawOpen


def test_eyes(shown: Callable, looking: Callable) -> None:
    """Both to the subject's left by 35 degrees, which is negative yaw; up is negative pitch."""
    left = decode(packet(looking(shown(), {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}), "s", "d"))["values"]
    assert left["LeftEyeYaw"] == pytest.approx(-0.61, abs=0.06) and left["RightEyeYaw"] < -0.4
    up = decode(packet(looking(shown(), {"eyeLookUpLeft": 1.0, "eyeLookUpRight": 1.0}), "s", "d"))["values"]
    assert up["LeftEyePitch"] < -0.4 and up["RightEyePitch"] < -0.4


def test_a_lost_face_has_no_values(shown: Callable) -> None:
    read = decode(packet(shown(ok=False), "s", "d"))
    assert read["count"] == 0 and read["values"] == {}


def test_time_of_day(shown: Callable) -> None:
    sent = shown(moment=1_700_000_000.25)
    here = time.localtime(1_700_000_000)
    read = decode(packet(sent, "s", "d"))
    assert read["rate"] == 60
    assert read["seconds"] == pytest.approx(3600 * here.tm_hour + 60 * here.tm_min + here.tm_sec + 0.25, abs=1e-4)


def test_over_the_network(shown: Callable) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sender = LiveLink(Target("livelink", "127.0.0.1", receiver.getsockname()[1]), "anna")
        sender.send(shown())
        sender.send(shown(ok=False))
        first, second = (decode(receiver.recv(65535)) for _ in range(2))
        sender.close()
    assert (first["subject"], first["count"], second["count"]) == ("anna", 61, 0)
    assert first["device"] == second["device"] and len(first["device"]) == 36
