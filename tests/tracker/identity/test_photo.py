"""A photo of somebody: what is refused, and who in a clip is like it."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.errors import NoFaceError, UserError
from selftrack.tracker.clips.choice import face_or_photo, most_like
from selftrack.tracker.clips.subjects import PersonConfig, find_face
from selftrack.tracker.identity.photo import describe_photo, distances
from selftrack.tracker.landmarks.cast import CastFace
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Model
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import TrackerConfig

DATA = Path(__file__).parents[2] / "data"
MESH = AttentionMesh(torch.device("cpu"))
FACE = CastFace((), (0.0, 9.0), 100.0, seen=9.0)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The man of smile.mp4 in another clip."""
    path = tmp_path_factory.mktemp("photo") / "me.jpg"
    with open_source(DATA / "lost.mp4") as source:
        (frame,) = source.frames(only={2})
    cv2.imwrite(str(path), frame.image[..., ::-1])
    return path


def test_photos_that_show_not_one_face(photo: Path, tmp_path: Path) -> None:
    picture = cv2.imread(str(photo))
    wrong = {
        "none.png": (np.full((200, 300, 3), 90, np.uint8), "no face was found in this photo"),
        "two.png": (np.concatenate([picture, picture], 1), "2 faces were found in this photo; cut it to the one"),
        "small.png": (cv2.resize(picture, None, fx=0.3, fy=0.3), "the face in this photo is too small or turned away"),
    }
    for name, (image, said) in wrong.items():
        cv2.imwrite(str(tmp_path / name), image)
        with pytest.raises(UserError, match=f"{name}: {said}"):
            describe_photo(tmp_path / name, MESH, DetectConfig())
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(UserError, match="not a picture"):
        describe_photo(tmp_path / "text.jpg", MESH, DetectConfig())


def test_who_is_like_the_photo(photo: Path, drawn_person: Callable) -> None:
    own = describe_photo(photo, MESH, DetectConfig())
    with open_source(DATA / "smile.mp4") as source:
        pictures = [frame.image for frame in source.frames(only={5, 60})]
    people = [[(p, MESH.faces(p, DetectConfig())[0].points) for p in some] for some in (drawn_person(4), pictures)]
    stranger, man = distances(own, people)
    assert man < 0.35 and stranger > 0.6


def test_the_nearest_face_is_chosen() -> None:
    number, note = most_like([FACE] * 3, np.array([0.7, 0.31, 0.44]), "clip", "me.jpg")
    assert number == 1 and "0 (0.0 to 9.0 s, 100 pixels wide) at 0.70, 1 (0.0" in note
    assert note.endswith("face 1 was followed")
    number, note = most_like([FACE] * 3, np.array([0.4, 0.31, 0.44]), "clip", "me.jpg")
    assert number == 1 and note.endswith("face 0 is hardly farther, look at faces.png")
    with pytest.raises(NoFaceError, match=r"--face me.jpg: nobody in clip looks like this; the nearest is at 0.60"):
        most_like([FACE] * 2, np.array([0.7, 0.6]), "clip", "me.jpg")


def test_a_number_or_a_photo(photo: Path) -> None:
    assert face_or_photo("12") == 12 and face_or_photo(str(photo)) == photo
    for text in ("-1", "nobody.jpg", ""):
        with pytest.raises(UserError, match="--face takes the number of a face, see --thumbnails, or a photo"):
            face_or_photo(text)


def test_a_clip_without_a_face(photo: Path, make_clip: Callable) -> None:
    clip = make_clip("none.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 4)
    words = "none.mp4: no face was found in any of 4 frames; nothing was written"
    with open_source(clip) as source, pytest.raises(NoFaceError, match=words):
        find_face(source, Model.load(device="cpu"), TrackerConfig(), PersonConfig(photo=str(photo)))
