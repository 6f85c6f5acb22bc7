"""OSC, read by the text of its specification."""

import socket
from collections.abc import Callable

import pytest

from selftrack.tracker.export.tables.messages import Message
from selftrack.tracker.export.tables.osc import osc_messages
from selftrack.tracker.live.performance import Performance
from selftrack.tracker.live.senders.osc import MOST_BYTES, Osc, bundles
from selftrack.tracker.live.senders.registry import Target


def messages(sent: Performance) -> list[Message]:
    return osc_messages(sent.time, sent.ok, sent.confidence, sent.curves, sent.pose)


def test_all_values_arrive_in_datagrams_of_a_packet(shown: Callable, osc: Callable) -> None:
    sent = shown(yaw=12.5)
    packets = list(bundles(messages(sent)))
    assert len(packets) > 1 and all(len(packet) <= MOST_BYTES for packet in packets)
    read = {address: values[0] for packet in packets for address, values in osc(packet)}
    assert read.pop("/frame/ok") == 1
    expected = {"/frame/time": 1.5, "/frame/confidence": 0.75}
    expected |= {f"/head/{name}": value for name, value in sent.pose.items()}
    expected |= {f"/face/{name}": value for name, value in sent.curves.items()}
    assert read == pytest.approx(expected)


def test_without_a_face_only_the_frame_is_sent(shown: Callable, osc: Callable) -> None:
    (packet,) = bundles(messages(shown(ok=False)))
    assert [address for address, _ in osc(packet)] == ["/frame/time", "/frame/ok", "/frame/confidence"]
    assert dict(osc(packet))["/frame/ok"] == [0]


def test_over_the_network(shown: Callable, osc: Callable) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sender = Osc(Target("osc", "127.0.0.1", receiver.getsockname()[1]), "")
        sender.send(shown())
        assert osc(receiver.recv(65535))[0] == ("/frame/time", [1.5])
        sender.close()
