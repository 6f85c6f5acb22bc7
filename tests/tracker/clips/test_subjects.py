"""Who is seen in a clip: at rest where that is said, and as an earlier take of the person has it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import NoFaceError, UserError
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.following import prepare
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig, find_face, find_in_clip
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Model
from selftrack.tracker.results.track_file import Track, load
from selftrack.tracker.sources.opening import open_source

CLIP = Path(__file__).parents[2] / "data" / "smile.mp4"
TRACKING = TrackConfig()
ACTS = [row for row, name in enumerate(ARKIT_NAMES) if not name.startswith("eye")]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load()


@pytest.fixture(scope="module")
def at_smile(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Track:
    """A stretch of the smile whose first frame is said to be the rest."""
    folder = tmp_path_factory.mktemp("at_smile")
    person = PersonConfig(neutral=1.0)
    track_clip(CLIP, folder, TrackConfig(start=1.0, duration=0.4, overlay=False, person=person), model=model)
    return load(folder)


def test_what_is_said_to_be_the_rest_is_no_act(at_smile: Track) -> None:
    assert at_smile.rest.any() and at_smile.curve_values[0, ACTS].max() < 0.1


def test_a_clip_without_a_rest_says_so(model: Model, at_smile: Track) -> None:
    """The smile alone, but not the whole clip, and not where the rest is said."""

    def notes(**window: float) -> tuple[str, ...]:
        with open_source(CLIP, **window) as source:
            return prepare(source, model, TRACKING, find_face(source, model, TRACKING, TRACKING.person)).notes

    (note,) = notes(start=1.0, duration=0.4)
    assert "hardly at rest" in note and "--neutral" in note and "--calibration" in note
    assert notes() == ()


def test_a_smile_that_is_named_as_the_rest_is_told(model: Model, at_smile: Track) -> None:
    """A second at which the face rests is not, and a calibration's note names its clip."""
    (note,) = at_smile.notes
    assert note.startswith("--neutral 1: the face seems to be active there")
    at_rest, by_smile = PersonConfig(neutral=0.1), PersonConfig(neutral=1.0, samples=4, calibration=str(CLIP))
    with open_source(CLIP) as source:
        assert find_in_clip(source, model, TRACKING, at_rest).notes == ()
        assert find_in_clip(source, model, TRACKING, by_smile).notes == (f"{CLIP}: {note}",)


def test_curves_on_top_of_the_rest_are_the_mesh(at_smile: Track) -> None:
    """The file has what its vertices need."""
    rest = at_smile.z.copy()
    rest[:, at_smile.model().expression] = 0
    moved = at_smile.vertices() - replace(at_smile, z=rest).vertices()
    shapes = at_smile.model().blendshapes.numpy()
    scale = np.exp(at_smile.H_image[:, 0, None, None])
    expected = scale * np.tensordot(at_smile.curve_values, shapes, 1)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=2).mean(), np.linalg.norm(expected, axis=2).mean(), rtol=0.15)


def test_a_person_is_taken_from_an_earlier_track(model: Model, at_smile: Track, tmp_path: Path) -> None:
    at_smile.save(tmp_path)
    known = PersonConfig(calibration=str(tmp_path), samples=4)
    with open_source(CLIP) as source:
        subject, faces, _ = find_in_clip(source, model, TRACKING, known)
    assert subject is not None and len(faces) == 4
    np.testing.assert_allclose(subject.identity.numpy(), at_smile.identity, atol=1e-5)
    np.testing.assert_allclose(subject.rest.numpy(), at_smile.rest, atol=1e-6)
    assert 0 <= subject.inverse_distance <= 3


def test_a_person_is_taken_from_another_clip(model: Model) -> None:
    own, same = PersonConfig(neutral=0.2, samples=4), PersonConfig(neutral=0.2, samples=4, calibration=str(CLIP))
    with open_source(CLIP) as source:
        first, second = (find_in_clip(source, model, TRACKING, config).subject for config in (own, same))
    assert first is not None and second is not None
    np.testing.assert_allclose(second.identity.numpy(), first.identity.numpy(), atol=1e-5)
    np.testing.assert_allclose(second.rest.numpy(), first.rest.numpy(), atol=1e-6)


def test_what_cannot_be_is_one_line(
    model: Model, at_smile: Track, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    nobody = make_clip("nobody.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 3)
    other, same = tmp_path / "other", tmp_path / "same"
    for folder, track in ((other, replace(at_smile, decoder_hash="cd" * 8)), (same, at_smile)):
        folder.mkdir()
        track.save(folder)
    wrong = {
        "--neutral 90: .* of .*smile.mp4 is 2.40 s long; name a second from 0.00 to 2.37": PersonConfig(neutral=90.0),
        "--neutral -1: .* a second from 0.00": PersonConfig(neutral=-1.0),
        "nobody.mp4: no face was found; calibrate with": PersonConfig(calibration=str(nobody)),
        "other: tracked with another face model": PersonConfig(calibration=str(other)),
        "same is a track, whose rest is known": PersonConfig(calibration=str(same), neutral=0.2),
    }
    with open_source(CLIP) as source:
        for words, config in wrong.items():
            with pytest.raises(UserError, match=words):
                find_in_clip(source, model, TRACKING, replace(config, samples=2))


def test_a_face_of_a_number_where_nobody_is(model: Model, make_clip: Callable[..., Path]) -> None:
    nobody = make_clip("nobody.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 3)
    second = replace(TRACKING, detect=DetectConfig(face=1))
    words = "nobody.mp4: no face was found in any of 3 frames; nothing was"
    with open_source(nobody) as source, pytest.raises(NoFaceError, match=words):
        find_face(source, model, second, PersonConfig(samples=2))


def test_a_picture_of_a_smile(model: Model, tmp_path: Path) -> None:
    """It is a smile, the note names what a picture can be helped by, and what is drawn is a picture."""
    with open_source(CLIP) as source:
        (frame,) = source.frames(only=[40])
    cv2.imwrite(str(tmp_path / "me.png"), frame.image[..., ::-1])
    summary = track_clip(tmp_path / "me.png", tmp_path / "out", TRACKING, model=model)
    (note,) = summary.notes
    assert "in this picture" in note and "--calibration" in note and "--neutral" not in note
    smiling = [ARKIT_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right")]
    assert load(tmp_path / "out").curve_values[0, smiling].min() > 0.5
    drawn, (height, width) = cv2.imread(str(tmp_path / "out" / "overlay.png")), frame.image.shape[:2]
    assert drawn.shape == (height, 2 * width, 3) and not (tmp_path / "out" / "overlay.mp4").exists()
    off = np.abs(drawn[:, :width, ::-1].astype(int) - frame.image)
    assert off.max() <= 1 and np.abs(drawn[:, width:, ::-1].astype(int) - frame.image).max() > 50


def test_a_neutral_moment_of_a_picture(model: Model, tmp_path: Path) -> None:
    """It has no other second than its own."""
    cv2.imwrite(str(tmp_path / "face.png"), np.full((96, 96, 3), 90, np.uint8))
    words = "--neutral 5: .* of .*face.png is a single picture, at second 0.00; name that .* leave --neutral out"
    with open_source(tmp_path / "face.png") as source, pytest.raises(UserError, match=words):
        find_in_clip(source, model, TRACKING, PersonConfig(neutral=5.0, samples=2))


def test_a_neutral_moment_of_a_clip_whose_end_is_damaged(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last frame, which would tell how long it is, cannot be read."""
    with open_source(CLIP) as source:
        first = next(iter(source))
        monkeypatch.setattr(source, "glimpses", lambda rows: iter([first] if rows == {0, 71} else source.frames(rows)))
        assert find_in_clip(source, model, TRACKING, PersonConfig(neutral=0.2, samples=2)).subject is not None


def test_what_would_not_count_is_refused(model: Model) -> None:
    """A face model without a rest, and an identity for each frame."""
    with open_source(CLIP) as source, pytest.raises(UserError, match="has no rest of its own"):
        find_in_clip(source, replace(model, refiner=None), TRACKING, PersonConfig(neutral=0.2))
    per_frame = TrackConfig(identity="per-frame", overlay=False, person=PersonConfig(neutral=0.2))
    with pytest.raises(UserError, match="without --identity per-frame"):
        track_clip(CLIP, "unused", per_frame, model=model)
