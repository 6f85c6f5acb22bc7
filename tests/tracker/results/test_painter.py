"""The mesh drawn into pictures: in one colour, in a texture, or as a wireframe."""

import numpy as np
import pytest
import torch

from selftrack.decoders.base import Topology
from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.decoders.head.model import load_head
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig

HEAD = load_head()
VERTICES = project(HEAD.mean[None], torch.tensor([[6.4, 0, 0, 0, 100, 100]]))[0].numpy()
GREEN = torch.tensor([0.1, 0.8, 0.2])[:, None, None].expand(3, 8, 8)


def at(point: int) -> tuple[int, int]:
    """Row and column of one of the detector's points."""
    points = HEAD.landmarks478(torch.from_numpy(VERTICES)[None])[0]
    return int(points[point, 1].round()), int(points[point, 0].round())


def test_textured_is_opaque_on_the_face_and_nothing_outside() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    drawn = MeshPainter(HEAD, OverlayConfig(mode="texture"), GREEN)(image, VERTICES)
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
    drawn = MeshPainter(HEAD, OverlayConfig(mode="texture"), GREEN)(image, turned).astype(int)
    forehead = int(HEAD.landmarks478(torch.from_numpy(turned)[None])[0, 151, 1].round())
    covered = (drawn[forehead, :, 1] - 90) / 114
    assert (covered > 0.99).sum() > 20 and np.abs(np.diff(covered)).max() < 0.6


def test_shaded_is_the_default_and_needs_no_texture() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    drawn = MeshPainter(HEAD)(image, VERTICES)
    lit = drawn[at(151)].astype(float)
    assert lit.min() > 90 and np.ptp(lit) < 20


def test_teeth_of_a_tilted_head_are_drawn_alike() -> None:
    """A head that lies on its side is the picture of one that is upright, turned by 90 degrees."""
    smile = torch.zeros(1, HEAD.size)
    for name in ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"):
        smile[0, HEAD.expression.start + HEAD.expression_names.index(name)] = 0.9
    upright = project(HEAD.geometry(smile), torch.tensor([[6.8, 0, 0, 0, 120, 120]]))[0].numpy()
    lying = np.stack([239 - upright[:, 1], upright[:, 0], upright[:, 2]], 1)
    painter = MeshPainter(HEAD, OverlayConfig(mode="texture"), HEAD.mean_texture)
    one, other = (painter(np.zeros((240, 240, 3), np.uint8), mesh).astype(int) for mesh in (upright, lying))
    lips = np.rint(upright[HEAD.landmarks478.triangles[[13, 14]].flatten(), :2]).astype(int)
    mouth = (slice(lips[:, 1].min(), lips[:, 1].max()), slice(95, 145))
    assert np.abs(one - np.rot90(other, 1))[mouth].max() < 3


def test_the_teeth_of_a_smile_are_light() -> None:
    smile = torch.zeros(1, HEAD.size)
    for name in ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"):
        smile[0, HEAD.expression.start + HEAD.expression_names.index(name)] = 0.9
    grinning = project(HEAD.geometry(smile), torch.tensor([[6.4, 0, 0, 0, 100, 100]]))
    upper, lower = HEAD.landmarks478(grinning)[0, [13, 14], :2].round().int().tolist()
    drawn = MeshPainter(HEAD)(np.zeros((200, 200, 3), np.uint8), grinning[0].numpy())
    between = drawn[upper[1] + 1 : lower[1], upper[0] + 2].astype(float)  # beside where two teeth meet
    teeth = HEAD.mean_texture[:, 200, 190].numpy()  # a texel of theirs
    light = 0.3 + 0.7 / np.linalg.norm([0.3, 0.5, 1])  # of a surface that faces the camera
    expected = 255 * OverlayConfig().opacity * light * teeth
    assert len(between) > 3 and np.abs(between - expected).max(1).min() < 4


def between_the_lips(curve: str, value: float) -> np.ndarray:
    """Grey levels (n,) of what a white mesh shows between the outer edges of its lips, the skin left out."""
    z = torch.zeros(1, HEAD.size)
    z[0, HEAD.expression.start + HEAD.expression_names.index(curve)] = value
    mesh = project(HEAD.geometry(z), torch.tensor([[8.0, 0, 0, 0, 200, 150]]))
    painter = MeshPainter(HEAD, OverlayConfig(colour=(1.0, 1.0, 1.0), ambient=1.0, opacity=1.0))
    drawn = painter(np.zeros((400, 400, 3), np.uint8), mesh[0].numpy())
    upper, lower = HEAD.landmarks478(mesh)[0, [0, 17], :2].round().int().tolist()
    mouth = drawn[upper[1] : lower[1], upper[0] - 20 : upper[0] + 20].astype(float).mean(2)
    return mouth[mouth < 250]


def test_no_teeth_show_between_shut_lips() -> None:
    """A slit that the mesh leaves there is dark, as between real lips; what shows in an open mouth is not."""
    teeth = 255 * HEAD.mean_texture[:, 200, 190].mean().item()
    slit, wide = between_the_lips("jawOpen", 0.05), between_the_lips("jawOpen", 0.5)
    assert slit.size > 20 and slit.min() < 60
    assert np.abs(wide - teeth).min() < 5


def test_the_depth_of_an_open_mouth_is_dark() -> None:
    """Its front teeth are as light as they are, and the throat behind the tongue is nearly black."""
    teeth = 255 * HEAD.mean_texture[:, 200, 190].mean().item()
    wide = between_the_lips("jawOpen", 1.0)
    assert np.abs(wide - teeth).min() < 5 and np.quantile(wide, 0.05) < 25


@pytest.mark.parametrize("yaw", [-0.4, 0.0, 0.4])
def test_an_open_mouth_is_no_hole(yaw: float) -> None:
    z = torch.zeros(1, HEAD.size)
    z[0, HEAD.expression.start + HEAD.expression_names.index("jawOpen")] = 1.0
    mesh = project(HEAD.geometry(z), torch.tensor([[7.4, 0, yaw, 0, 150, 150]]))
    alpha = MeshPainter(HEAD).layer((300, 300), mesh[0].numpy())[..., 3]
    left, top, right, bottom = (HEAD.landmarks478(mesh)[0, [61, 0, 291, 17], axis] for axis in (0, 1, 0, 1))
    mouth = alpha[int(top[1]) : int(bottom[3]), int(left[0]) : int(right[2])]
    assert mouth.size > 1000 and mouth.min() == pytest.approx(OverlayConfig().opacity, abs=1e-3)


def test_edges_are_as_opaque_as_the_mesh_covers_them() -> None:
    """The mesh's area in pixels is the sum of what it covers, and only pixels on the outline are covered in part."""
    painter, square = cloth_painter(opacity=1.0)
    turn = np.radians(20)
    turned = square @ np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    vertices = (40 * turned + [50.3, 49.6, 0]).astype(np.float32)
    alpha = painter.layer((100, 100), vertices)[..., 3]
    assert alpha.sum() == pytest.approx(80**2, rel=2e-3)
    rows, columns = np.nonzero((alpha > 0) & (alpha < 1))
    outline = np.abs(np.abs((np.stack([columns, rows], 1) - [50.3, 49.6]) @ axes(turn)).max(1) - 40)
    assert len(outline) > 50 and outline.max() < 1.1
    assert len(np.unique(alpha)) > 3


def axes(turn: float) -> np.ndarray:
    """The directions, in columns, of the sides of a square turned by an angle."""
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def test_the_layer_over_a_picture_is_the_painted_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    for config in (OverlayConfig(mode="mesh"), OverlayConfig(mode="wire"), OverlayConfig(opacity=0.3)):
        painter = MeshPainter(HEAD, config)
        layer = painter.layer((200, 200), VERTICES)
        assert layer.shape == (200, 200, 4) and 0 <= layer.min() and layer.max() <= 1
        over = picture * (1 - layer[..., 3:]) + 255 * layer[..., :3] * layer[..., 3:]
        np.testing.assert_allclose(over, painter(picture, VERTICES), atol=0.51)


def test_a_mesh_beside_the_picture_leaves_it() -> None:
    picture = np.full((50, 50, 3), 90, np.uint8)
    beside = VERTICES + np.array([500, 0, 0], np.float32)
    assert (MeshPainter(HEAD)(picture, beside) == 90).all() and not MeshPainter(HEAD).layer((50, 50), beside).any()


def test_a_wireframe_is_the_edges_of_quads() -> None:
    """Of a square of two triangles its sides and not its diagonal."""
    painter, square = cloth_painter("wire")
    alpha = painter.layer((100, 100), (40 * square + [50, 50, 0]).astype(np.float32))[..., 3]
    sides = np.zeros((100, 100), bool)
    sides[8:93, 8:93] = True
    sides[13:88, 13:88] = False
    assert (alpha[~sides] == 0).all()
    lines = alpha.sum() / (4 * 80)  # the inner half of a line a pixel wide, or some more where it is feathered
    assert 0.3 < lines < 1.6
    middle = alpha[50]
    assert middle[10:12].max() > 0.3 and (middle[20:80] == 0).all()


def test_a_wireframe_hides_what_lies_behind() -> None:
    """It covers no more than the mesh does, and most of a cheek is bare: the back of the head does not show through."""
    large = project(HEAD.mean[None], torch.tensor([[8.4, 0, 0, 0, 400, 400]]))[0].numpy()
    wire, mesh = (MeshPainter(HEAD, OverlayConfig(mode=m)).layer((800, 800), large)[..., 3] for m in ("wire", "mesh"))
    assert (wire <= mesh + 1e-3).all()
    x, y = HEAD.landmarks478(torch.from_numpy(large)[None])[0, 50, :2].round().int().tolist()
    cheek = wire[y - 30 : y + 30, x - 30 : x + 30]
    assert (cheek == 0).mean() > 0.5 and cheek.max() > 0.3


def cloth_painter(mode: str = "mesh", opacity: float = 1.0) -> tuple[MeshPainter, np.ndarray]:
    """The painter of a white square of two triangles, and its corners (4,3) in -1..1."""
    square = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [-1, 1, 0], [1, 1, 0]])
    faces, part = torch.tensor([[0, 2, 1], [1, 2, 3]]), torch.zeros(2, dtype=torch.long)
    yes = torch.ones(2, dtype=torch.bool)
    uvs, texels = (square[:, :2] + 1) / 2, torch.ones(64, 64, dtype=torch.bool)
    topology = Topology(faces, uvs, faces, part, ("cloth",), yes, texels, None)
    cloth = Dam(topology, square, torch.full((3, 32, 32), 0.5), DamConfig(32, hidden=8))
    config = OverlayConfig(mode=mode, colour=(1.0, 1.0, 1.0), ambient=1.0, opacity=opacity)
    return MeshPainter(cloth, config), square.numpy().astype(float)


def test_modes_of_earlier_settings_are_known() -> None:
    assert OverlayConfig(mode="shaded").mode == "split" and OverlayConfig(mode="textured").mode == "texture"


def test_wrong_settings_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match='unknown overlay mode "lines": choose one of split, mesh, wire, points, tex'):
        OverlayConfig(mode="lines")
    with pytest.raises(ValueError, match="max_height must be 2 pixels or more; got 0"):
        OverlayConfig(max_height=0)
    with pytest.raises(ValueError, match=r"needs a texture \(3,T,T\)"):
        MeshPainter(HEAD, OverlayConfig(mode="texture"))
    with pytest.raises(ValueError, match=r"needs a texture \(3,T,T\)"):
        MeshPainter(HEAD, OverlayConfig(mode="texture"), GREEN[None])
