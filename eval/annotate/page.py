"""`annotate.html`: a page in which a person marks points of a face, frame by frame, and saves them as CSV."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from selftrack.errors import UserError
from selftrack.eval.report.pictures import uri
from selftrack.io import OutputFolder
from selftrack.tracker import load
from selftrack.tracker.progress import Progress, no_progress
from selftrack.tracker.results.clip import read_rows
from selftrack.tracker.results.painter import Crop
from selftrack.tracker.results.texture import evenly

NAME = "annotate.html"
FRAMES = 16  # in the page, spread evenly over the clip
SIDE = 900  # pixels; larger pictures of the face are shrunk


def write_page(folder: Path, progress: Progress = no_progress) -> Path:
    """Write `annotate.html` into a folder that `track` has written; it reads the clip once.

    Raises:
        UserError: no track there, no face in it, a clip that is not where it was, or a page that is the user's own.
    """
    track, output = load(folder), OutputFolder(folder)
    output.check([NAME], overwrite=True)
    rows = evenly(np.flatnonzero(track.ok), FRAMES).tolist() if track.ok.any() else []
    if not rows:
        raise UserError(f"{folder}: no face was found in any frame, so there is nothing to mark; name another track")
    frames = []
    for frame in read_rows(track, set(rows), verify=True):
        points = track.landmarks[frame.index]
        crop = Crop(points, frame.image)
        if len(crop.picture) > SIDE:
            crop = Crop(points, frame.image, SIDE)
        size = crop.picture.shape[1::-1]
        place = {"row": frame.index, "scale": crop.scale, "low": crop.low.tolist(), "size": size}
        frames.append(place | {"picture": uri(crop.picture, 92)})
        progress("taking pictures", len(frames), len(rows))
    page = (files("selftrack.eval.report") / "assets" / NAME).read_text(encoding="utf-8")
    return output.add(NAME, page.replace("/*FRAMES*/[]", json.dumps(frames)))
