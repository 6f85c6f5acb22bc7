"""FBX and Alembic: Blender makes them from our .glb, as the Python module bpy in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from selftrack.errors import UserError
from selftrack.tracker.export.options import ExportOptions
from selftrack.tracker.export.registry import Need, exporter
from selftrack.tracker.export.scenes.glb import glb_bytes
from selftrack.tracker.export.timing import frame_rate

if TYPE_CHECKING:
    from selftrack.tracker.results.track_file import Track

SCRIPT = Path(__file__).parents[2] / "assets" / "dcc" / "convert.py"
INSTALL = "--no-deps 'bpy>=5,<6' (for Python 3.11 alone)"
"""Without what bpy depends on: that is a NumPy older than ours, and what we call of it does without."""


@exporter("fbx", "{clip}.fbx", needs=[Need.BLENDSHAPES], package="bpy", install=INSTALL, focal=True)
def export_fbx(track: Track, path: Path, options: ExportOptions) -> None:
    """Write FBX in centimetres: shape keys and head pose baked in every frame, the texture inside."""
    _convert(track, path, options, ".fbx")


@exporter("alembic", "{clip}.abc", needs=[Need.BLENDSHAPES], package="bpy", install=INSTALL, focal=True)
def export_alembic(track: Track, path: Path, options: ExportOptions) -> None:
    """Write Alembic in metres: the vertices of every frame, and UVs of the one texture, as it knows no materials."""
    _convert(track, path, options, ".abc", own_teeth=True)


def _convert(track: Track, path: Path, options: ExportOptions, suffix: str, own_teeth: bool = False) -> None:
    """Have Blender make the file.

    Raises:
        UserError: it could not; the reason is Blender's last word.
    """
    with tempfile.TemporaryDirectory() as folder:
        glb, made = Path(folder) / "clip.glb", (Path(folder) / "clip").with_suffix(suffix)
        glb.write_bytes(glb_bytes(track, options, own_teeth))
        numbers = (frame_rate(track.times), *track.size)
        command = [sys.executable, str(SCRIPT), str(glb), str(made), *map(str, numbers)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not made.exists():
            reason = (done.stderr.strip() or f"it ended with status {done.returncode}").splitlines()[-1]
            raise UserError(
                f"Blender could not write {suffix} ({reason}); bpy 5 is needed, and that `import bpy` works"
            )
        shutil.copyfile(made, path)
