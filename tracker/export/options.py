"""What a writer gets beside the track and the path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.errors import UserError
from selftrack.tracker.export.maps._settings import FRAME, check_side, crop_box
from selftrack.tracker.progress import Steps, no_steps

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

METAVARS = {"character": "RIG", "flame": "FILE", "flame_landmarks": "FILE", "onto": "PHOTO"}
"""What the options that a format asks for take, in help and messages, by their fields; a FILE where none is said."""
MAKERS = {"character": "track-rig add FILE -o {}", "against": "track CLIP -o {}"}
"""The commands that make what options name, by their fields."""


@dataclass(frozen=True)
class ExportOptions:
    """Settings that writers share; each reads what concerns it."""

    focal: float | None = None
    """Focal length of the clip's camera, pixels; None for `camera.focal_length`'s own."""
    raw: Track | None = None
    """The track as it was tracked, where it was changed for the export: cleaned up, edited, brought to a range."""
    folder: Path | None = None
    """Where the track's other files are, such as `texture.png`; None if they shall not be looked for."""
    home: Path | None = None
    """The folder in which the file will lie, where it is written elsewhere first; None for that of its path."""
    compress: bool = False
    """Whether the numbers of a .glb are packed, for programs that read EXT_meshopt_compression."""
    against: Path | None = None
    """Folder of another track of the clip, to be compared with."""
    flame: Path | None = None
    """FLAME's model file, of whoever exports to it."""
    flame_landmarks: Path | None = None
    """The file that says where FLAME's landmarks lie on it."""
    character: Path | None = None
    """The user's own character, a .rig file of track-rig."""
    maps: tuple[str, ...] = ()
    """Names of the maps to draw, see `maps._settings.KINDS`; none: all of the mesh that the decoder allows."""
    crop: str = ""
    """What the maps show: "frame", the whole frame, as by default, "face", or X,Y,WIDTH,HEIGHT in the clip's pixels."""
    size: int | None = None
    """Width of the maps in pixels; None for that of the clip, or 512 of the crop "face"."""
    onto: Path | None = None
    """A photo, whose person is to move as the performance does."""
    keep_pose: bool = False
    """Whether the head of that photo stays as it is, and the face alone moves."""
    no_tag: bool = False
    """Whether the word that says that it is synthetic is left out of the picture."""

    progress: Steps = no_steps
    """Told how many frames are written, or read for the texture, by writers that take their time."""

    def __post_init__(self) -> None:
        if self.focal is not None and not 0 < self.focal < float("inf"):
            raise UserError(f"the focal length must be a number of pixels above 0; got {self.focal}")
        crop_box(self.crop or FRAME)
        if self.size is not None:
            check_side(self.size)

    def relative(self, file: Path, path: Path) -> str:
        """Name a file, with forward slashes, from where the file that is written to `path` will lie."""
        return Path(os.path.relpath(file.resolve(), (self.home or path.parent).resolve())).as_posix()
