"""What users read of a clip without a face."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.errors import NoFaceError
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.notes import check_face
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Model
from selftrack.tracker.results.track_file import Track

PICTURE = "no face was found; nothing was written; take a picture that shows the face larger, in more light or more "


@pytest.mark.parametrize("face", [0, 1])
def test_a_picture_is_named_and_spoken_of_as_one(tmp_path: Path, face: int) -> None:
    """As it was given, and in the same words whether or not faces are counted first."""
    picture = tmp_path / "dark.png"
    cv2.imwrite(str(picture), np.zeros((96, 96, 3), np.uint8))
    config = TrackConfig(overlay=False, detect=DetectConfig(face=face), person=PersonConfig(samples=1))
    with pytest.raises(NoFaceError) as caught:
        track_clip(picture, tmp_path / "out", config, model=Model.load(device="cpu"))
    assert str(caught.value).startswith(f"{picture}: {PICTURE}")


def test_notes_come_before_the_advice(make_track: Callable[..., Track]) -> None:
    track = replace(make_track([0, 0.04], lost=[0, 1]), notes=("the clip is damaged",))
    with pytest.raises(NoFaceError) as caught:
        check_face(track, "dark.mp4")
    before, advice = str(caught.value).split("; take footage")
    assert before == "dark.mp4: no face was found in any of 2 frames; nothing was written; the clip is damaged"
    assert advice.endswith("more from the front")
