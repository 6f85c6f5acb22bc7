"""What a face does at a moment, made up, and a clock that tests set."""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.live.performance import Performance


class Clock:
    """Tells the time that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shown() -> Callable[..., Performance]:
    """`shown(ok=False, yaw=30)`: curve number i is i / 100, the head looks ahead but for the angles that are given."""

    def make(ok: bool = True, time: float = 1.5, moment: float = 1_700_000_000.25, **angles: float) -> Performance:
        curves = {name: i / 100 for i, name in enumerate(ARKIT_NAMES)}
        pose = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "scale": 900.0, "tx": 320.0, "ty": 180.0}
        return Performance(7, time, moment, ok, 0.75, curves, pose | angles)

    return make


@pytest.fixture
def looking() -> Callable[[Performance, dict[str, float]], Performance]:
    """`looking(shown, {"eyeLookOutLeft": 1})`: all other curves are 0."""

    def make(shown: Performance, curves: dict[str, float]) -> Performance:
        return replace(shown, curves=dict.fromkeys(ARKIT_NAMES, 0.0) | curves)

    return make


def read_osc(packet: bytes) -> list[tuple[str, list[Any]]]:
    """The messages of a packet by the text of OSC 1.0 (opensoundcontrol.org/spec-1_0)."""
    if packet.startswith(b"#bundle\0"):
        assert packet[8:16] == bytes(7) + b"\1", "the time tag that means immediately"
        found, at = [], 16
        while at < len(packet):
            (size,) = struct.unpack_from(">i", packet, at)
            assert size % 4 == 0
            found += read_osc(packet[at + 4 : at + 4 + size])
            at += 4 + size
        return found
    address, at = _text(packet, 0)
    types, at = _text(packet, at)
    assert types[0] == ","
    values: list[Any] = []
    for kind in types[1:]:
        if kind == "s":
            value, at = _text(packet, at)
        else:
            (value,) = struct.unpack_from({"f": ">f", "i": ">i"}[kind], packet, at)
            at += 4
        values.append(value)
    assert at == len(packet)
    return [(address, values)]


def _text(packet: bytes, at: int) -> tuple[str, int]:
    """A text, and where what follows it begins: it ends with a zero and fills up to four bytes."""
    end = packet.index(b"\0", at)
    return packet[at:end].decode("ascii"), at + (end - at) // 4 * 4 + 4


@pytest.fixture
def osc() -> Callable[[bytes], list[tuple[str, list[Any]]]]:
    return read_osc
