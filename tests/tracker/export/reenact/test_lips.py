"""How far lips are apart, and where a photo has them."""

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import INNER_LIP_CONTOUR
from selftrack.decoders.mesh.rasterizer import rasterize
from selftrack.decoders.teeth import OF_MOUTH, TEETH, row_of
from selftrack.tracker.export.reenact._lips import Lips
from selftrack.tracker.geometry.pose import project

HEAD, LIPS = load_head(), Lips(load_head())
SIZE, SCALE = (400, 400), 7.5


def face(**curves: float) -> torch.Tensor:
    """The geometry (V,3) of the mean head with these curves."""
    z = torch.zeros(1, HEAD.size)
    for name, value in curves.items():
        z[0, HEAD.expression.start + HEAD.expression_names.index(name)] = value
    return HEAD.geometry(z)[0]


def placed(roll: float = 0.0) -> torch.Tensor:
    """A pose (6,) with the mouth in the picture's middle."""
    pose = torch.tensor([SCALE, 0, 0, float(np.radians(roll)), 0, 0])
    middle = HEAD.landmarks478.subset((13, 14))(project(HEAD.mean[None], pose[None]))[0].mean(0)
    pose[4:] = torch.tensor(SIZE) / 2 - middle[:2]
    return pose


def inside(geometry: torch.Tensor, pose: torch.Tensor) -> np.ndarray:
    """Which pixels (H,W) show the inside of the mouth."""
    index = rasterize(project(geometry[None], pose[None]), HEAD.faces, SIZE).face_index[0]
    mouth = torch.tensor([name in OF_MOUTH for name in HEAD.part_names])[HEAD.face_parts.long()]
    return ((index >= 0) & mouth[index.clamp(min=0)]).numpy()


@pytest.mark.parametrize("curves", [{"jawOpen": 0.2}, {"jawOpen": 0.6}, {"jawOpen": 0.3, "mouthUpperUpLeft": 0.5}])
def test_lips_are_as_far_apart_as_the_inside_of_the_mouth_is_seen(curves: dict[str, float]) -> None:
    middle = inside(face(**curves), placed())[:, SIZE[1] // 2].sum() / np.exp(SCALE)
    assert float(LIPS.apart(face(**curves)[None])) == pytest.approx(middle, abs=0.0015)


def test_shut_lips_overlap_a_little() -> None:
    assert -0.002 < LIPS.shut < 0.0002
    assert LIPS.apart(face(jawOpen=0.5, mouthClose=0.5)[None]) < 0.001


def test_mouths_are_alike_wherever_they_are_and_unlike_when_one_opens() -> None:
    grin = face(jawOpen=0.2, mouthUpperUpLeft=0.3, mouthUpperUpRight=0.3)
    assert LIPS.alike(grin, grin) == 1
    assert LIPS.alike(grin + torch.tensor([0.01, 0.02, 0]), grin) > 0.999
    assert LIPS.alike(HEAD.mean, grin) < 1e-3 and LIPS.alike(grin, HEAD.mean) < 1e-3
    assert LIPS.alike(face(jawOpen=0.6), grin) < 1e-3


def test_a_mouth_is_another_one_when_the_teeth_part_behind_lips_that_stay() -> None:
    """A clenched photo's teeth stayed over a jaw that was open, with a drawn row below them."""
    grin = face(jawOpen=0.3)
    parted = grin.clone()
    parted[row_of(HEAD, TEETH[1]), 1] += 0.006
    assert LIPS.alike(parted, grin) < 0.1


def test_a_mouth_becomes_another_one_at_once() -> None:
    """While it was half of both, and that for a sixth of the opening, two rows of teeth lay over one another."""
    grin = face(jawOpen=0.3)
    opening = np.linspace(0.3, 0.5, 400)
    alike = np.array([LIPS.alike(face(jawOpen=value), grin) for value in opening])
    assert (np.diff(alike) <= 1e-6).all() and alike[-1] < 0.1
    both = opening[(alike > 0.1) & (alike < 0.9)]
    assert both[-1] - both[0] < 0.08 * 0.3


@pytest.mark.parametrize("roll", [0.0, 90.0, -30.0])
def test_an_open_mouth_is_laid_onto_a_photos_lips(roll: float) -> None:
    """A mouth that is open wider and lies higher than the mesh has it: its edges go there."""
    pose, geometry = placed(roll), face(jawOpen=0.3)
    mask = inside(face(jawOpen=0.4) + torch.tensor([0.0, -0.001, 0]), pose).astype(np.uint8)
    (outline,), _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    across = torch.tensor([np.cos(np.radians(roll)), np.sin(np.radians(roll))]).numpy()
    outline = outline[:, 0].astype(float)
    points = np.full((478, 2), np.nan, np.float32)
    points[list(INNER_LIP_CONTOUR)] = _around(outline, across)
    off = LIPS.error(geometry, pose, 0.0, points, SIZE)
    before, after = (inside(shape, pose) for shape in (geometry, geometry + off))
    assert _overlap(before, mask > 0) < 0.8 < 0.9 < _overlap(after, mask > 0)
    far = HEAD.landmarks478.subset((1, 10, 33, 263))(off[None])[0]
    assert far.abs().max() < 1e-4


def test_shut_lips_stay_as_they_are() -> None:
    points = HEAD.landmarks478(project(HEAD.mean[None], placed()[None]))[0, :, :2].numpy()
    points[list(INNER_LIP_CONTOUR), 1] = points[78, 1]
    assert not LIPS.error(face(jawOpen=0.3), placed(), 0.0, points, SIZE).any()


def _around(outline: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Twenty points (20,2) of an outline (N,2): from the corner on the right along the lower edge to that on the left,
    and back along the upper one, evenly."""
    down = np.array([-across[1], across[0]])
    x, y = outline @ across, outline @ down
    at = np.linspace(x.min(), x.max(), 11)
    lower, upper = (np.array([pick(y[np.abs(x - one) < 2]) for one in at]) for pick in (np.max, np.min))
    flat = np.concatenate([np.stack([at, lower], 1), np.stack([at, upper], 1)[9:0:-1]])
    return flat @ np.stack([across, down])


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())
