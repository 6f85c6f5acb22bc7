"""What a performance asks of a photo's person."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.export.reenact._motion import MotionConfig, performance
from selftrack.tracker.export.reenact._photo import Photo
from selftrack.tracker.geometry.pose import rotation
from selftrack.tracker.results.track_file import Track

TIMES = np.arange(5) / 25


def turns(track: Track, made: Photo, **settings: object) -> np.ndarray:
    """Rotation vectors (T,3), degrees, by which the photo's head turns."""
    acted = performance(track, made, start=0, **settings)
    own = rotation(torch.from_numpy(made.track.H_image[0, 1:4]).double())
    return Rotation.from_matrix(rotation(acted.poses[:, 1:4].double()) @ own.T).as_rotvec(degrees=True)


def test_the_face_acts_as_the_performance_on_top_of_what_it_has_at_rest(
    photo: Callable[..., Photo], make_track: Callable[..., Track]
) -> None:
    made = photo({"mouthPucker": 0.1, "mouthSmileLeft": 0.7, "eyeLookUpLeft": 0.3})
    track = make_track(TIMES, {"jawOpen": np.linspace(0, 1, 5), "eyeLookUpLeft": 0.1, "mouthPucker": 0.95})
    codes = performance(track, made).codes.numpy()
    start = made.track.model().expression.start
    curves = {name: codes[:, start + ARKIT_NAMES.index(name)] for name in ARKIT_NAMES}
    assert np.allclose(curves["jawOpen"], np.linspace(0, 1, 5))
    assert np.allclose(curves["eyeLookUpLeft"], 0.1)  # a gaze goes where the performer's goes
    assert np.allclose(curves["mouthPucker"], 1) and np.allclose(curves["mouthSmileLeft"], 0.2)


def test_the_head_turns_as_far_from_the_photo_as_the_performer_from_the_start(
    photo: Callable[..., Photo], make_track: Callable[..., Track]
) -> None:
    made = photo(ry=0.2, rz=0.1)
    track = make_track(TIMES, ry=np.radians([-5, 0, 5, 9, -15]), rz=0.1)
    assert np.allclose(np.linalg.norm(turns(track, made), axis=1), [0, 5, 10, 14, 10], atol=1e-3)


@pytest.mark.parametrize("tilt", [0.0, 30.0, 90.0, 180.0])
def test_a_nod_is_one_on_a_photo_that_lies_on_its_side(
    photo: Callable[..., Photo], make_track: Callable[..., Track], tilt: float
) -> None:
    """A turn about the performer's ear-to-ear axis is one about the photo's, and down is towards its chin."""
    made, track = photo(rz=np.radians(tilt)), make_track(TIMES, rx=np.radians([0, 3, 6, 9, 12]), ty=50 + 2.0 * TIMES)
    ears = np.array([np.cos(np.radians(tilt)), np.sin(np.radians(tilt)), 0])
    assert np.allclose(turns(track, made), np.outer([0, 3, 6, 9, 12], ears), atol=1e-3)
    moved = performance(track, made, start=0).poses[:, 4:6].numpy() - made.track.H_image[0, 4:6]
    assert np.allclose(moved, np.outer(2 * TIMES, [-ears[1], ears[0]]), atol=1e-3)


def test_the_track_stays_as_it_is(photo: Callable[..., Photo], make_track: Callable[..., Track]) -> None:
    """It did not: frames at rest were looked for in place, in the track's own `ok`."""
    made, track = photo(), make_track(TIMES, {"jawOpen": np.linspace(0, 1, 5)}, ry=np.radians([0, 2, 4, 6, 8]))
    first, second = (performance(track, made).poses for _ in range(2))
    assert track.ok.all() and torch.equal(first, second)


def test_a_turn_ends_smoothly_at_its_bound(photo: Callable[..., Photo], make_track: Callable[..., Track]) -> None:
    track = make_track(TIMES, ry=np.radians([0, 14, 16, 30, 80]))
    angles = np.linalg.norm(turns(track, photo()), axis=1)
    assert np.allclose(angles[:2], [0, 14], atol=1e-3)
    assert 15 < angles[2] < 16 < angles[3] < angles[4] <= 28


def test_the_place_moves_in_sizes_of_the_head(photo: Callable[..., Photo], make_track: Callable[..., Track]) -> None:
    made = photo(f=6.0)
    track = make_track(TIMES, f=7.0, tx=np.array([100.0, 110, 120, 100, 100]), ty=50.0)
    acted = performance(track, made, start=0)
    moved = acted.poses[:, 4:6].numpy() - made.track.H_image[0, 4:6]
    assert np.allclose(moved, np.array([[0, 0], [10, 0], [20, 0], [0, 0], [0, 0]]) / np.e, atol=1e-3)
    assert np.allclose(acted.poses[:, 0], 6.0)


def test_without_a_start_the_photo_is_as_the_performer_at_rest(
    photo: Callable[..., Photo], make_track: Callable[..., Track]
) -> None:
    made = photo()
    track = make_track(TIMES, {"jawOpen": np.array([1.0, 1, 0, 0, 0])}, ry=np.array([0.3, 0.3, 0.1, 0.1, 0.1]))
    poses = performance(track, made).poses.numpy()
    assert np.allclose(poses[2:], made.track.H_image[0], atol=1e-5)
    assert poses[0, 2] == pytest.approx(0.2, abs=1e-5)


def test_the_pose_can_be_kept(photo: Callable[..., Photo], make_track: Callable[..., Track]) -> None:
    made = photo(ry=0.2)
    poses = performance(make_track(TIMES, ry=0.4), made, MotionConfig(keep_pose=True), start=0).poses
    assert np.allclose(poses, made.track.H_image[0])
