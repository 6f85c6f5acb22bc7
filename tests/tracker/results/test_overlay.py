"""The mesh drawn over pictures: in one colour or in a texture. The written file is tested with the pipeline."""

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.overlay import MeshPainter, OverlayConfig

HEAD = load_head()
VERTICES = project(HEAD.mean[None], torch.tensor([[6.4, 0, 0, 0, 100, 100]]))[0].numpy()
GREEN = torch.tensor([0.1, 0.8, 0.2])[:, None, None].expand(3, 8, 8)


def at(point: int) -> tuple[int, int]:
    """Row and column of one of the detector's points."""
    points = HEAD.landmarks478(torch.from_numpy(VERTICES)[None])[0]
    return int(points[point, 1].round()), int(points[point, 0].round())


def test_textured_is_opaque_on_the_face_and_nothing_outside() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    drawn = MeshPainter(HEAD, OverlayConfig(mode="textured"), GREEN)(image, VERTICES)
    for point in (4, 50, 280, 151, 0, 199, 468):  # nose, cheeks, forehead, lip, chin, eye
        np.testing.assert_allclose(drawn[at(point)], [26, 204, 51], atol=1)
    changed = np.abs(drawn.astype(int) - image).sum(-1) > 0
    rows, columns = np.nonzero(changed)
    assert VERTICES[:, 1].min() < rows.min() and rows.max() < VERTICES[:, 1].max()
    assert VERTICES[:, 0].min() < columns.min() and columns.max() < VERTICES[:, 0].max()
    assert (image == 90).all()


def test_textured_fades_where_the_head_turns_away() -> None:
    turned = project(HEAD.mean[None], torch.tensor([[6.4, 0, 0.5, 0, 100, 100]]))[0].numpy()
    image = np.full((200, 200, 3), 90, np.uint8)
    drawn = MeshPainter(HEAD, OverlayConfig(mode="textured"), GREEN)(image, turned).astype(int)
    forehead = int(HEAD.landmarks478(torch.from_numpy(turned)[None])[0, 151, 1].round())
    covered = (drawn[forehead, :, 1] - 90) / 114
    assert (covered > 0.99).sum() > 20 and np.abs(np.diff(covered)).max() < 0.6


def test_shaded_is_the_default_and_needs_no_texture() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    drawn = MeshPainter(HEAD)(image, VERTICES)
    lit = drawn[at(151)].astype(float)
    assert lit.min() > 90 and np.ptp(lit) < 20


def test_the_teeth_of_a_smile_are_light() -> None:
    smile = torch.zeros(1, HEAD.size)
    for name in ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"):
        smile[0, HEAD.expression.start + HEAD.expression_names.index(name)] = 0.9
    grinning = project(HEAD.geometry(smile), torch.tensor([[6.4, 0, 0, 0, 100, 100]]))
    upper, lower = HEAD.landmarks478(grinning)[0, [13, 14], :2].round().int().tolist()
    drawn = MeshPainter(HEAD)(np.zeros((200, 200, 3), np.uint8), grinning[0].numpy())
    between = drawn[upper[1] + 1 : lower[1], upper[0]].astype(float)
    teeth = HEAD.mean_texture[:, 200, 190].numpy()  # a texel of theirs
    light = 0.3 + 0.7 / np.linalg.norm([0.3, 0.5, 1])  # of a surface that faces the camera
    expected = 255 * OverlayConfig().opacity * light * teeth
    assert len(between) > 3 and np.abs(between - expected).max(1).min() < 3


def test_wrong_settings_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match='unknown overlay mode "wire": choose one of shaded, textured'):
        OverlayConfig(mode="wire")
    with pytest.raises(ValueError, match=r"needs a texture \(3,T,T\)"):
        MeshPainter(HEAD, OverlayConfig(mode="textured"))
    with pytest.raises(ValueError, match=r"needs a texture \(3,T,T\)"):
        MeshPainter(HEAD, OverlayConfig(mode="textured"), GREEN[None])
