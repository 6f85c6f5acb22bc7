"""How scenes show teeth, against how they are drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.teeth import TEETH, Teeth, row_of
from selftrack.tracker.export.scenes._teeth import layout, raise_lower, teeth_picture

HEAD = load_head()
ROWS = Teeth(HEAD)
GREY = cv2.imencode(".png", np.full((64, 64, 3), 200, np.uint8))[1].tobytes()


@pytest.mark.parametrize("name,half,most", [("teeth_upper", 7, 13), ("teeth_lower", 9, 25)])
def test_the_picture_shows_teeth_as_they_are_drawn(name: str, half: float, most: float) -> None:
    """At places within the triangles of a row's front, whose points and texels are interpolated alike."""
    data = teeth_picture(HEAD, GREY)
    assert data is not None
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].copy()
    uvs, uv_faces = layout(HEAD)
    own = HEAD.face_parts == HEAD.part_names.index(name)
    corners, texels = HEAD.mean[HEAD.faces[own]], uvs[uv_faces[own]]
    assert 0 <= texels.min() and texels.max() <= 1
    front = corners[..., 2].amax(1) < corners[..., 2].amin() + 0.006
    weights = torch.rand(front.sum(), 20, 3, generator=torch.Generator().manual_seed(0)) ** 2
    weights /= weights.sum(2, keepdim=True)
    points, places = ((weights @ values[front]).flatten(0, 1) for values in (corners, texels))
    shown = functional.grid_sample(
        torch.from_numpy(picture).permute(2, 0, 1)[None].float(), 2 * places[None, None] - 1, align_corners=False
    )[0, :, 0].T
    off = (shown - 200 * ROWS.light(name, points)).abs()
    assert off.median() < half and off.quantile(0.9) < most  # of 255; lower teeth lean, and their picture does not


def test_the_lower_row_meets_the_upper_one_of_a_grin_and_is_as_before_of_an_open_mouth() -> None:
    jaw = ARKIT_NAMES.index("jawOpen")
    neutral, offsets = raise_lower(HEAD, HEAD.mean, HEAD.blendshapes)
    gaps = [float(ROWS.apart((neutral + amount * offsets[jaw])[None])) for amount in (0.0, 0.15, 1.0)]
    before = [float(ROWS.apart((HEAD.mean + amount * HEAD.blendshapes[jaw])[None])) for amount in (0.15, 1.0)]
    assert before[0] > 0.0005 and gaps[1] < 0
    assert gaps[0] > -0.007, "teeth below the upper ones, and no gum"
    assert gaps[2] == pytest.approx(before[1], abs=1e-6)
    lower = row_of(HEAD, "teeth_lower")
    others = np.setdiff1d(np.arange(len(HEAD.mean)), lower.numpy())
    assert torch.equal(neutral[others], HEAD.mean[others]) and torch.equal(
        offsets[:, others], HEAD.blendshapes[:, others]
    )


@pytest.mark.parametrize("name", TEETH)
def test_a_row_unrolls_to_where_it_is(name: str) -> None:
    along, height = torch.tensor([-0.03, -0.01, 0.0, 0.02, 0.05]), torch.full((5,), 0.044)
    points = ROWS.unrolled(name, along, height)
    torch.testing.assert_close(ROWS.along(name, points), along, atol=1e-6, rtol=0)
    assert torch.equal(points[:, 1], height)
    assert torch.cdist(points[:, [0, 2]], HEAD.mean[row_of(HEAD, name)][:, [0, 2]]).amin(1).max() < 0.006
