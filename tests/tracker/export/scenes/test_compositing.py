"""Nuke's channel file and script and After Effects' keyframes, by readers that follow the rules of these programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
FOCAL = 1e5  # so far away that weak perspective holds
MakeTrack = Callable[..., Track]


@pytest.fixture
def turning(make_track: MakeTrack) -> Track:
    """Half a second from the tenth on, at 29.97: the head moves, comes nearer, turns, and rolls right round."""
    times = np.arange(300, 315) * 1001 / 30000
    count = len(times)
    place = {"tx": np.linspace(200, 400, count), "ty": 150.0, "f": np.linspace(6, 6.5, count)}
    turns = {"rx": 0.3, "ry": np.linspace(-0.8, 0.8, count), "rz": np.linspace(0, 2 * np.pi, count)}
    return make_track(times, {"jawOpen": np.linspace(0, 1, count)}, lost=[3], **place, **turns)


def about(axis: int, degrees: float) -> np.ndarray:
    """The rotation (3,3) about an axis, counterclockwise where that points at you."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(3)
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    return turn


def channels(track: Track, folder: Path) -> np.ndarray:
    """Rows of a channel file."""
    return np.loadtxt(write(track, "nuke", folder / "head.chan", ExportOptions(focal=FOCAL)), ndmin=2)


def test_nukes_camera_sees_the_head_where_the_track_has_it(turning: Track, tmp_path: Path) -> None:
    """An axis of order ZXY, z first, above a camera at the origin that looks along -z and is vfov high."""
    rows, (width, height) = channels(turning, tmp_path), turning.size
    assert rows.shape == (15, 8)
    shapes = HEAD.geometry(torch.from_numpy(turning.z)).numpy() * [1, -1, -1]
    for row, shape, expected in zip(rows, shapes, turning.vertices(), strict=True):
        (rx, ry, rz), vfov = row[4:7], np.radians(row[7])
        points = shape @ (about(1, ry) @ about(0, rx) @ about(2, rz)).T + row[1:4]
        seen = points[:, :2] / -points[:, 2:] / np.tan(vfov / 2) * height / 2 * [1, -1]
        assert np.abs(seen + [(width - 1) / 2, (height - 1) / 2] - expected[:, :2]).max() < 0.5


def test_nukes_frames_count_from_one_and_angles_go_on(turning: Track, tmp_path: Path) -> None:
    rows = channels(turning, tmp_path)
    np.testing.assert_array_equal(rows[:, 0], np.arange(301, 316))
    assert np.abs(np.diff(rows[:, 4:7], axis=0)).max() < 90


def test_nukes_frames_are_whole_and_once_each(make_track: MakeTrack, tmp_path: Path) -> None:
    times = np.array([0, 0.04, 0.043, 0.08, 0.16, 0.2])
    assert channels(make_track(times), tmp_path)[:, 0].tolist() == [1, 2, 3, 5, 6]


def words(text: str) -> list[str]:
    """The words of a list in Tcl: between braces as they are, between double quotes without backslashes."""
    found = re.findall(r'\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}|"((?:\\.|[^"\\])*)"|(\S+)', text)
    return [braced or re.sub(r"\\(.)", r"\1", quoted) or plain for braced, quoted, plain in found]


def nodes(script: str) -> dict[str, dict[str, str]]:
    """The knobs of each node of a script of Nuke, by class."""
    read = words(script)
    knobs = {kind: words(body) for kind, body in zip(read[::2], read[1::2], strict=True)}
    return {kind: dict(zip(each[::2], each[1::2], strict=True)) for kind, each in knobs.items()}


def animated(knob: str) -> tuple[np.ndarray, np.ndarray]:
    """Frames (N,) and values (N,3) of a knob of three curves."""
    curves = [words(curve) for curve in words(knob)]
    assert [curve.pop(0) for curve in curves] == ["curve"] * 3
    frames = [[int(word.removeprefix("x")) for word in curve[::2]] for curve in curves]
    assert frames[0] == frames[1] == frames[2]
    return np.array(frames[0]), np.array([[float(word) for word in curve[1::2]] for curve in curves]).T


def test_nukes_script_has_the_clip_its_camera_and_the_heads_motion(turning: Track, tmp_path: Path) -> None:
    clip, folder = tmp_path / "raw [take] $1.mp4", tmp_path / "work"
    folder.mkdir()
    track = replace(turning, clip=str(clip))
    found = nodes(write(track, "nk", folder / "shot.nk", ExportOptions(focal=FOCAL)).read_text())
    assert list(found) == ["Root", "Read", "Camera2", "Axis2"]
    root, read, camera, axis = found.values()
    width, height = track.size
    assert read["file"] == f"[file dirname [value root.name]]/../{clip.name}"
    assert read["format"] == root["format"] == f"{width} {height} 0 0 {width} {height} 1 clip"
    assert (root["first_frame"], root["last_frame"], root["fps"]) == ("301", "315", "29.97003")
    assert float(camera["focal"]) / float(camera["haperture"]) * width == pytest.approx(FOCAL)
    assert float(camera["vaperture"]) / float(camera["haperture"]) == pytest.approx(height / width)
    assert not {"translate", "rotate"} & set(camera), "it stands at the origin and looks along -z"
    rows = channels(track, tmp_path)
    for name, columns in (("translate", slice(1, 4)), ("rotate", slice(4, 7))):
        frames, values = animated(axis[name])
        np.testing.assert_array_equal(frames, rows[:, 0])
        np.testing.assert_array_equal(values, rows[:, columns])
    assert axis["rot_order"] == "ZXY"


def keyframes(track: Track, folder: Path) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The head and the sections (T,1+K) by name of what After Effects takes from the clipboard."""
    text = write(track, "aftereffects", folder / "keys.txt").read_text()
    title, *lines = text.splitlines()
    assert title == "Adobe After Effects 8.0 Keyframe Data" and lines[-1] == "End of Keyframe Data"
    head: dict[str, float] = {}
    sections: dict[str, list[list[float]]] = {}
    name = ""
    for line in lines[:-1]:
        cells = line.strip().split("\t")
        if line and not line.startswith("\t"):
            name = line
            sections[name] = []
        elif line and not name:
            head[cells[0]] = float(cells[1])
        elif line and cells[0] != "Frame":
            sections[name].append([float(cell) for cell in cells])
    return head, {name: np.array(rows) for name, rows in sections.items()}


def test_after_effects_layer_follows_the_head(turning: Track, tmp_path: Path) -> None:
    """A layer's point p lies at position + scale x R(degrees clockwise) p, pixels from the frame's corner."""
    head, sections = keyframes(turning, tmp_path)
    assert (head["Source Width"], head["Source Height"]) == turning.size
    assert head["Units Per Second"] == pytest.approx(29.97, abs=1e-4)
    position, scale, degrees = (sections[f"Transform\t{name}"] for name in ("Position", "Scale", "Rotation"))
    for section in sections.values():
        np.testing.assert_allclose(section[:, 0], np.arange(300, 315), atol=1e-3)
    np.testing.assert_allclose(position[:, 1:3] - 0.5, turning.H_image[:, 4:], atol=1e-3)
    sizes = np.exp(turning.H_image[:, 0])
    np.testing.assert_allclose(scale[:, 1] / scale[0, 1], sizes / sizes[0], rtol=1e-5)
    assert np.median(scale[turning.ok, 1]) == pytest.approx(100) and (scale[:, 3] == 100).all()
    np.testing.assert_allclose(degrees[:, 1], np.degrees(np.linspace(0, 2 * np.pi, 15)), atol=1e-3)


def test_after_effects_sliders_are_the_curves_in_arkits_order(turning: Track, tmp_path: Path) -> None:
    _, sections = keyframes(turning, tmp_path)
    assert len(sections) == 3 + 52
    for number, name in enumerate(ARKIT_NAMES, start=1):
        values = sections[f"Effects\tSlider Control #{number}\tSlider #2"][:, 1]
        np.testing.assert_allclose(values, turning.curves()[name], atol=1e-5)


def test_after_effects_keys_lie_between_frames_where_the_clip_does(make_track: MakeTrack, tmp_path: Path) -> None:
    """But what a container's rounding to milliseconds has moved is on its frame."""
    _, sections = keyframes(make_track(np.array([0, 0.04, 0.09, 0.121, 0.16])), tmp_path)
    assert sections["Transform\tPosition"][:, 0].tolist() == [0, 1, 2.25, 3, 4]
