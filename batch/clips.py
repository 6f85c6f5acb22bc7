"""Which clips a batch has, what their results are called, and which of them a shard takes."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from selftrack.errors import UserError, reason
from selftrack.io import PRIVATE
from selftrack.tracker.sources.names import is_pattern, is_picture, is_video, place_of, sequence_name


@dataclass(frozen=True)
class Clip:
    """One clip of a batch."""

    name: str
    """Of the folder of its results: the clip's place below the common root of all inputs, its suffix included, so that
    no two clips share it."""
    path: str
    """Absolute; a video, a folder of pictures or a pattern of their names."""


class _Found(NamedTuple):
    """A clip, and the folder below which the user has named it."""

    base: Path
    path: Path
    beside: tuple[Path, ...] = ()
    """Pictures in a folder of videos, which are no clip."""


def find_clips(
    inputs: Sequence[str], leave_out: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> list[Clip]:
    """Find the clips that a user names, in the order of their names.

    Args:
        inputs: videos; folders, looked through with all below them, in which a folder with pictures and no video is a
            clip itself; patterns such as corpus/*.mp4 or img%04d.png; "@FILE", a list of these, one a line.
        leave_out: a folder that is not looked into, that of the results.
        say: takes a line for the user, where there are pictures beside videos.

    Raises:
        UserError: an input that is not there, or without clips; or two clips whose results would have one name.
    """
    found = [one for text in inputs for one in _expanded(text, leave_out.resolve() if leave_out else None)]
    if not found:
        raise UserError(f"{', '.join(inputs)}: no clips there; name videos, or folders that have some")
    pictures = {picture for one in found for picture in one.beside}
    if pictures:
        say(
            f"pictures beside videos that are left out: {len(pictures)}; a folder of pictures alone is a clip, and one "
            "picture is tracked with: track PICTURE"
        )
    root = Path(os.path.commonpath({one.base for one in found}))
    clips: dict[str, Clip] = {}
    for path in dict.fromkeys(one.path for one in found):
        clip = Clip(_name(path, root), str(path))
        other = clips.setdefault(clip.name, clip)
        if other is not clip:
            raise UserError(
                f"{path}: its results would be in {clip.name}, as those of {other.path}; rename one of them, or track "
                "them into two folders"
            )
    return [clips[name] for name in sorted(clips)]


def _name(path: Path, root: Path) -> str:
    """What the results of a clip below a root are called."""
    place = path.relative_to(root)
    return (place if path.exists() or not is_pattern(place) else place.parent / sequence_name(path)).as_posix()


def _expanded(text: str, leave_out: Path | None, listed: bool = False) -> Iterator[_Found]:
    """The clips of one input; one of a list may be missing, which is found out when it is its turn."""
    place_of(text)  # refuses a URL
    path = Path(os.path.abspath(text))
    if path.is_dir():
        yield from _within(path, leave_out)
    elif path.exists():
        if is_picture(path) and not listed:
            raise UserError(f"{text}: is one picture; name its folder, or a pattern in quotes such as 'img%04d.png'")
        yield _Found(path.parent, path)
    elif text.startswith("@") and not listed:
        for line in _lines(Path(text[1:])):
            yield from _expanded(line, leave_out, listed=True)
    elif is_pattern(path) and path.parent.is_dir():
        yield _Found(path.parent, path)
    elif glob.has_magic(text):
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise UserError(f"{text}: no file has such a name")
        base = _before_magic(path)
        for match in matches:
            yield from (_Found(base, one.path) for one in _expanded(match, leave_out, listed=True))
    elif listed:
        yield _Found(path.parent, path)
    else:
        raise UserError(f"{text}: no such file or folder; name videos, folders, patterns, or a list as @FILE")


def _lines(path: Path) -> list[str]:
    """The lines of a list that are not empty. Raises UserError where it cannot be read."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        advice = "name a text file with one path a line"
        raise UserError(f"@{path}: the list cannot be read ({reason(error)}); {advice}") from error


def _before_magic(path: Path) -> Path:
    """The folder of a pattern above its first wildcard."""
    return next(parent for parent in path.parents if not glob.has_magic(str(parent)))


def _within(folder: Path, leave_out: Path | None) -> Iterator[_Found]:
    """The clips of a folder and all below it, but no results of ours and nothing hidden."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if PRIVATE in folders or here.resolve() == leave_out:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [here / name for name in sorted(names)]
        videos, pictures = [file for file in files if is_video(file)], tuple(filter(is_picture, files))
        if pictures and not videos:
            yield _Found(folder.parent if here == folder else folder, here)
        for video in videos:
            yield _Found(folder, video, pictures)


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a batch, the first of which is 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "3/16". Raises UserError where that is no part of a whole."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--shard takes I/N with I from 1 to N, such as 1/16; got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def of(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips of this shard. Which one a clip is in depends on its name alone: clips that come or go elsewhere
        move no others."""
        return [clip for clip in clips if _number(clip.name) % self.count == self.number - 1]


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
