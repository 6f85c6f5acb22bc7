"""Pictures as displayed: HDR against the standards' formulas and figures, interlaced frames against the scene."""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from selftrack.tracker.sources.pictures import tone_mapped
from selftrack.tracker.sources.video import VideoFile

MakeClip = Callable[..., Path]
TRANSFER = {"PQ": 16, "HLG": 18}  # ITU-T H.273


def on_a_screen(light: float) -> float:
    """Level 0..255 that a screen of gamma 2.4 shows as that light, where white is 1 and highlights are compressed."""
    kept = light if light < 0.8 else 0.8 + 0.2 * (1 - math.exp(-(light - 0.8) / 0.2))
    return 255 * max(kept, 0) ** (1 / 2.4)


# ITU-R BT.2408, table 1: grey card of 18 % and reference white, as signal and as light of the screen
@pytest.mark.parametrize(
    "transfer,signal,nits", [("HLG", 0.38, 26), ("PQ", 0.38, 26), ("HLG", 0.75, 203), ("PQ", 0.58, 203)]
)
def test_greys_of_the_standard(transfer: str, signal: float, nits: float) -> None:
    shown = tone_mapped(np.full((2, 2, 3), round(65535 * signal), np.uint16), transfer)
    assert shown.dtype == np.uint8 and shown.shape == (2, 2, 3)
    np.testing.assert_allclose(shown, on_a_screen(nits / 203), atol=2.5)


@pytest.mark.parametrize("transfer", TRANSFER)
def test_black_white_and_order(transfer: str) -> None:
    ramp = np.repeat(np.linspace(0, 65535, 200).round().astype(np.uint16)[None, :, None], 3, axis=2)
    shown = tone_mapped(ramp, transfer)[0].astype(int)
    assert (shown[0] == 0).all() and (shown[-1] >= 254).all() and (np.diff(shown, axis=0) >= 0).all()
    assert (np.ptp(shown, axis=1) <= 1).all()  # a grey stays one


def scene(red: float, green: float, blue: float, transfer: str) -> tuple[float, ...]:
    """The level (3,) of an R'G'B' signal on a usual screen, by the formulas of BT.2100 and BT.2087."""
    if transfer == "PQ":
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        linear = []
        for signal in (red, green, blue):
            root = signal ** (1 / m2)
            linear.append(10_000 * (max(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) / 203)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        linear = [s**2 / 3 if s <= 0.5 else (math.exp((s - c) / a) + b) / 12 for s in (red, green, blue)]
        gain = (0.2627 * linear[0] + 0.6780 * linear[1] + 0.0593 * linear[2]) ** 0.2
        linear = [1000 * gain * light / 203 for light in linear]
    rows = (1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)
    return tuple(on_a_screen(sum(weight * light for weight, light in zip(row, linear, strict=True))) for row in rows)


def hdr_clip(path: Path, signal: tuple[float, float, float], transfer: str) -> Path:
    """Three frames of one R'G'B' signal, 10 bits, limited range, matrix and primaries of BT.2020."""
    red, green, blue = signal
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    levels = 64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv444p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_range = 9, 9, 1
        context.color_trc = TRANSFER[transfer]
        for i in range(3):
            frame = av.VideoFrame(32, 16, "yuv444p10le")
            for plane, level in zip(frame.planes, levels, strict=True):
                plane.update(np.full(plane.buffer_size // 2, round(level), "<u2").tobytes())
            frame.pts, frame.time_base = i, Fraction(1, 25)
            frame.colorspace, frame.color_range = 9, 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize("transfer", TRANSFER)
@pytest.mark.parametrize("signal", [(0.4, 0.4, 0.4), (0.52, 0.44, 0.40), (0.3, 0.5, 0.35), (0.75, 0.7, 0.72)])
def test_hdr_files_are_tone_mapped(tmp_path: Path, transfer: str, signal: tuple[float, float, float]) -> None:
    with VideoFile(hdr_clip(tmp_path / "hdr.mkv", signal, transfer)) as reader:
        assert len(reader.notes) == 1 and f"is HDR ({transfer}) and was tone-mapped" in reader.notes[0]
        images = [f.image for f in reader]
        assert len(reader.notes) == 1
    assert len(images) == 3
    for image in images:
        np.testing.assert_allclose(image, np.broadcast_to(scene(*signal, transfer), image.shape), atol=3)


def bar(at: float, height: int = 64, width: int = 96) -> np.ndarray:
    """A bright bar (H,W,3) on a dark ground, its left edge at that column."""
    columns = np.arange(width)
    return np.broadcast_to(np.where((columns >= at) & (columns < at + 24), 220, 30)[None, :, None], (height, width, 3))


def woven(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One frame of two fields, the upper one first."""
    image = first.astype(np.uint8).copy()
    image[1::2] = second[1::2]
    return image


def combing(image: np.ndarray) -> float:
    """Mean difference of a row from its neighbours, levels."""
    rows = image.astype(float)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


@pytest.mark.parametrize("codec,name", [("libx264", "fields.mp4"), ("mpeg2video", "fields.ts")])
def test_interlaced_frames_become_progressive(make_clip: MakeClip, codec: str, name: str) -> None:
    frames = [woven(bar(4 + 4 * i), bar(4 + 4 * i + 2)) for i in range(10)]
    options = {"flags": "+ildct+ilme", "b": "4000000"} | ({"crf": "5"} if codec == "libx264" else {})
    with VideoFile(make_clip(name, frames, codec=codec, **options)) as reader:
        assert len(reader.notes) == 1 and "is interlaced" in reader.notes[0]
        read = list(reader)
        assert len(reader.notes) == 1
    assert [f.time for f in read] == pytest.approx(np.arange(10) / 25, abs=1e-5)
    assert max(combing(f.image) for f in read) < 0.2 * combing(frames[5])
    for i, frame in enumerate(read):  # the picture is that of the frame's own time, not of its neighbour's
        centre = np.average(np.arange(96), weights=np.clip(frame.image[..., 0].mean(0) - 60.0, 0, None))
        assert centre == pytest.approx(4 + 4 * i + 12, abs=2)


def test_fields_of_a_file_that_calls_itself_progressive(make_clip: MakeClip) -> None:
    """Noted where things move; nothing is said of noise, of sharp edges that move, nor of a file with one bad frame."""
    rng = np.random.default_rng(0)

    def notes(frames: list[np.ndarray]) -> tuple[str, ...]:
        with VideoFile(make_clip("fields.mkv", frames, codec="ffv1", pix_fmt="bgr0")) as reader:
            for frame, made in zip(reader, frames, strict=True):
                np.testing.assert_array_equal(frame.image, made)
            return reader.notes

    fields = [woven(bar(i), bar(i + 1)) for i in range(0, 62, 2)]
    assert len(notes(fields)) == 1 and "the lines of two moments" in notes(fields)[0]
    whole = [bar(i).astype(np.uint8) for i in range(0, 62, 2)]
    assert notes(whole) == () and notes([frame.transpose(1, 0, 2).copy() for frame in whole]) == ()
    assert notes([*whole[:20], fields[20], *whole[21:]] * 3) == ()
    assert notes([rng.integers(0, 255, frame.shape, dtype=np.uint8) for frame in whole]) == ()


def test_progressive_frames_are_left_alone(make_clip: MakeClip) -> None:
    sharp = np.zeros((64, 96, 3), np.uint8)
    sharp[::2] = 200  # what a filter for interlaced frames would blur
    with VideoFile(make_clip("lines.mkv", [sharp] * 25, codec="ffv1", pix_fmt="bgr0")) as reader:
        for frame in reader:
            np.testing.assert_array_equal(frame.image, sharp)
        assert reader.notes == ()
