"""Sequences of pictures: the same pixels as the clip they were made from, in the order of their numbers."""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.errors import UserError
from selftrack.io import OutputFolder
from selftrack.tracker.sources.images import ImageSequence, natural
from selftrack.tracker.sources.names import sequence_name
from selftrack.tracker.sources.video import VideoFile


def save(folder: Path, images: Sequence[np.ndarray], names: Sequence[str]) -> Path:
    """Write RGB, RGBA or grey pictures through OpenCV, JPEG at its best quality."""
    folder.mkdir(parents=True, exist_ok=True)
    for image, name in zip(images, names, strict=True):
        if image.ndim == 3:
            image = image[..., [2, 1, 0, 3][: image.shape[2]]]
        best = [] if name.endswith(".png") else [cv2.IMWRITE_JPEG_QUALITY, 100]
        assert cv2.imwrite(str(folder / name), image, best)
    return folder


def levels(count: int, dtype: type = np.uint8) -> list[np.ndarray]:
    """Flat grey pictures (6,8,3) whose level is ten times their number."""
    return [np.full((6, 8, 3), 10 * i, dtype) for i in range(count)]


def order(source: ImageSequence) -> list[int]:
    """The numbers that `levels` wrote into the pictures."""
    return [int(frame.image[0, 0, 0]) // 10 for frame in source]


def test_a_clip_written_as_png_has_its_very_pixels(smile: Path, tmp_path: Path) -> None:
    with VideoFile(smile, duration=0.3) as clip:
        frames = list(clip)
    save(tmp_path / "take", [f.image for f in frames], [f"img{i:04d}.png" for i in range(9)])
    for path in (tmp_path / "take", tmp_path / "take" / "img%04d.png", tmp_path / "take" / "img*.png"):
        with ImageSequence(path, fps=30) as source:
            assert (source.info.width, source.info.height, source.info.rate) == (640, 360, 30)
            read = list(source)
        assert [f.index for f in read] == list(range(9)) and source.notes == ()
        np.testing.assert_allclose([f.time for f in read], [f.time for f in frames], atol=1e-9)
        for one, other in zip(read, frames, strict=True):
            np.testing.assert_array_equal(one.image, other.image)


def test_jpeg_is_close(smile: Path, tmp_path: Path) -> None:
    with VideoFile(smile, duration=0.1) as clip:
        frames = list(clip)
    save(tmp_path / "take", [f.image for f in frames], ["a.jpg", "b.JPG", "c.jpg"])
    with ImageSequence(tmp_path / "take") as source:
        for one, other in zip(source, frames, strict=True):
            assert np.abs(one.image.astype(int) - other.image).mean() < 1.5
            assert np.corrcoef(one.image[..., 0].ravel(), other.image[..., 0].ravel())[0, 1] > 0.999
            assert np.corrcoef(one.image[..., 2].ravel(), other.image[..., 2].ravel())[0, 1] > 0.999


def test_results_are_no_footage(tmp_path: Path) -> None:
    """Of a folder: the tracker's own pictures are left out, those that somebody has put in their place are not."""
    folder = tmp_path / "take"
    with OutputFolder(folder).writing(["faces.png"]) as results:
        save(results, [np.zeros((60, 80, 3), np.uint8)], ["faces.png"])
    with pytest.raises(UserError, match=r"take: holds results \(faces.png\) and no footage; name the clip itself"):
        ImageSequence(folder)
    assert ImageSequence(folder / "faces.png").count() == 1, "it may be named itself"
    save(folder, levels(2), ["a.png", "b.png"])
    assert order(ImageSequence(folder)) == [0, 1]
    save(folder, [20 + levels(1)[0]], ["faces.png"])
    assert order(ImageSequence(folder)) == [0, 1, 2]


def test_a_damaged_manifest_beside_footage(tmp_path: Path) -> None:
    """The message says what helps: without it, all pictures of the folder are footage."""
    save(tmp_path, levels(2), ["a.png", "b.png"])
    manifest = tmp_path / ".selftrack" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text("{")
    with pytest.raises(UserError, match="manifest.json: cannot be read .*; delete it, after which") as refused:
        ImageSequence(tmp_path)
    assert " -o" not in str(refused.value)
    manifest.unlink()
    assert order(ImageSequence(tmp_path)) == [0, 1]


def test_sixteen_bits_are_rounded(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (6, 8, 3), dtype=np.uint16)
    deep[0, 0], deep[0, 1], deep[0, 2] = 0, 65535, 128  # 128 / 257 is just under one half
    save(tmp_path / "take", [deep], ["a.png"])
    (frame,) = ImageSequence(tmp_path / "take")
    np.testing.assert_array_equal(frame.image, np.rint(deep / 65535 * 255).astype(np.uint8))


@pytest.mark.parametrize("dtype,scale", [(np.uint8, 1), (np.uint16, 257)])
def test_grey_and_alpha(tmp_path: Path, dtype: type, scale: int) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 8, 3))
    alpha = np.random.default_rng(1).integers(0, 256, (6, 8, 1))
    pictures = [colour, np.concatenate([colour, alpha], -1), colour[..., 0]]
    save(tmp_path / "take", [(p * scale).astype(dtype) for p in pictures], ["1.png", "2.png", "3.png"])
    plain, transparent, grey = (frame.image for frame in ImageSequence(tmp_path / "take"))
    np.testing.assert_array_equal(plain, colour)
    np.testing.assert_array_equal(transparent, colour)
    np.testing.assert_array_equal(grey, np.repeat(colour[..., :1], 3, -1))


def test_natural_order(tmp_path: Path) -> None:
    assert sorted(["x10y2", "x9y10", "x9y9", "x010y1", "X1"], key=natural) == ["X1", "x9y9", "x9y10", "x010y1", "x10y2"]
    save(tmp_path / "take", levels(12), [f"f{i}.png" for i in range(12)])
    for path in (tmp_path / "take", tmp_path / "take" / "f%d.png", tmp_path / "take" / "f*.png"):
        assert order(ImageSequence(path)) == list(range(12))


def test_a_pattern_takes_its_own_and_no_other(tmp_path: Path) -> None:
    names = ["a0001.png", "a0002.png", "a10000.png", "a00003.png", "a3.png", "ab0004.png", "a0005.jpg", "xa0006.png"]
    save(tmp_path, levels(8), names)
    assert [f.name for f in ImageSequence(tmp_path / "a%04d.png").files] == ["a0001.png", "a0002.png", "a10000.png"]
    assert [f.name for f in ImageSequence(tmp_path / "a[0-9].png").files] == ["a3.png"]
    assert [f.name for f in ImageSequence(tmp_path / "a0002.png").files] == ["a0002.png"]


def test_files_that_are_no_pictures_are_left_out(tmp_path: Path) -> None:
    save(tmp_path, levels(2), ["1.png", "2.png"])
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "._1.png").write_bytes(b"what some file systems leave")
    (tmp_path / "3.png").mkdir()
    assert order(ImageSequence(tmp_path)) == [0, 1]


def test_gaps_in_the_numbering_are_told(tmp_path: Path) -> None:
    save(tmp_path / "gap", levels(5), [f"img{n:03d}.png" for n in (1, 2, 5, 6, 9)])
    with ImageSequence(tmp_path / "gap", fps=10) as source:
        assert [frame.time for frame in source] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
        assert "missing after img002.png" in source.notes[0] and "\n" not in source.notes[0]
    for name, numbers in (("every other", (2, 4, 6)), ("one", (7,)), ("two takes", (8, 9, 1))):
        save(tmp_path / name, levels(len(numbers)), [f"{i // 2}_{n:03d}.png" for i, n in enumerate(numbers)])
        with ImageSequence(tmp_path / name) as source:
            assert len(list(source)) == len(numbers) and source.notes == ()


def test_times_and_windows(tmp_path: Path) -> None:
    save(tmp_path, levels(24), [f"{i}.png" for i in range(24)])
    with ImageSequence(tmp_path) as source:
        assert [frame.time for frame in source] == [i / 24 for i in range(24)]
        assert source.info.duration == 1 and source.count() == 24
    with ImageSequence(tmp_path, start=0.4, duration=0.3, fps=10) as source:
        frames = list(source)
        assert [(f.index, f.image[0, 0, 0]) for f in frames] == [(0, 40), (1, 50), (2, 60)] and source.count() == 3
        assert [f.time for f in frames] == pytest.approx([0.4, 0.5, 0.6])
    assert float(ImageSequence(tmp_path, fps=29.97).info.rate) == pytest.approx(29.97, abs=1e-9)


def test_only_reads_no_other_picture(tmp_path: Path) -> None:
    save(tmp_path, levels(6), [f"{i}.png" for i in range(6)])
    (tmp_path / "3.png").write_bytes(b"damaged")
    with ImageSequence(tmp_path, fps=10, start=0.1) as source:
        assert [(f.index, f.image[0, 0, 0]) for f in source.frames(only={1, 3})] == [(1, 20), (3, 40)]


def test_the_fingerprint_is_of_names_and_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a", levels(3), ["1.png", "2.png", "3.png"])
    save(tmp_path / "b", levels(3), ["1.png", "2.png", "3.png"])
    prints = [ImageSequence(tmp_path / name, start=start).fingerprint() for name, start in (("a", 0), ("b", 0.05))]
    lines = [f"{hashlib.sha256((tmp_path / 'a' / f'{i}.png').read_bytes()).hexdigest()} {i}.png\n" for i in (1, 2, 3)]
    assert prints[0] == prints[1] == hashlib.sha256("".join(lines).encode()).hexdigest()
    (tmp_path / "b" / "3.png").rename(tmp_path / "b" / "4.png")
    save(tmp_path / "a", levels(1), ["2.png"])
    assert len({ImageSequence(tmp_path / name).fingerprint() for name in "ab"} | set(prints)) == 3


def test_names_of_results(tmp_path: Path) -> None:
    (tmp_path / "take.1").mkdir()
    folder, names = tmp_path / "take.1", ("img_%04d.png", "img_*.png", "img[0-9].exr", "%d.png", "*.exr", "face.png")
    assert [sequence_name(folder / name) for name in names] == ["img", "img", "img", "take.1", "take.1", "face"]
    assert sequence_name(folder) == "take.1"


def bad(folder: Path, name: str) -> tuple[Path, dict]:
    """The path of a sequence that cannot be read, and settings."""
    (folder / "empty").mkdir()
    save(folder / "kinds", levels(2), ["a.png", "b.jpg"])
    save(folder / "good", levels(2), ["a.png", "b.png"])
    save(folder / "mixed", [*levels(2), np.zeros((6, 9, 3), np.uint8)], ["1.png", "2.png", "3.png"])
    whole = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))[1].tobytes()
    photo = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))[1].tobytes()
    huge = whole[:16] + struct.pack(">2I", 65_500, 65_500) + whole[24:29]
    frame = photo.index(b"\xff\xc0") + 5
    pictures = {"text": b"text", "none": b"", "cut": whole[: len(whole) // 2], "cut.jpg": photo[: len(photo) // 2]}
    pictures["sum"] = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    pictures["huge"] = huge + struct.pack(">I", zlib.crc32(huge[12:])) + whole[33:]
    pictures["huge.jpg"] = photo[:frame] + struct.pack(">2H", 65_500, 65_500) + photo[frame + 4 :]
    for broken, data in pictures.items():
        (folder / broken).mkdir()
        (folder / broken / f"1{Path(broken).suffix or '.png'}").write_bytes(data)
    settings = {"late": {"start": 1}, "early": {"start": -1}, "slow": {"fps": 0}, "nan": {"fps": float("nan")}}
    return folder / ("good" if name in settings else name), settings.get(name, {})


@pytest.mark.parametrize(
    "name,words",
    [
        ("empty", ".exr); name a video, or where pictures are"),
        ("empty/a%04d.png", "a%04d.png: no such file"),
        ("good/c*.png", "no such file"),
        ("nowhere/a%04d.png", "nowhere: no such folder"),
        ("kinds", "several kinds"),
        ("mixed", "3.png: is 9x6, but 1.png is 8x6"),
        ("text", "1.png: not a picture"),
        ("none", "1.png: not a picture"),
        ("cut", "1.png: not a picture, or cut off or damaged"),
        ("cut.jpg", "1.jpg: not a picture, or cut off or damaged"),
        ("sum", "1.png: not a picture, or cut off or damaged"),
        ("huge", "1.png: its picture is 65500x65500, or damaged; at most 67 million pixels are read"),
        ("huge.jpg", "1.jpg: its picture is 65500x65500, or damaged"),
        ("late", "no pictures from 1 s on; they last 0.08 s"),
        ("early", "--start -1.0: must be a number of seconds, at least 0"),
        ("slow", "0 pictures per second"),
        ("nan", "nan pictures per second"),
    ],
)
def test_bad_sequences_say_what_is_wrong_in_one_line(tmp_path: Path, name: str, words: str) -> None:
    path, settings = bad(tmp_path, name)
    with pytest.raises(UserError) as error:
        with ImageSequence(path, **settings) as source:
            list(source)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_what_png_and_jpeg_may_hold_beside_the_picture_is_passed_over(tmp_path: Path) -> None:
    """A comment of a PNG with a wrong checksum; a JPEG's thumbnail, restart markers and what a telephone appends."""
    (picture,) = levels(1, np.uint8)
    save(tmp_path, [picture], ["a.png"])
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:33] + struct.pack(">I4s2sI", 2, b"tEXt", b"a\0", 7) + data[33:])
    assert order(ImageSequence(tmp_path / "a.png")) == [0]
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    photo = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[
        1
    ].tobytes()
    thumbnail = cv2.imencode(".jpg", noise[:8, :8])[1].tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    (tmp_path / "b.jpg").write_bytes(photo[:2] + segment + photo[2:] + b"more")
    (frame,) = ImageSequence(tmp_path / "b.jpg")
    np.testing.assert_array_equal(frame.image, cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR_RGB))


def test_a_picture_that_vanishes_stops_the_pass(tmp_path: Path) -> None:
    save(tmp_path, levels(3), ["1.png", "2.png", "3.png"])
    with ImageSequence(tmp_path) as source:
        (tmp_path / "2.png").unlink()
        frames = source.frames()
        assert next(frames).index == 0
        with pytest.raises(UserError, match=r"2\.png: cannot be read \(No such file"):
            next(frames)
