"""What sources are called: which kind of source a name means, and what its results are named after."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from selftrack.errors import UserError

Spec = str | Path | int
"""A path or pattern, or the number of a camera."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".exr")
VIDEOS = tuple(
    ".mp4 .mov .m4v .mkv .webm .avi .ts .mts .m2ts .gif .mpg .mpeg .mxf .wmv .flv .3gp .ogv "
    ".h264 .264 .h265 .265 .hevc .mjpeg .mjpg".split()
)
"""By which videos are found in folders; one that is named itself is read whatever its suffix."""
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)")  # two letters at least: one is a drive
NUMBER = re.compile(r"%(?:0(\d+))?d")


def source_name(spec: Spec) -> str:
    """Name the results of a source, which may be gone: "smile" of smile.mp4, "img" of img%04d.png, "take" of take/."""
    place = place_of(spec)
    if isinstance(place, int):
        return camera_name(place)
    return sequence_name(place) if is_sequence(place) else place.stem


def place_of(spec: Spec) -> Path | int:
    """The number of a camera, an int or digits that name no file; else the path. Raises UserError for a URL."""
    if isinstance(spec, int):
        return spec
    url = URL.match(str(spec))
    if url:  # a path has lost a slash of it
        raise UserError(f"{url[1]}://{url[2]}: URLs are not read; download the file and name it")
    path = Path(spec)
    return int(spec) if isinstance(spec, str) and spec.isdecimal() and not path.exists() else path


def camera_name(number: int) -> str:
    """Name the results of a camera."""
    return f"camera{number}"


def is_sequence(path: Path) -> bool:
    """Whether that names pictures: a folder, a picture, or a pattern for some."""
    return path.is_dir() or is_picture(path)


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def is_pattern(path: Path) -> bool:
    """Whether a file's name stands for pictures by a number or a wildcard."""
    return path.suffix.lower() in SUFFIXES and bool(NUMBER.search(path.name) or glob.has_magic(path.name))


def check_there(path: Path, given: str) -> None:
    """Refuse a clip that is not there, before anything is loaded: that takes seconds. Pictures of a pattern are not
    looked for, only their folder.

    Raises:
        UserError: it is not there; `given` is what the user has given.
    """
    if not path.exists() and not (is_pattern(path) and path.parent.is_dir()):
        raise UserError(f"{given}: no such file; name a video, a folder of pictures or a pattern of their names")


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video."""
    return path.suffix.lower() in VIDEOS and not path.name.startswith(".")


def sequence_name(path: Path) -> str:
    """Name what is made from pictures: after the folder, or the part of the pattern that does not vary.

    >>> sequence_name(Path("take/img_%04d.png")), sequence_name(Path("take/*.png"))
    ('img', 'take')
    """
    if path.is_dir():
        return path.resolve().name
    if path.is_file():
        return path.stem
    fixed = re.sub(rf"{NUMBER.pattern}|[*?]|\[.*?\]", "", path.stem).strip(" ._-")
    return fixed or path.parent.resolve().name
