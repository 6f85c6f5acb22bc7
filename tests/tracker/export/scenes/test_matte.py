"""The mesh with alpha: laid over the clip it is the overlay, frame by frame."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from zipfile import ZipFile

import av
import cv2
import numpy as np
import pytest

from selftrack.tracker.export import write
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.exr import decode_exr, srgb

MakeTrack = Callable[..., Track]


def read(path: Path) -> tuple[av.video.stream.VideoStream, list[float], list[np.ndarray]]:
    """A video's stream, the times of its frames in seconds and these, (H,W,4) in 0..1, by FFmpeg."""
    with av.open(str(path)) as container:
        stream, times, frames = container.streams.video[0], [], []
        for frame in container.decode(stream):
            times.append(frame.time)
            frames.append(frame.reformat(format="rgba64le", src_colorspace="ITU709").to_ndarray() / 65535)
    return stream, times, frames


def test_over_the_clip_it_is_the_overlay(make_track: MakeTrack, tmp_path: Path) -> None:
    """The lost frame shows the clip alone; an odd size stays as it is."""
    track = make_track(np.arange(3) / 25, {"jawOpen": 0.5}, lost=[1], size=(301, 203), f=7.0, ry=0.2)
    _, times, layers = read(write(track, "mov", tmp_path / "a.mov"))
    assert times == pytest.approx(track.times, abs=1e-6) and layers[0].shape == (203, 301, 4)
    picture = np.random.default_rng(0).integers(0, 255, (203, 301, 3), dtype=np.uint8)
    painter, vertices = MeshPainter(track.model(), OverlayConfig(mode="mesh")), track.vertices()
    for row, layer in enumerate(layers):
        over = picture * (1 - layer[..., 3:]) + 255 * layer[..., :3] * layer[..., 3:]
        expected = picture if row == 1 else painter(picture, vertices[row])
        difference = np.abs(over - expected)
        assert difference.mean() < 0.6 and difference.max() < 12
        assert (layer[..., 3] == 0).mean() > 0.3
    assert layers[0][..., 3].max() == pytest.approx(0.75, abs=2e-3)


def test_pictures_are_what_the_overlay_draws(make_track: MakeTrack, tmp_path: Path) -> None:
    """PNG: straight, as displayed. EXR: linear light, multiplied by alpha. The lost frame is transparent."""
    track = make_track(np.arange(3) / 25, {"jawOpen": 0.5}, lost=[1], size=(101, 83), f=6.0, ry=0.2)
    painter, vertices = MeshPainter(track.model(), OverlayConfig(mode="mesh")), track.vertices()
    with (
        ZipFile(write(track, "png", tmp_path / "a.zip")) as png,
        ZipFile(write(track, "exr", tmp_path / "b.zip")) as exr,
    ):
        assert [name.removesuffix(".png") for name in png.namelist()] == [f"frame_00000{row}" for row in range(3)]
        assert [name.removesuffix(".exr") for name in exr.namelist()] == [f"frame_00000{row}" for row in range(3)]
        for row, (name, other) in enumerate(zip(png.namelist(), exr.namelist(), strict=True)):
            read = cv2.imdecode(np.frombuffer(png.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
            expected = 0 * read if row == 1 else painter.layer((83, 101), vertices[row])
            np.testing.assert_allclose(read[..., [2, 1, 0, 3]] / 65535, expected, atol=1e-5)
            frame = av.CodecContext.create("exr", "r").decode(av.Packet(exr.read(other)))[0]
            alpha = np.frombuffer(frame.planes[3], np.float16).reshape(83, -1)[:, :101]
            np.testing.assert_allclose(alpha, expected[..., 3], atol=1e-3)
            premultiplied = decode_exr(exr.read(other), tmp_path / other)
            linear = premultiplied / np.maximum(expected[..., 3:], 1e-6)
            inside = expected[..., 3] > 0.1
            np.testing.assert_allclose(srgb(linear)[inside], expected[inside][:, :3], atol=3e-3)
            assert not premultiplied[expected[..., 3] == 0].any()


def test_its_look_is_that_of_the_tracks_settings(make_track: MakeTrack, tmp_path: Path) -> None:
    style = '{"overlay_style": {"mode": "wire", "opacity": 1.0, "colour": [0, 0, 1], "ambient": 1.0, "burn_in": true}}'
    track = replace(make_track([0.0], size=(200, 200), f=6.4), config=style)
    _, _, (layer,) = read(write(track, "mov", tmp_path / "a.mov"))
    nose = track.vertices()[0, track.model().landmarks478.triangles[1, 0], :2].round().astype(int)
    np.testing.assert_allclose(layer[nose[1], nose[0]], [0, 0, 1, 1], atol=0.02)


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 60, 120]
)
def test_a_steady_rate_is_one_that_programs_know(make_track: MakeTrack, tmp_path: Path, rate: Fraction) -> None:
    """Also where the container has rounded times to milliseconds, and the track begins within the clip."""
    times = np.round(5 + np.arange(100) / float(rate), 3)
    track = make_track(times, lost=range(1, 100), size=(32, 32))
    stream, read_times, _ = read(write(track, "mov", tmp_path / "a.mov"))
    assert stream.average_rate == rate and stream.codec_context.name == "prores"
    np.testing.assert_allclose(read_times, np.arange(100) / float(rate), atol=1e-9)


def test_a_varying_rate_keeps_its_times(make_track: MakeTrack, tmp_path: Path) -> None:
    times = 3 + np.cumsum([0, 0.04, 0.031, 0.1, 0.017, 0.05])
    _, read_times, _ = read(write(make_track(times, size=(32, 32)), "mov", tmp_path / "a.mov"))
    np.testing.assert_allclose(read_times, times - times[0], atol=1e-5)


@pytest.mark.parametrize(("rate", "text"), [(25, "10:00:00:00"), (Fraction(30000, 1001), "00:59:58;00")])
def test_its_timecode_is_that_of_the_first_frame(
    make_track: MakeTrack, tmp_path: Path, rate: Fraction, text: str
) -> None:
    """Of a track that begins two seconds into the clip: 50 frames later, or 60, past a minute in which none drop."""
    times = np.round(2 * round(rate) / float(rate) + np.arange(3) / float(rate), 6)
    track = replace(make_track(times, size=(32, 32)), timecode=text, timecode_rate=float(rate))
    with av.open(str(write(track, "mov", tmp_path / "a.mov"))) as container:
        written = container.streams.video[0].metadata["timecode"]
    assert written == {25: "10:00:02:00"}.get(rate, "01:00:00;00")
