"""The VMC protocol: its messages in order, names, and bones in Unity's axes."""

import socket
from collections.abc import Callable

import numpy as np
import pytest

from selftrack.tracker.live.senders.osc import MOST_BYTES
from selftrack.tracker.live.senders.registry import Target
from selftrack.tracker.live.senders.vmc import Vmc

FORWARD, RIGHT, UP = np.array([0.0, 0, 1]), np.array([1.0, 0, 0]), np.array([0.0, 1, 0])


def turned(q: list[float], v: np.ndarray) -> np.ndarray:
    """Unity's `Quaternion * Vector3`, in its left-handed axes: x right, y up, z forward."""
    x, y, z, w = q
    axis = np.array([x, y, z])
    return v + 2 * np.cross(axis, np.cross(axis, v) + w * v)


@pytest.fixture
def sent(osc: Callable) -> Callable:
    """`sent(shown)`: the messages that arrive for a frame."""

    def send(frame: object) -> list:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            sender = Vmc(Target("vmc", "127.0.0.1", receiver.getsockname()[1]), "")
            sender.send(frame)
            sender.close()
            receiver.settimeout(0.2)
            messages = []
            try:
                while True:
                    packet = receiver.recv(65535)
                    assert len(packet) <= MOST_BYTES
                    messages += osc(packet)
            except TimeoutError:
                return messages

    return send


def bone(messages: list, name: str) -> list[float]:
    """The turn of a bone; it stays where it is."""
    (values,) = (values for address, values in messages if address == "/VMC/Ext/Bone/Pos" and values[0] == name)
    assert values[1:4] == [0, 0, 0] and np.linalg.norm(values[4:]) == pytest.approx(1)
    return values[4:]


def test_messages_of_a_frame(sent: Callable, shown: Callable) -> None:
    messages = sent(shown())
    assert messages[:2] == [("/VMC/Ext/OK", [1, 3, 0, 1]), ("/VMC/Ext/T", [1.5])]
    assert messages[-1] == ("/VMC/Ext/Blend/Apply", [])
    values = dict(values for address, values in messages if address == "/VMC/Ext/Blend/Val")
    assert len(values) == 52 and values["EyeBlinkLeft"] == 0 and values["TongueOut"] == pytest.approx(0.51)
    assert {"JawOpen", "MouthSmileLeft", "BrowInnerUp", "NoseSneerRight"} < set(values)
    assert [address for address, _ in messages].count("/VMC/Ext/Bone/Pos") == 3


def test_the_head_turns_as_the_person_does(sent: Callable, shown: Callable) -> None:
    """30 degrees each: to the own right, down, and with the left ear to the left shoulder."""
    sine = np.sin(np.radians(30))
    right = bone(sent(shown(yaw=30.0)), "Head")
    np.testing.assert_allclose(turned(right, FORWARD), [sine, 0, np.sqrt(0.75)], atol=1e-6)
    assert right == pytest.approx([0, np.sin(np.radians(15)), 0, np.cos(np.radians(15))])
    down = bone(sent(shown(pitch=30.0)), "Head")
    np.testing.assert_allclose(turned(down, FORWARD), [0, -sine, np.sqrt(0.75)], atol=1e-6)
    tilted = bone(sent(shown(roll=30.0)), "Head")
    np.testing.assert_allclose(turned(tilted, UP), [-sine, np.sqrt(0.75), 0], atol=1e-6)


def test_eyes_look_where_the_person_looks(sent: Callable, shown: Callable, looking: Callable) -> None:
    messages = sent(looking(shown(), {"eyeLookOutRight": 1.0, "eyeLookUpLeft": 1.0}))
    right, left = (turned(bone(messages, name), FORWARD) for name in ("RightEye", "LeftEye"))
    assert right[0] > 0.4 and abs(right[1]) < 0.1  # to the own right
    assert left[1] > 0.4 and abs(left[0]) < 0.1  # up


def test_without_a_face_the_avatar_stays_as_it_is(sent: Callable, shown: Callable) -> None:
    assert sent(shown(ok=False)) == [("/VMC/Ext/OK", [1, 3, 0, 0]), ("/VMC/Ext/T", [1.5])]
