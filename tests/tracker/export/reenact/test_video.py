"""`track-export --to reenact` from a track and a picture to the video."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from selftrack.errors import NoFaceError, UserError
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.export.reenact._photo import read_photo
from selftrack.tracker.model import Model
from selftrack.tracker.results.track_file import Track

TIMES = np.arange(3) / 25
SOURCE_TYPE = b"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(device="cpu")


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in video.decode(video=0)]


def test_a_video_of_the_photo_that_says_what_it_is(
    face: Path, make_track: Callable[..., Track], tmp_path: Path
) -> None:
    track = make_track(np.arange(3) / 25, {"jawOpen": np.array([0, 0, 0.8])}, size=(1920, 1080))
    tagged = write(track, "reenact", tmp_path / "a.mp4", ExportOptions(onto=face))
    told: list[tuple[int, int]] = []
    options = ExportOptions(onto=face, no_tag=True, progress=lambda *step: told.append(step))
    plain = write(track, "reenact", tmp_path / "b.mp4", options)
    assert told == [(1, 3), (2, 3), (3, 3)]
    photo = cv2.imread(str(face))[..., ::-1].astype(int)
    first, _, last = frames_of(plain)
    assert first.shape == photo.shape == (360, 640, 3)
    assert np.abs(last - first).mean((0, 1)).max() > 0.1  # the mouth opens
    corner = np.s_[320:, :160]
    assert np.abs(first[corner] - photo[corner]).max() < 40 < np.abs(frames_of(tagged)[0][corner] - photo[corner]).max()
    for path in (tagged, plain):
        with av.open(str(path)) as video:
            assert SOURCE_TYPE.decode() in video.metadata["comment"]
            assert video.streams.video[0].average_rate == 25
        assert _boxes(path)[-1] == b"uuid" and SOURCE_TYPE in path.read_bytes()[-1000:]


def _boxes(path: Path) -> list[bytes]:
    """The kinds of the file's boxes (ISO 14496-12, 4.2), which fill it."""
    data, at, kinds = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kinds.append(data[at + 4 : at + 8])
        assert size >= 8
        at += size
    assert at == len(data)
    return kinds


def test_the_sound_and_the_times_are_the_performers(
    face: Path, make_track: Callable[..., Track], make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    from dataclasses import replace

    from selftrack.io import file_hash

    clip = make_clip("speech.mp4", [np.zeros((64, 64, 3), np.uint8)] * 4, pts=[0, 1, 3, 4], click=0.1)
    track = replace(make_track([0.0, 0.04, 0.12, 0.16]), clip=str(clip), clip_hash=file_hash(clip))
    path = write(track, "reenact", tmp_path / "a.mp4", ExportOptions(onto=face, keep_pose=True))
    with av.open(str(path)) as video:
        assert len(video.streams.audio) == 1
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([0, 0.04, 0.12, 0.16], abs=1e-3)


def test_the_face_of_a_photo_is_found(face: Path, model: Model) -> None:
    photo = read_photo(face, model)
    assert photo.image.shape == (360, 640, 3) and len(photo.track) == 1 and photo.track.ok.all()
    points, mesh = photo.track.landmarks[0], photo.track.model()
    import torch

    placed = mesh.landmarks478(torch.from_numpy(photo.track.vertices()))[0, :, :2].numpy()
    eyes = np.linalg.norm(points[33] - points[263])
    assert np.linalg.norm(placed - points, axis=1).mean() < 0.05 * eyes


def test_a_photo_without_a_face_or_with_two_is_refused(face: Path, model: Model, tmp_path: Path) -> None:
    empty, two = tmp_path / "empty.png", tmp_path / "two.png"
    cv2.imwrite(str(empty), np.full((200, 200, 3), 128, np.uint8))
    picture = cv2.imread(str(face))
    cv2.imwrite(str(two), np.concatenate([picture, picture], 1))
    with pytest.raises(NoFaceError, match="empty.png: no face was found; name a photo that shows one"):
        read_photo(empty, model)
    with pytest.raises(UserError, match="two.png: shows 2 faces; cut the picture"):
        read_photo(two, model)
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), cv2.resize(picture, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA))
    with pytest.raises(UserError, match="small.png: its face is .* pixels wide; name a photo where it has 48"):
        read_photo(small, model)


@pytest.mark.parametrize("over", ["face.png", "clip.mp4"])
def test_what_it_is_made_from_is_not_replaced(
    face: Path, make_track: Callable[..., Track], tmp_path: Path, over: str
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"the clip")
    track = replace(make_track(TIMES), clip=str(tmp_path / "clip.mp4"))
    before = (tmp_path / over).read_bytes()
    with pytest.raises(UserError, match="made from; name another file with -o"):
        write(track, "reenact", tmp_path / over, ExportOptions(onto=face))
    assert (tmp_path / over).read_bytes() == before


def test_another_kind_of_video_is_refused(face: Path, make_track: Callable[..., Track], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reenact writes .mp4 files; got .avi"):
        write(make_track(TIMES), "reenact", tmp_path / "a.avi", ExportOptions(onto=face))


def test_a_webp_of_a_face_is_read(face: Path, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "face.webp"
    cv2.imwrite(str(path), cv2.imread(str(face)), [cv2.IMWRITE_WEBP_QUALITY, 101])  # lossless
    assert np.array_equal(read_photo(path, model).image, read_photo(face, model).image)


def test_a_picture_that_no_encoder_takes_is_refused_at_once(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    cv2.imwrite(str(path), np.zeros((8, 16400, 3), np.uint8))
    with pytest.raises(UserError, match="no side may be longer than 16384 pixels"):
        read_photo(path, model)


def test_a_file_that_is_no_picture_is_refused(model: Model, tmp_path: Path) -> None:
    for name in ("a.jpg", "a.mp4"):
        (tmp_path / name).write_bytes(b"no picture")
    for name, words in (("b.jpg", "no such file"), ("a.mp4", "is not a picture"), ("a.jpg", "cut off or damaged")):
        path = tmp_path / name
        with pytest.raises(UserError, match=words):
            read_photo(path, model)
