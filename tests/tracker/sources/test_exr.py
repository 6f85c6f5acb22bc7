"""OpenEXR against files that are written here by the format's own description, and the sRGB curve in closed form."""

import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.tracker.sources.exr import decode_exr, srgb
from selftrack.tracker.sources.images import ImageSequence

KINDS = {"uint32": 0, "float16": 1, "float32": 2}
Box = tuple[int, int, int, int]


def exr(channels: Mapping[str, np.ndarray], data: Box | None = None, display: Box | None = None) -> bytes:
    """An uncompressed scanline file of channels (H,W) by name; boxes are x and y of the first and the last pixel."""
    names = sorted(channels)
    height, width = channels[names[0]].shape
    data = data or (0, 0, width - 1, height - 1)

    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return f"{name}\0{kind}\0".encode() + struct.pack("<i", len(value)) + value

    listed = [f"{n}\0".encode() + struct.pack("<iB3xii", KINDS[str(channels[n].dtype)], 0, 1, 1) for n in names]
    head = struct.pack("<ii", 20000630, 2)
    head += attribute("channels", "chlist", b"".join(listed) + b"\0")
    head += attribute("compression", "compression", b"\0")
    head += attribute("dataWindow", "box2i", struct.pack("<4i", *data))
    head += attribute("displayWindow", "box2i", struct.pack("<4i", *(display or data)))
    head += attribute("lineOrder", "lineOrder", b"\0")
    head += attribute("pixelAspectRatio", "float", struct.pack("<f", 1))
    head += attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0))
    head += attribute("screenWindowWidth", "float", struct.pack("<f", 1)) + b"\0"
    rows = [b"".join(channels[name][y].tobytes() for name in names) for y in range(height)]
    chunks = [struct.pack("<ii", data[1] + y, len(row)) + row for y, row in enumerate(rows)]
    places = np.cumsum([len(head) + 8 * height, *map(len, chunks)])[:-1]
    return head + places.astype("<u8").tobytes() + b"".join(chunks)


def light(names: str = "RGB", kind: str = "float32", height: int = 6, width: int = 9) -> dict[str, np.ndarray]:
    """Random linear light by channel, some of it below 0 and above 1."""
    rng = np.random.default_rng(len(names))
    return {name: rng.uniform(-0.2, 1.5, (height, width)).astype(kind) for name in names}


def encoded(linear: float) -> float:
    """IEC 61966-2-1 for one number."""
    linear = min(max(linear, 0.0), 1.0)
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


@pytest.mark.parametrize("kind", ["float16", "float32"])
@pytest.mark.parametrize("names", ["RGB", "RGBA", "Y", "YA"])
def test_channels_come_back_bit_for_bit(names: str, kind: str) -> None:
    channels = light(names, kind)
    expected = np.stack([channels[name].astype(np.float32) for name in ("YYY" if "Y" in names else "RGB")], -1)
    np.testing.assert_array_equal(decode_exr(exr(channels), Path("a.exr")), expected)


def test_other_channels_do_not_disturb() -> None:
    channels = light() | {"Z": np.full((6, 9), 9, np.float32), "diffuse.R": np.full((6, 9), 8, np.float32)}
    decoded = decode_exr(exr(channels), Path("a.exr"))
    np.testing.assert_array_equal(decoded, np.stack([channels[name] for name in "RGB"], -1))


@pytest.mark.parametrize("compression", ["none", "rle", "zip1", "zip16"])
def test_compressed_files(compression: str) -> None:
    image = np.stack([light()[name] for name in "RGB"], -1)
    encoder = av.CodecContext.create("exr", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 9, 6, "gbrpf32le", Fraction(1, 24)
    encoder.options = {"compression": compression, "format": "float"}
    frame = av.VideoFrame.from_ndarray(image, "gbrpf32le")
    frame.pts = 0
    data = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    np.testing.assert_array_equal(decode_exr(data, Path("a.exr")), image)


def test_the_display_window_is_the_picture() -> None:
    channels = light()
    value = np.stack([channels[name] for name in "RGB"], -1)
    inside = decode_exr(exr(channels, (2, 1, 10, 6), (0, 0, 13, 9)), Path("a.exr"))
    expected = np.zeros((10, 14, 3), np.float32)
    expected[1:7, 2:11] = value
    np.testing.assert_array_equal(inside, expected)
    overscan = decode_exr(exr(channels, (-2, -1, 6, 4), (0, 0, 4, 3)), Path("a.exr"))
    np.testing.assert_array_equal(overscan, value[1:5, 2:7])


def test_the_srgb_curve() -> None:
    values = np.array([-1, 0, 0.001, 0.0031308, 0.0031309, 0.18, 0.5, 1, 7, np.inf, -np.inf], np.float32)
    np.testing.assert_allclose(srgb(values), [encoded(float(v)) for v in values], atol=1e-6)
    assert srgb(np.array([0.21404114])) == pytest.approx(0.5, abs=1e-6)  # middle grey of sRGB


def test_a_sequence_is_srgb(tmp_path: Path) -> None:
    channels = light("RGBA", "float16")
    channels["G"][0, :3] = np.nan, np.inf, -np.inf
    (tmp_path / "a.1.exr").write_bytes(exr(channels))
    (tmp_path / "a.2.exr").write_bytes(exr(light("Y", height=6)))
    frames = list(ImageSequence(tmp_path))
    numbers = np.nan_to_num(np.stack([channels[name].astype(float) for name in "RGB"], -1), nan=0, posinf=1, neginf=0)
    expected = 255 * np.vectorize(encoded)(numbers)
    assert frames[0].image.dtype == np.uint8 and np.abs(frames[0].image - expected).max() <= 0.501
    assert (frames[1].image[..., :1] == frames[1].image).all()


def _with_places(data: bytes, place: int) -> bytes:
    """With that as the place of the first chunk of pixels."""
    at = data.index(b"screenWindowWidth") + 18 + 6 + 4 + 4 + 1
    return data[:at] + struct.pack("<Q", place) + data[at + 8 :]


@pytest.mark.parametrize(
    "data,words",
    [
        (b"", "not an EXR picture"),
        (b"\x89PNG" + bytes(100), "not an EXR picture"),
        (exr(light())[:20], "damaged or cut off"),
        (exr(light())[:200], "damaged or cut off"),
        (exr(light())[:-1], "cut off"),
        (exr(light(height=90))[:-2000], "cut off"),
        (exr(light(), display=(10, 10, 18, 15)), "display window does not begin at (0, 0)"),
        (exr(light("UV")), "channels R, G, B or Y"),
        (exr({n: np.ones((6, 9), np.uint32) for n in "RGB"}), "whole numbers"),
        (exr(light())[:8] + bytes(200), "damaged or cut off"),
        (_with_places(exr(light()), 2**64 - 1), "damaged or cut off"),
        (exr(light(), data=(0, 0, 65_499, 65_499)), "its picture is 65500x65500"),
    ],
)
def test_bad_files_say_what_is_wrong_in_one_line(data: bytes, words: str) -> None:
    with pytest.raises(UserError) as error:
        decode_exr(data, Path("bad.exr"))
    assert words in str(error.value) and "bad.exr" in str(error.value) and "\n" not in str(error.value)
