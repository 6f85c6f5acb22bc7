"""What damaged files do: small clips of many containers are broken in many ways, read, and some of them tracked.

    python -m selftrack.eval.checks.mutations CLIP OUT

Each file must end in a result or in one line for the user: not in a traceback, a crash, a hang, or more memory than
`MEMORY`. The broken files stay in OUT, OUT/mutations.md has the counts. CLIP shows a face from the beginning. Linux
alone: the peak of a process's memory is read from /proc.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import av
import cv2
import numpy as np
import typer

from selftrack.command import run
from selftrack.errors import UserError
from selftrack.io import markdown_table, write_text
from selftrack.tracker.sources.opening import open_source

MEMORY = 2000
"""Megabytes that a file may take at most; of a process that reads several, beside what it had before."""
_READ_LIMIT, _TRACK_LIMIT = 30, 300  # seconds after which a file has hung
_FRAMES, _WIDTH, _RATE = 8, 400, 25  # of the small clips
_POLL = 0.1  # seconds between looks at a process


_READER = "from selftrack.eval.checks.mutations import _serve; _serve()"


class Kind(NamedTuple):
    """A kind of clip: the name of its file, or of its folder of pictures, and how it is encoded."""

    name: str
    codec: str
    pixels: str

    @property
    def is_sequence(self) -> bool:
        """Whether it is a folder of pictures."""
        return "." not in self.name


KINDS = (
    Kind("h264.mp4", "libx264", "yuv420p"),
    Kind("vp9.mkv", "libvpx-vp9", "yuv420p"),
    Kind("vp8.webm", "libvpx", "yuv420p"),
    Kind("prores.mov", "prores_ks", "yuv422p10le"),
    Kind("mjpeg.avi", "mjpeg", "yuvj420p"),
    Kind("h264.ts", "libx264", "yuv420p"),
    Kind("animated.gif", "gif", "rgb8"),
    Kind("raw.h264", "libx264", "yuv420p"),
    Kind("png", "png", "rgb24"),
    Kind("jpg", "mjpeg", "yuvj420p"),
    Kind("exr", "exr", "gbrpf32le"),
)


class Ending(NamedTuple):
    """How reading or tracking a file ended."""

    outcome: str
    """One of `GOOD` or `BAD`."""
    about: str
    """Of a refusal the line, of a failure what is known."""
    memory: float
    """Most megabytes that the process took."""


class Broken(NamedTuple):
    """A broken clip."""

    kind: str
    """Name of the kind."""
    way: str
    """One of `WAYS`."""
    path: Path


GOOD = ("read", "read, with notes", "refused in one line")
BAD = ("traceback", "several lines", "crash", "hang", "too much memory", "half a result")


def small_clip(kind: Kind, images: Sequence[np.ndarray], folder: Path) -> Path:
    """Write pictures (H,W,3) uint8 RGB as a clip of a kind; returns the file, or the folder of pictures."""
    path = folder / kind.name
    if not kind.is_sequence:
        with av.open(str(path), "w") as out:
            stream = out.add_stream(kind.codec, rate=_RATE, options={"g": "4"})
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], kind.pixels
            for number, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts = number
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path
    path.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        encoder = av.CodecContext.create(kind.codec, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.height, encoder.width, encoder.pix_fmt = *image.shape[:2], kind.pixels
        encoder.framerate = Fraction(_RATE)
        frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=kind.pixels)
        packets = [*encoder.encode(frame), *encoder.encode(None)]
        (path / f"{number:03d}.{kind.name}").write_bytes(b"".join(bytes(packet) for packet in packets))
    return path


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Invert bits anywhere, or only near the beginning or the end, where indices are."""
    out, spread = bytearray(data), int(rng.choice([64, 1024, len(data)]))
    places = rng.integers(0, min(spread, len(out)), int(rng.integers(1, 65)))
    for place in len(out) - 1 - places if rng.random() < 0.3 else places:
        out[place] ^= 1 << int(rng.integers(8))
    return bytes(out)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """Break off, leave a piece out, or repeat one."""
    first, last = sorted(rng.integers(0, len(data), 2).tolist())
    return (data[:first], data[:first] + data[last:], data[:last] + data[first:])[int(rng.integers(3))]


def wrong_header(data: bytes, rng: np.random.Generator) -> bytes:
    """Put zeros, noise, or the beginning of another kind of file in place of the beginning."""
    heads = (
        bytes(int(rng.integers(4, 64))),
        rng.bytes(int(rng.integers(4, 64))),
        b"RIFF\xff\xff\xff\xffAVI LIST",
        b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01",
        b"\x00\x00\x00\x20ftypisom",
        b"GIF89a\xff\xff\xff\xff",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff",
        b"#EXTM3U\n#EXTINF:1,\nother.ts\n",
        b"\xff\xd8\xff\xe0",
    )
    head = heads[int(rng.integers(len(heads)))]
    return head + data[len(head) :]


_MP4 = ((rb"stsz|stco|stsc|stts|ctts|tkhd|mvhd|mdhd|elst|pasp", 4, 16), (rb"avc1.{24}|apcn.{24}", 2, 2))
_MATROSKA = (
    (rb"\xb0\x82|\xba\x82|\xb0\x81\xc0\xba", 2, 1),
    (rb"\x1f\x43\xb6\x75|\xa3|\x23\xe3\x83|\x2a\xd7\xb1", 2, 4),
)
_SIZES = {  # what comes before numbers of size, how many bytes each of them has, and how many they are
    ".mp4": _MP4,
    ".mov": (*_MP4, (rb"icpf.{8}", 2, 2)),
    ".mkv": _MATROSKA,
    ".webm": (*_MATROSKA, (rb"\x9d\x01\x2a", 2, 2)),
    ".avi": ((rb"avih|strh|strf|LIST|00dc|idx1", 4, 10), (rb"\xff\xc0\x00\x11\x08", 2, 2)),
    ".ts": ((rb"\x00\x00\x01\xe0|\x00\x00\x01\x67|\x47\x50\x00", 2, 6),),
    ".gif": ((rb"GIF89a", 2, 2), (rb"!\xf9\x04.{4}\x00,", 2, 4)),
    ".h264": ((rb"\x00\x00\x01[\x67\x68]", 2, 6),),
    ".png": ((rb"IHDR", 4, 2),),
    ".jpg": ((rb"\xff\xc0\x00\x11\x08", 2, 2), (rb"\xff[\xc4\xdb\xda\xe0]", 2, 1)),
    ".exr": ((rb"box2i\x00\x10\x00\x00\x00", 4, 4), (rb"compression\x00chlist\x00", 4, 4)),
}


def hostile_sizes(data: bytes, rng: np.random.Generator, suffix: str) -> bytes:
    """Put extreme numbers where a kind of file has sizes, lengths and counts."""
    out = bytearray(data)
    order: Literal["little", "big"] = "little" if suffix in (".avi", ".gif", ".exr") or rng.random() < 0.1 else "big"
    pattern, size, count = _SIZES[suffix][int(rng.integers(len(_SIZES[suffix])))]
    places = [found.end() for found in re.finditer(b"(?s)" + pattern, data)]
    top = 1 << (8 * size)
    for place in rng.permutation(places)[: int(rng.integers(1, 4))].tolist():
        for number in rng.permutation(count)[: int(rng.integers(1, 3))].tolist():
            extreme = rng.choice(
                [0, 1, top // 2 - 1, top // 2, top - 1, 12_000, 20_000, 65_500, int(rng.integers(top))]
            )
            out[place + size * number : place + size * (number + 1)] = (int(extreme) % top).to_bytes(size, order)
    if suffix == ".png":
        out[29:33] = zlib.crc32(out[12:29]).to_bytes(4, "big")  # a wrong sum alone would be enough to be refused
    return bytes(out)


def wrong_stamps(data: bytes, rng: np.random.Generator, suffix: str) -> bytes:
    """Let time stamps jump, repeat and go back: in an mp4's tables, Matroska's blocks, a transport stream's packets, a
    gif's pauses. Other kinds, which have none, get their parts in another order."""
    out = bytearray(data)
    if suffix in (".mp4", ".mov"):
        for found in re.finditer(rb"stts|ctts|elst", data):
            count = min(int.from_bytes(data[found.end() + 4 : found.end() + 8], "big"), 64)
            for entry in range(count):
                if rng.random() < 0.5:
                    at, delta = found.end() + 12 + 8 * entry, int(rng.choice([0, 1, -512, 5120, 2**31 - 1, -(2**31)]))
                    struct.pack_into(">i", out, min(at, len(out) - 4), delta)
        if rng.random() < 0.5:  # each frame its own duration
            scale = re.search(rb"mdhd", data)
            if scale:
                struct.pack_into(">I", out, scale.end() + 12, int(rng.choice([1, 10, 2**31 - 1])))
        return bytes(out)
    patterns = {
        ".mkv": (rb"\xa3.{1,4}?\x81", 2),
        ".webm": (rb"\xa3.{1,4}?\x81", 2),
        ".ts": (rb"\x00\x00\x01\xe0.{5}", 5),
        ".gif": (rb"!\xf9\x04.", 2),
    }
    pattern, size = patterns.get(suffix, (rb"(?s)00dc|\x00\x00\x01[\x41\x65]", 0))
    places = [found.end() for found in re.finditer(b"(?s)" + pattern.removeprefix(b"(?s)"), data)]
    if size == 0 and len(places) > 2:
        ends = [*places, len(data)]
        parts = [data[a:b] for a, b in zip(ends, ends[1:], strict=False)]
        return data[: places[0]] + b"".join(parts[i] for i in rng.permutation(len(parts)))
    for place in places:
        if rng.random() < 0.4:
            out[place : place + size] = _stamp(suffix, rng)
    return bytes(out)


def _stamp(suffix: str, rng: np.random.Generator) -> bytes:
    """A time as a kind of file writes it."""
    if suffix == ".ts":
        ticks = int(rng.choice([0, 90_000, 2**33 - 1, int(rng.integers(2**33))]))
        return struct.pack(">BHH", 0x21 | (ticks >> 29) & 0xE, ticks >> 14 & 0xFFFE | 1, (ticks << 1) & 0xFFFE | 1)
    return struct.pack(">h", int(rng.choice([0, 40, -32768, 32767, int(rng.integers(-32768, 32768))])))


WAYS: dict[str, Callable[[bytes, np.random.Generator, str], bytes]] = {
    "bit flips": lambda data, rng, suffix: flipped(data, rng),
    "cut": lambda data, rng, suffix: cut(data, rng),
    "wrong header": lambda data, rng, suffix: wrong_header(data, rng),
    "hostile sizes": hostile_sizes,
    "time stamps": wrong_stamps,
}


def mutated(clip: Path, way: str, rng: np.random.Generator, target: Path) -> Path:
    """Write a broken copy of a clip to `target`; of a folder of pictures some pictures are broken."""
    if clip.is_file():
        target.write_bytes(WAYS[way](clip.read_bytes(), rng, clip.suffix))
        return target
    shutil.copytree(clip, target)
    files = sorted(target.iterdir())
    if way == "time stamps":  # of pictures, their numbers
        for file in rng.choice(np.array(files), 3, replace=False):
            file.rename(file.with_name(f"{int(rng.integers(10**9))}{file.suffix}"))
        return target
    for file in rng.choice(np.array(files), int(rng.integers(1, 4)), replace=False):
        file.write_bytes(WAYS[way](file.read_bytes(), rng, file.suffix))
    return target


def mutations(clips: Sequence[Path], count: int, seed: int, folder: Path) -> Iterator[Broken]:
    """Write `count` broken clips, of all kinds and in all ways in turns."""
    for number in range(count):
        clip = clips[number % len(clips)]
        way = list(WAYS)[number // len(clips) % len(WAYS)]
        target = folder / f"{number:04d}_{clip.name}"
        yield Broken(clip.name, way, mutated(clip, way, np.random.default_rng([seed, number]), target))


def read_to_the_end(path: Path) -> Ending:
    """Read a clip as `track` does, in this process."""
    _forget_peak()
    before = _peak()
    try:
        with open_source(path) as source:
            source.count()
            frames = sum(1 for _ in source.frames())
            notes = source.notes
        about = f"{frames} frames; {'; '.join(notes)}"
        outcome = GOOD[bool(notes)] if all("\n" not in note for note in notes) else "several lines"
    except UserError as error:
        outcome, about = "refused in one line" if "\n" not in str(error) else "several lines", str(error)
    except Exception as error:
        outcome, about = "traceback", f"{type(error).__name__}: {error}"
    peak = _peak()
    return Ending("too much memory" if peak - before > MEMORY else outcome, about, peak)


def _forget_peak() -> None:
    """Let the peak of this process's memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak(process: int | str = "self") -> float:
    """Most megabytes that a process took; 0 where it has ended."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1000 if found else 0.0


def _serve() -> None:
    """In a process of its own: read the clips whose paths come on stdin, and print how each ended."""
    faulthandler.enable()
    for line in sys.stdin:
        faulthandler.dump_traceback_later(_READ_LIMIT, exit=True)
        ending = read_to_the_end(Path(line.rstrip("\n")))
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(ending), flush=True)


def read_all(paths: Sequence[Path], log: Path) -> Iterator[Ending]:
    """Read clips in another process, which is started anew after it has crashed or hung; `log` gets its last words."""
    process: subprocess.Popen[str] | None = None
    for path in paths:
        if process is None:
            with open(log, "w") as words:
                process = subprocess.Popen(
                    [sys.executable, "-c", _READER],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=words,
                    text=True,
                )
        assert process.stdin is not None and process.stdout is not None
        print(path, file=process.stdin, flush=True)
        answer = process.stdout.readline()
        if answer:
            yield Ending(*json.loads(answer))
            continue
        process.wait()
        said = log.read_text()
        yield Ending("hang" if "Timeout" in said else "crash", f"{process.returncode}: {said[-2000:]}", 0.0)
        process = None
    if process is not None and process.stdin is not None:
        process.stdin.close()
        process.wait()


def track(path: Path, output: Path) -> Ending:
    """Track a clip by the command, in a process of its own."""
    command = [sys.executable, "-m", "selftrack", str(path), "-o", str(output), "--quiet"]
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words)
        status, peak = _ended(process, _TRACK_LIMIT)
        words.seek(0)
        said = words.read()[-2000:]
    return Ending(_judged(status, said, output, peak), said.strip(), peak)


def _ended(process: subprocess.Popen, limit: float) -> tuple[int | None, float]:
    """Wait for a process: its exit status, None where it had to be killed, and the most megabytes that it took."""
    until = time.monotonic() + limit
    while True:
        number, status, usage = os.wait4(process.pid, os.WNOHANG if time.monotonic() < until else 0)
        if number:
            hung = time.monotonic() >= until
            process.returncode = os.waitstatus_to_exitcode(status)
            return None if hung else process.returncode, usage.ru_maxrss / 1000
        if time.monotonic() + _POLL >= until:
            process.kill()
        time.sleep(_POLL)


def _judged(status: int | None, said: str, output: Path, peak: float) -> str:
    """The outcome of a run of `track` with that exit status (None where it was killed) and those words."""
    work = [path for path in output.parent.iterdir() if path.name.startswith(f".{output.name}-")]
    if status is None or status < 0:
        return "hang" if status is None else "crash"
    if "Traceback" in said:
        return "traceback"
    if work or (status == 0) != (output / "track.npz").exists() or (status != 0 and output.exists()):
        return "half a result"
    if peak > MEMORY:
        return "too much memory"
    if status == 0:
        return "read"
    return "refused in one line" if status in (2, 3) and len(said.strip().splitlines()) == 1 else "several lines"


def table(endings: Sequence[tuple[str, Ending]], first: str) -> str:
    """Write Markdown: how many files of each group ended how, and the most memory."""
    outcomes = [name for name in (*GOOD, *BAD) if any(ending.outcome == name for _, ending in endings)]
    rows = []
    for group in [*dict.fromkeys(group for group, _ in endings), "**all**"]:
        own = [ending for name, ending in endings if group in (name, "**all**")]
        counts = Counter(ending.outcome for ending in own)
        rows.append([group, *(counts[name] for name in outcomes), f"{max(ending.memory for ending in own):.0f}"])
    return markdown_table([first, *outcomes, "MB at most"], rows)


def main(
    clip: Annotated[Path, typer.Argument(help="Video that shows a face from the beginning.", metavar="CLIP")],
    output: Annotated[Path, typer.Argument(help="Folder for the broken files and the table.", metavar="OUT")],
    count: Annotated[int, typer.Option(help="Break so many files (default 300).", min=1)] = 300,
    tracked: Annotated[int, typer.Option(help="Track so many of them, too (default 30).", min=0)] = 30,
    seed: Annotated[int, typer.Option(help="Random seed (default 0).", min=0)] = 0,
) -> None:
    """Break files, read and track them, and count how that ends; status 1 where one ends badly."""
    whole, broken, tracks = (output / name for name in ("whole", "broken", "tracks"))
    for folder in (whole, broken, tracks):
        folder.mkdir(parents=True)
    with open_source(clip) as source:
        pictures = [_small(frame.image) for frame in islice(source.frames(), _FRAMES)]
    clips = [small_clip(kind, pictures, whole) for kind in KINDS]
    files = list(mutations(clips, count, seed, broken))
    read = list(zip(files, read_all([path for *_, path in files], output / "last_words.txt"), strict=True))
    text = table([(kind, ending) for (kind, _, _), ending in read], "read, by kind")
    text += "\n" + table([(way, ending) for (_, way, _), ending in read], "read, by damage")
    followed = []
    for one in _sample(read, tracked, seed):
        followed.append((one, track(one.path, tracks / one.path.name)))
        print(one.path.name, one.way, *followed[-1][1], flush=True)
    if followed:
        text += "\n" + table([(kind, ending) for (kind, _, _), ending in followed], "tracked, by kind")
    for (_, way, path), ending in [*read, *followed]:
        if ending.outcome in BAD:
            text += f"\n- {path.name}, {way}: {ending.outcome}: {ending.about}"
    write_text(output / "mutations.md", text)
    print(text)
    sys.exit(any(ending.outcome in BAD for _, ending in [*read, *followed]))


def _sample(read: Sequence[tuple[Broken, Ending]], count: int, seed: int) -> list[Broken]:
    """Some of the files, two thirds of them such as could be read."""
    order = [read[i] for i in np.random.default_rng(seed).permutation(len(read)).tolist()]
    good, bad = (
        [file for file, ending in order if (ending.outcome in GOOD[:2]) == is_good] for is_good in (True, False)
    )
    return [*bad[: count // 3], *good[: count - count // 3]]


def _small(image: np.ndarray) -> np.ndarray:
    """A picture (H,W,3) of `_WIDTH` pixels and an even height."""
    height = 2 * round(_WIDTH * image.shape[0] / image.shape[1] / 2)
    return cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    run("python -m selftrack.eval.checks.mutations", mutations=main)
