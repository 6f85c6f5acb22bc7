"""A person's own model from one clip, and how it is judged."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.eval.checks.likeness import likeness, ssim
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.network.weights import network_beside
from selftrack.tracker.results import track_file
from selftrack.tracker.results.texture import EYES, clip_texture, own_texture, texels_of
from selftrack.tracker.results.track_file import Track
from selftrack.training import personal_model as own_model
from selftrack.training.clip_capture import ClipCapture
from selftrack.training.dam import DamTraining, split_frames

SMILE = Path(__file__).parents[1] / "data" / "smile.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `track` writes of twelve frames."""
    folder = tmp_path_factory.mktemp("clip") / "dam_track"
    track_clip(SMILE, folder, TrackConfig(duration=0.4, person=PersonConfig(samples=2), overlay=False))
    return folder


@pytest.fixture
def track(folder: Path) -> Track:
    return track_file.load(folder)


def test_a_clip_is_a_capture_of_one_camera(track: Track) -> None:
    capture = ClipCapture(track, 64)
    assert len(capture.frames) == len(track) and capture.views(2) == (0,)
    placed = capture.project(3, 0, capture.vertices(3))
    np.testing.assert_allclose(placed, track.vertices(slice(3, 4))[0], atol=0.01)
    assert np.linalg.norm(capture.view(0, 0)) == pytest.approx(1, abs=1e-5)
    # what a texel shows is the frame at the point that the mesh has there: nose tip, a point that all frames show
    head = track.model()
    nose = int(head.mean[:, 2].argmin())
    corner = (head.faces == nose).nonzero()[0]
    u, v = head.uvs[head.uv_faces[corner[0], corner[1]]]
    texel = capture.texture(3, 0, 64)[int(v * 64), int(u * 64)].astype(float)
    x, y = placed[nose, :2].round().astype(int)
    near = capture.image(3, 0)[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3)
    assert (texel >= near.min(0) - 6).all() and (texel <= near.max(0) + 6).all()


def test_hidden_texels_come_from_the_clips_texture(track: Track) -> None:
    capture = ClipCapture(track, 64)
    whole = capture.mean_texture(64)
    hidden = (capture.texture(0, 0, 64) == whole).all(2)
    assert 0.2 < hidden.mean() < 0.95


def test_eyes_come_from_the_frames(track: Track) -> None:
    """Not from the clip's median, which has no gaze; what lids hide of them still does."""
    capture = ClipCapture(track, 64)
    own = (capture.texture(0, 0, 64) != capture.mean_texture(64)).any(2)[texels_of(track.model(), EYES, 64).numpy()]
    assert 0.02 < own.mean() < 0.7


def test_model_of_a_clip(track: Track, folder: Path, tmp_path: Path) -> None:
    """All stages, with the track that is there already; then it tracks and is judged."""
    out = tmp_path / "dam.safetensors"
    shutil.copytree(folder, tmp_path / "dam_track")
    settings = DamTraining(DamConfig(texture=32, hidden=32), steps=3, batch=2)
    errors = own_model.model_of_clip(SMILE, out, settings, network_steps=3)
    assert np.isfinite(errors.texture) and network_beside(out).exists()
    track_clip(
        SMILE,
        tmp_path / "own",
        TrackConfig(duration=0.4, person=PersonConfig(samples=2), overlay=False, decoder=str(out)),
    )
    own = track_file.load(tmp_path / "own")
    assert own.decoder_hash == Dam.load(out).hash
    judged = likeness(own)
    assert judged.frames == len(split_frames(int(own.ok.sum()))[1])
    assert judged == likeness(own, own_texture(own, clip_texture(own)))
    assert judged.psnr != judged.median_psnr  # it is the model's texture that is judged
    with pytest.raises(ValueError, match="bundled head"):
        likeness(track)
    with pytest.raises(ValueError, match="holds the track of"):
        own_model.model_of_clip(tmp_path / "other.mp4", out, settings, network_steps=3)


def test_the_median_texture_is_as_like_as_itself(track: Track) -> None:
    median = clip_texture(track)
    judged = likeness(track, lambda row: median)
    assert judged.psnr == pytest.approx(judged.median_psnr) and judged.ssim == pytest.approx(judged.median_ssim)
    darker = likeness(track, lambda row: median * 0.5)
    assert darker.psnr < judged.psnr - 3


def test_ssim_of_itself_and_of_noise() -> None:
    picture = np.random.default_rng(0).random((40, 40))
    np.testing.assert_allclose(ssim(picture, picture), 1)
    assert abs(ssim(picture, np.random.default_rng(1).random((40, 40))).mean()) < 0.15
    # constants a, b without structure: (2ab + c1) / (a^2 + b^2 + c1)
    value = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    np.testing.assert_allclose(ssim(np.full((9, 9), 0.4), np.full((9, 9), 0.6)), value)
