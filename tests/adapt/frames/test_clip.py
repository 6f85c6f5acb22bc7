"""What adaptation keeps of a clip: pixels, shots, chosen rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.adapt.frames.clip import ClipConfig, Pixels, _Shots, chosen_rows, read_clip
from selftrack.adapt.learning.model import Adapted
from selftrack.tracker.clips.config import TrackConfig, load_model, open_clip
from selftrack.tracker.geometry.crop import warp
from selftrack.tracker.network.i2znet import I2ZNet, to_tensor
from selftrack.tracker.refinement.subject import find_subject
from selftrack.tracker.sources.opening import open_source

NO_BLUR = ClipConfig(blur=0.0, max_iod=1e9, margin=0.2)


def ramp(height: int, width: int, gx: float, gy: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.repeat((20 + gx * x + gy * y)[..., None], 3, 2).round().astype(np.uint8)


def pixels(*frames: np.ndarray, config: ClipConfig = NO_BLUR, iod: float = 50.0) -> Pixels:
    held = Pixels()
    for frame in frames:
        held.add(frame, np.array([[40.0, 30.0], [90.0, 80.0]]), iod, config)
    held.close()
    return held


def test_samples_are_bilinear_in_image_pixels() -> None:
    """On ramps of slopes 1 and 2 per pixel: the value and the gradient are those of the ramp, frame by frame."""
    held = pixels(ramp(100, 120, 1, 0), ramp(100, 120, 0, 2))
    points = torch.tensor([[[50.25, 60.5], [70.5, 40.0]]]).repeat(2, 1, 1).requires_grad_()
    values, inside = held.sample(torch.tensor([0, 1]), points)
    assert inside.all()
    expected = torch.tensor([[20 + 50.25, 20 + 70.5], [20 + 121.0, 20 + 80.0]])
    assert torch.allclose(values * 255, expected[:, None].expand(2, 3, 2), atol=0.6)  # the least blur, on whole numbers
    values.sum().backward()
    slopes = torch.tensor([[1.0, 0.0], [0.0, 2.0]])[:, None].expand(2, 2, 2)
    assert torch.allclose(points.grad * 255 / 3, slopes, atol=0.05)


def test_outside_is_said_and_holds_the_border() -> None:
    held = pixels(ramp(100, 120, 1, 0))
    values, inside = held.sample(torch.tensor([0]), torch.tensor([[[-50.0, 50.0], [60.0, 50.0], [500.0, 50.0]]]))
    assert inside.tolist() == [[False, True, False]]
    assert values[0, 0, 0] < values[0, 0, 1] < values[0, 0, 2]


def test_large_faces_are_shrunk_in_place() -> None:
    """Half the resolution shows the same ramp at the same image coordinates."""
    held = pixels(ramp(100, 120, 1, 0), config=ClipConfig(blur=0.0, max_iod=25.0, margin=0.2))
    assert len(held.values) < 0.3 * len(pixels(ramp(100, 120, 1, 0)).values)
    values, _ = held.sample(torch.tensor([0]), torch.tensor([[[60.0, 50.0]]]))
    assert values[0, 0, 0].item() * 255 == pytest.approx(80, abs=0.6)


@pytest.mark.parametrize("rate", [30, 60])
@pytest.mark.parametrize(("count", "most"), [(10, 600), (600, 600), (601, 600), (5000, 600), (90, 80)])
def test_long_clips_are_read_in_stretches(count: int, most: int, rate: int) -> None:
    stretch = 80 * rate // 30
    rows = chosen_rows(count, most, 1 / rate)
    assert len(rows) <= max(most, stretch) and len(set(rows)) == len(rows) and rows.max() < count
    if count <= max(most, stretch):
        assert np.array_equal(rows, np.arange(count))
    else:
        stretches = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        assert [len(part) for part in stretches] == [stretch] * (most // stretch)
        starts = [part[0] for part in stretches]
        assert starts[0] == 0 and starts[-1] == (count - stretch if len(starts) > 1 else 0)
        assert len(starts) < 3 or np.ptp(np.diff(starts)) <= 1  # spread evenly


def test_shots_end_at_cuts_gaps_and_lost_faces() -> None:
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    shots = _Shots(cut=30.0)
    for row, (scene, found) in enumerate([(0, True), (0, True), (1, True), (1, False), (1, True), (1, True)]):
        shots.add(scenes[scene], row if row < 5 else 9, found)
    assert shots.numbers().tolist() == [0, 0, 1, 3, 4]


def test_brighter_is_not_another_shot() -> None:
    """A step of the exposure is none in the very frames around it; another scene is one at once."""
    shots = _Shots(cut=30.0)
    scene, other = np.random.default_rng(0).integers(0, 150, (2, 32, 32, 3), dtype=np.uint8)
    for row, image in enumerate((scene, scene, scene, scene + 60, scene + 60, other + 60)):
        shots.add(image, row, True)
    assert shots.numbers().tolist() == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("maps", [False, True])
def test_reading_the_bundled_clip(smile: Path, with_streams: I2ZNet, maps: bool) -> None:
    model, track = replace(load_model(TrackConfig()), network=with_streams), TrackConfig(duration=0.4)
    with open_clip(smile, track) as source:
        clip = read_clip(source, model, track, ClipConfig(maps=maps))
    assert len(clip) == clip.total == 12 and clip.size == (640, 360) and (clip.shot == 0).all()
    at = clip.crop_points
    assert (at > 0).all() and (at < 255).all()
    assert [level.shape[0] for level in clip.levels] == [12, 12, 12]
    with open_source(smile, duration=0.4) as reader, torch.no_grad():
        crops = np.stack([warp(f.image, t.numpy()) for f, t in zip(reader, clip.transform, strict=True)])
        images = to_tensor(torch.from_numpy(crops))
        subject = find_subject(model.network, None, model.network.features(images, at))
        whole = model.network(images, at, subject.network)
        kept = Adapted(model.network, subject)(clip, torch.arange(12))
    # what is kept of the frames says what the whole network says of their pictures
    close = 5e-3 if maps else 1e-3  # maps are kept in half precision
    assert torch.allclose(kept.z, whole.z, atol=close) and torch.allclose(kept.pose, whole.pose, atol=10 * close)


def test_a_clip_without_a_face_is_refused(make_clip, tmp_path: Path) -> None:  # noqa: ANN001
    clip = make_clip("blank.mp4", [np.zeros((96, 96, 3), np.uint8)] * 4)
    words = "blank.mp4: no face was found in any of 4 frames; nothing was adapted to; take footage, or seconds of it, "
    with pytest.raises(ValueError, match=words):
        read_clip(open_source(clip), load_model(TrackConfig()), TrackConfig(), ClipConfig())
