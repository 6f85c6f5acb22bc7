"""Videos out: times, sizes, colours and the sound of what was read."""

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from selftrack.tracker.sources.base import Frame, SourceInfo, Window
from selftrack.tracker.sources.video import VideoFile
from selftrack.tracker.sources.writer import VideoWriter

MakeClip = Callable[..., Path]


def counting(n: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    """Grey frames whose level tells their number: 5, 10, 15, ..."""
    return [np.full((height, width, 3), 5 * i + 5, np.uint8) for i in range(n)]


def numbers_of(frames: Iterable[Frame]) -> list[int]:
    """The numbers that `counting` wrote into the frames."""
    return [round(float(frame.image.mean()) / 5) - 1 for frame in frames]


def info_of(path: Path) -> SourceInfo:
    return VideoFile(path).info


def test_writer_keeps_times_and_pads_odd_sizes(make_clip: MakeClip, tmp_path: Path) -> None:
    ticks = [3, 40, 41, 120, 700, 733]
    clip = make_clip("vfr.mkv", counting(6, 33, 47), ticks, Fraction(1, 1000), codec="ffv1")
    written = tmp_path / "out.mp4"
    with VideoFile(clip) as reader, VideoWriter(written, (47, 33), reader.info) as writer:
        for frame in reader:
            writer.write(frame.image, frame.time)
    with VideoFile(written) as reader:
        frames = list(reader)
        assert numbers_of(reader) == list(range(6))
    assert frames[0].image.shape == (34, 48, 3)
    assert [f.time for f in frames] == pytest.approx(np.array(ticks) / 1000, abs=1e-6)


def test_writer_keeps_colours(make_clip: MakeClip, tmp_path: Path) -> None:
    image = np.full((32, 32, 3), (200, 60, 30), np.uint8)
    clip, written = make_clip("colour.mkv", [image] * 4, codec="ffv1", pix_fmt="bgr0"), tmp_path / "out.mp4"
    with VideoWriter(written, (32, 32), info_of(clip)) as writer:
        for i in range(4):
            writer.write(image, i / 25)
    with VideoFile(written) as reader:
        for frame in reader:
            np.testing.assert_allclose(frame.image, image, atol=6)


def sound_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=-1)


def test_writer_copies_the_sound(smile: Path, tmp_path: Path) -> None:
    written = tmp_path / "out.mp4"
    with VideoFile(smile) as reader, VideoWriter(written, (640, 360), reader.info) as writer:
        for frame in reader:
            writer.write(frame.image, frame.time)
    np.testing.assert_array_equal(sound_of(written), sound_of(smile))


@pytest.mark.parametrize("start", [0.0, 0.4])
def test_writer_reencodes_sound_in_sync(make_clip: MakeClip, tmp_path: Path, start: float) -> None:
    clip, written = make_clip("click.avi", counting(50), codec="mpeg4", click=1.0), tmp_path / "out.mp4"
    with VideoWriter(written, (48, 32), info_of(clip), Window(start, 1.2)) as writer:
        for i in range(round(start * 25), round(start * 25) + 30):
            writer.write(counting(1)[0], i / 25)
    with av.open(str(written)) as container:
        stream = container.streams.audio[0]
        assert stream.codec.canonical_name == "aac"
        decoded = [(f.time, f.to_ndarray()[0]) for f in container.decode(stream)]
    at = [t + np.arange(len(s)) / 48_000 for t, s in decoded]
    loud = np.concatenate(at)[np.abs(np.concatenate([s for _, s in decoded])) > 0.3]
    assert loud.min() == pytest.approx(1.0 - start, abs=0.005)
    assert np.concatenate(at).max() == pytest.approx(1.2, abs=0.05)


@pytest.mark.parametrize("copied", [True, False])
def test_sound_of_joined_streams_stays_with_the_picture(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    """Two seconds with a click at one second, twice: picture and sound go on after the first."""
    if not copied:
        monkeypatch.setattr("selftrack.tracker.sources.writer.MP4_AUDIO", ())
    part, clip, written = make_clip("click.ts", counting(50), click=1.0), tmp_path / "joined.ts", tmp_path / "out.mp4"
    clip.write_bytes(part.read_bytes() * 2)
    with VideoFile(clip) as reader, VideoWriter(written, (48, 32), reader.info) as writer:
        for frame in reader:
            writer.write(frame.image, frame.time)
        begins = reader.info.shifts[0]
    with VideoFile(written) as reader:
        frames = list(reader)
    assert numbers_of(frames) == [*range(50)] * 2
    at, loud = [], []
    with av.open(str(written)) as container:
        for sound in container.decode(audio=0):
            samples = np.abs(sound.to_ndarray()[0])
            at.append(sound.time + np.arange(len(samples)) / sound.sample_rate)
            loud.append(samples > 0.2)
    clicks = np.concatenate(at)[np.concatenate(loud)]
    first, second = clicks[clicks < 2], clicks[clicks > 2]
    delay = frames[0].time  # sound begins a little before the picture
    assert first.min() == pytest.approx(1.0 + delay, abs=0.03)
    assert second.min() - first.min() == pytest.approx(float(begins), abs=0.005)
    assert frames[50].time - frames[0].time == pytest.approx(float(begins), abs=0.001)


def test_times_closer_than_a_tick(make_clip: MakeClip, tmp_path: Path) -> None:
    clip, written = make_clip("a.mkv", counting(2), codec="ffv1"), tmp_path / "out.mp4"
    with VideoWriter(written, (48, 32), info_of(clip)) as writer:  # ticks of a millisecond
        for image, time in zip(counting(4), (0.0, 0.0001, 0.0002, 0.04), strict=True):
            writer.write(image, time)
    with VideoFile(written) as reader:
        assert [frame.time for frame in reader] == pytest.approx([0, 0.001, 0.002, 0.04], abs=1e-6)


def test_writer_leaves_nothing_after_an_error(smile: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(32,32,3\), got \(8, 8, 3\)"):
        with VideoWriter(tmp_path / "out.mp4", (32, 32), info_of(smile)) as writer:
            writer.write(np.zeros((8, 8, 3), np.uint8), 0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_nothing_is_left_where_the_disk_is_full(tmp_path: Path) -> None:
    """Also where that shows only when the file is closed: a small one is written then."""
    import resource

    before, info = (
        resource.getrlimit(resource.RLIMIT_FSIZE),
        SourceInfo("a", None, 64, 48, Fraction(25), None, Fraction(1, 25)),
    )
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for count in (2, 60):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(OSError), VideoWriter(tmp_path / "a.mp4", (64, 48), info) as writer:
                for number in range(count):
                    writer.write(np.roll(noise, 7 * number, 1), number / 25)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not list(tmp_path.iterdir())
