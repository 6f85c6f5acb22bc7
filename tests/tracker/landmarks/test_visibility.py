"""What of a face is seen: a man behind shapes that are drawn here, and the geometry of reading a map."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selftrack.decoders.landmarks import BROWS, EYE_CONTOURS, IBUG_68, LIPS
from selftrack.tracker.landmarks.detectors import AttentionMesh
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.landmarks.visibility import CHANNELS, SIDE, VisibilityHead, visible_at
from selftrack.tracker.results.regions import shares

MESH = AttentionMesh(torch.device("cpu"))
FACE = np.ascontiguousarray(cv2.imread(str(Path(__file__).parents[2] / "data" / "landmarks" / "crop_0.png"))[..., ::-1])


def visible(picture: np.ndarray) -> np.ndarray:
    """(478,) of the one face of a picture."""
    (face,) = MESH.faces(picture, DetectConfig())
    assert face.visible is not None and face.visible.shape == (478,)
    return face.visible


def covered(rows: tuple[int, ...], colour: tuple[int, int, int]) -> np.ndarray:
    """The picture with a disc in one colour before some landmarks, 1.4 times as wide as they are."""
    (face,) = MESH.faces(FACE, DetectConfig())
    points = face.points[list(rows)]
    radius = round(0.7 * float(np.ptp(points[:, 0])))
    return cv2.circle(FACE.copy(), np.round(points.mean(0)).astype(int).tolist(), radius, colour, -1, cv2.LINE_AA)


def test_all_of_a_bare_face_is_seen() -> None:
    assert shares(visible(FACE)).min() > 0.9


@pytest.mark.parametrize(
    "rows,colour,hidden,seen",
    [
        (LIPS, (90, 160, 210), LIPS, (*EYE_CONTOURS[0], *BROWS[0])),
        (LIPS, (170, 120, 95), LIPS, EYE_CONTOURS[1]),  # of the colour of a hand
        (EYE_CONTOURS[0], (15, 15, 20), EYE_CONTOURS[0], (*LIPS, *EYE_CONTOURS[1])),
    ],
)
def test_what_is_covered_is_not_seen(
    rows: tuple[int, ...], colour: tuple[int, int, int], hidden: tuple[int, ...], seen: tuple[int, ...]
) -> None:
    told = visible(covered(rows, colour))
    assert told[list(hidden)].mean() < 0.4 < 0.85 < told[list(seen)].mean()


def test_beyond_the_frame_nothing_is_seen() -> None:
    (whole,) = MESH.faces(FACE, DetectConfig())
    middle = int(whole.points[168, 0])
    told = shares(visible(np.ascontiguousarray(FACE[:, :middle])))
    assert told[1] > 0.8 and told[0] < 0.3  # the subject's right eye is on the left


def test_a_map_is_read_at_the_points() -> None:
    """Bilinear between the centres of its places, which are 8 pixels of 192 wide."""
    y, x = np.mgrid[:SIDE, :SIDE]
    hidden = (0.01 * x + 0.02 * y).astype(np.float32)
    points = np.array([[3.5, 3.5], [11.5, 3.5], [7.5, 19.5], [187.5, 187.5], [500, -40]])
    expected = [0, 0.01, 0.005 + 0.04, 0.23 + 0.46, 0.23]
    np.testing.assert_allclose(1 - visible_at(hidden, points, 192), expected, atol=1e-5)


def test_the_head_standardises_its_features() -> None:
    torch.manual_seed(0)
    head, maps = VisibilityHead(), [torch.randn(2, c, s, s) for c, s in zip(CHANNELS, (24, 12, 6), strict=True)]
    plain = head(maps)
    assert plain.shape == (2, SIDE, SIDE)
    head.mean, head.spread = torch.full((320,), 3.0), torch.full((320,), 2.0)
    torch.testing.assert_close(head([2 * x + 3 for x in maps]), plain, atol=1e-4, rtol=1e-4)


def test_of_68_points_the_same_are_seen() -> None:
    told = visible(covered(LIPS, (90, 160, 210)))
    dense, sparse = shares(told), shares(told[list(IBUG_68)])
    assert np.abs(dense - sparse).max() < 0.25 and sparse[4] < 0.4 < sparse[0]
    assert (shares(None) == 1).all()
