"""What a performance asks of a photo's person: codes and poses of each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.tracker.export.reenact._photo import Photo
from selftrack.tracker.geometry.pose import angles_of, rotation
from selftrack.tracker.results.track_file import Track


@dataclass(frozen=True)
class MotionConfig:
    """How far a photo follows a performance."""

    turn: tuple[float, float] = (15.0, 28.0)
    """Degrees up to which the head turns as the performance does, and that it never exceeds."""
    shift: tuple[float, float] = (0.02, 0.05)
    """Metres likewise, of the head's place in the picture."""
    zoom: tuple[float, float] = (0.1, 0.25)
    """Logarithms of the head's size likewise."""
    keep_pose: bool = False
    """Whether the head stays as it is in the photo."""


@dataclass(frozen=True)
class Performance:
    """Codes (T,Z) and poses (T,6) in the photo, one a frame."""

    codes: Tensor
    poses: Tensor


def performance(
    track: Track, photo: Photo, config: MotionConfig | None = None, start: int | None = None
) -> Performance:
    """Bring a performance with ARKit's curves to a photo's person.

    Args:
        track: the performance; lost frames hold the last good one's values, as everywhere.
        photo: the person.
        config: how far it is followed.
        start: the row whose pose is that of the photo; None for the usual pose of the frames at rest.
    """
    config = config or MotionConfig()
    own, decoder = photo.track, photo.track.model()
    curves = np.stack([track.curves()[name] for name in ARKIT_NAMES], 1)
    codes = np.repeat(own.z, len(track), 0)
    codes[:, decoder.expression] = np.minimum(curves + photo.rest, 1)
    pose = torch.from_numpy(own.H_image[0]).double()
    if config.keep_pose:
        poses = pose.expand(len(track), 6)
    else:
        poses = _moved(torch.from_numpy(track.H_image).double(), _reference(track, curves, start), pose, config)
    return Performance(torch.from_numpy(codes).float(), poses.float())


def _reference(track: Track, curves: np.ndarray, start: int | None) -> Tensor:
    """The pose (6,) of the performance that is that of the photo."""
    if start is not None:
        return torch.from_numpy(track.H_image[start]).double()
    rows = track.ok if track.ok.any() else np.ones(len(track), bool)
    effort = np.square(curves).sum(1)
    rows = rows & (effort <= np.median(effort[rows]))
    return torch.from_numpy(np.median(track.H_image[rows], axis=0)).double()


def _moved(poses: Tensor, reference: Tensor, pose: Tensor, config: MotionConfig) -> Tensor:
    """The pose (6,) of a photo moved as far as poses (T,6) are from a reference (6,), within bounds.

    A photo that is tilted more than the reference is moved along axes that are tilted as much, so that a nod stays one.
    """
    from scipy.spatial.transform import Rotation

    tilt = rotation(torch.stack([pose.new_zeros(()), pose.new_zeros(()), pose[3] - reference[3]]))
    turn = rotation(poses[:, 1:4]) @ rotation(reference[1:4]).T
    vectors = torch.from_numpy(Rotation.from_matrix(turn.numpy()).as_rotvec()) @ tilt.T
    turn = torch.from_numpy(Rotation.from_rotvec(_bounded(vectors, *np.radians(config.turn)).numpy()).as_matrix())
    zoom = _bounded((poses[:, :1] - reference[:1]), *config.zoom)
    shift = _bounded((poses[:, 4:6] - reference[4:6]) / reference[0].exp(), *config.shift) * pose[0].exp()
    shift = shift @ tilt[:2, :2].T
    angles = angles_of(turn @ rotation(pose[1:4]))
    return torch.cat([pose[:1] + zoom, angles, pose[4:6] + shift], 1)


def _bounded(vectors: Tensor, free: float, most: float) -> Tensor:
    """Vectors (T,N) as they are up to a length, and longer ones of a length that nears a limit smoothly."""
    length = vectors.norm(dim=1, keepdim=True)
    room = most - free
    kept = torch.where(length > free, free + room * torch.tanh((length - free) / room), length)
    return vectors * kept / length.clamp(min=1e-12)
