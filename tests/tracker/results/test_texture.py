"""The clip's texture: that of a head rendered in known colours comes back; holes take its colours."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from selftrack.decoders.head.model import Head, load_head
from selftrack.decoders.landmarks import IBUG_68, INNER_LIP_CONTOUR
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize
from selftrack.decoders.mesh.unwrap import scatter, surface, texel_map
from selftrack.decoders.teeth import TEETH
from selftrack.io import file_hash
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.results.overlay import write_overlay
from selftrack.tracker.results.painter import OverlayConfig
from selftrack.tracker.results.texture import (
    EYES,
    SHADE,
    SKIN,
    TextureConfig,
    blend,
    carried_on,
    clip_texture,
    colour_match,
    confident_median,
    evenly,
    match,
    mouth_opening,
    nearer,
    scalp_texels,
    texels_of,
    tooth_colour,
    write_texture,
)
from selftrack.tracker.sources.opening import open_source

HEAD = load_head()
SIDE = 200  # pixels
LIGHT = torch.tensor([0.9, 0.7, 0.6])[:, None, None]  # what the scene makes of the mean texture


class Turning:
    """Stands in for a track: the mean head turns from side to side."""

    def __init__(self, frames: int) -> None:
        yaw = torch.linspace(-0.5, 0.5, frames)
        self.poses = torch.tensor([6.4, 0, 0, 0, SIDE / 2, SIDE / 2]).repeat(frames, 1)
        self.poses[:, 2] = yaw
        self.H_image = self.poses.numpy()
        self.ok, self.clip, self.times = np.ones(frames, bool), "missing.mkv", np.arange(frames) / 25
        self.visible, self.confidence = np.ones((frames, 6)), np.ones(frames)
        self.landmarks = HEAD.landmarks478(torch.from_numpy(self.vertices(slice(None))))[..., :2].numpy()

    def __len__(self) -> int:
        return len(self.poses)

    def model(self) -> Head:
        """The head."""
        return HEAD

    def settings(self) -> dict:
        """The whole clip."""
        return {"start": 0.0, "duration": None}

    def vertices(self, rows: slice) -> np.ndarray:
        """Vertices (T,V,3) in the frame."""
        poses = self.poses[rows]
        return project(HEAD.mean.expand(len(poses), -1, -1), poses).numpy()


def render(vertices: np.ndarray, texture: Tensor) -> np.ndarray:
    """Frame (SIDE,SIDE,3) uint8 of the head in a texture (3,T,T) before grey."""
    fragments = rasterize(torch.from_numpy(vertices)[None], HEAD.faces, (SIDE, SIDE))
    uvs = interpolate(HEAD.uvs, HEAD.uv_faces, fragments)
    colour = functional.grid_sample(texture[None], 2 * uvs - 1, align_corners=False)[0]
    colour = torch.where(fragments.face_index >= 0, colour, 0.5)
    return (255 * colour).round().byte().permute(1, 2, 0).numpy()


@pytest.fixture
def turning(make_clip: Callable[..., Path]) -> Turning:
    """Nine frames of the head in the mean texture under `LIGHT`; two of them are black."""
    track = Turning(9)
    frames = [render(v, LIGHT * HEAD.mean_texture) for v in track.vertices(slice(None))]
    for hidden in (2, 5):
        frames[hidden] = np.zeros_like(frames[hidden])
    track.clip = str(make_clip("turning.mkv", frames, codec="ffv1", pix_fmt="bgr0"))
    track.clip_hash = file_hash(Path(track.clip))
    return track


def test_the_texture_of_a_rendered_clip_comes_back(turning: Turning) -> None:
    texture = clip_texture(turning, TextureConfig(size=256))
    assert texture.shape == (3, 256, 256)
    skin, eyes = (texels_of(HEAD, parts, 256) for parts in (SKIN, EYES))
    error = (texture - LIGHT * HEAD.mean_texture).abs().amax(0)
    assert error[skin].median() < 0.02 and error[skin].quantile(0.98) < 0.08
    unseen = skin.clone()
    unseen[20:] = False  # the crown, which no frame shows
    assert error[unseen].max() < 0.05
    grey = (LIGHT * HEAD.mean_texture)[:, skin].mean() / HEAD.mean_texture[:, skin].mean()
    eyes[eyes.any(1).nonzero().min() + 8 :] = False  # the white behind the upper lid
    shaded = dict(SHADE)[EYES] * grey * HEAD.mean_texture
    torch.testing.assert_close(texture[:, eyes], shaded[:, eyes], atol=0.03, rtol=0)


def test_without_a_face_it_is_the_mean_texture(turning: Turning) -> None:
    turning.ok[:] = False
    torch.testing.assert_close(clip_texture(turning, TextureConfig(size=256)), HEAD.mean_texture)


def test_textured_overlay_looks_like_the_clip(turning: Turning, tmp_path: Path) -> None:
    write_overlay(turning, tmp_path, OverlayConfig(mode="texture"))
    x, y = np.rint(turning.vertices(slice(None))[:, HEAD.landmarks478.triangles[151, 0], :2]).astype(int).T
    with open_source(tmp_path / "overlay.mp4") as overlay, open_source(turning.clip) as clip:
        images, frames = ([frame.image.astype(int) for frame in source] for source in (overlay, clip))
    assert len(images) == 9 and images[0].shape == (SIDE, SIDE, 3)
    for i, image in enumerate(images):
        drawn, frame = image[y[i], x[i]], frames[i][y[i], x[i]]
        if i in (2, 5):
            assert frame.max() < 10 and drawn.min() > 60  # the texture knows what these frames hide
        else:
            assert np.abs(drawn - frame).max() < 16


def test_evenly_takes_both_ends_and_no_row_twice() -> None:
    rows = np.array([3, 4, 7, 8, 9, 20])
    np.testing.assert_array_equal(evenly(rows, 3), [3, 7, 20])
    np.testing.assert_array_equal(evenly(rows, 48), rows)
    assert len(evenly(np.arange(1000), 48)) == 48


def test_confident_median_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (7, 3, 20), np.uint8)
    weights = np.where(rng.random((7, 20)) < 0.4, 0, rng.random((7, 20))).astype(np.float16)
    weights[:, 0] = 0
    median, best = confident_median(torch.from_numpy(colours), torch.from_numpy(weights), 0.8)
    assert not median[:, 0].any() and best[0] == 0
    for n in range(1, 20):
        chosen = [i for i in range(7) if 0 < weights[i, n] >= np.float16(0.8) * weights[:, n].max()]
        for channel in range(3):
            values = sorted(colours[chosen, channel, n].tolist())
            assert median[channel, n] * 255 == pytest.approx(values[(len(values) - 1) // 2], abs=1e-3)


def test_colour_match_finds_an_exposure_exactly_and_a_bias_where_there_is_contrast() -> None:
    source = torch.rand(3, 500, generator=torch.Generator().manual_seed(0))
    exposure = torch.tensor([[0.5], [0.8], [1.3]])
    gain, bias = colour_match(source, exposure * source)
    torch.testing.assert_close(gain, exposure)
    torch.testing.assert_close(bias, torch.zeros(3, 1), atol=1e-5, rtol=0)
    wide = 10 * source
    gain, bias = colour_match(wide, 0.5 * wide + 0.2)
    torch.testing.assert_close(gain, torch.full((3, 1), 0.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(bias, torch.full((3, 1), 0.2), atol=5e-3, rtol=0)
    flat = torch.full((3, 500), 0.4)
    torch.testing.assert_close(colour_match(flat, flat / 2)[0], torch.full((3, 1), 0.5))


def test_match_keeps_the_eyes_free_of_the_skins_tone() -> None:
    generic = torch.full((3, 4, 4), 0.5)
    observed = generic * LIGHT
    skin = torch.zeros(4, 4, dtype=torch.bool)
    skin[:2] = True
    known = skin.clone()
    known[0] = False
    matched = match(generic, observed, known, skin)
    torch.testing.assert_close(matched[:, skin], observed[:, skin])
    torch.testing.assert_close(matched[:, ~skin], LIGHT.mean() * generic[:, ~skin])
    assert match(generic, observed, skin & False, skin) is generic


def test_blend_fades_towards_holes_and_not_towards_what_cannot_be_seen() -> None:
    seen = torch.zeros(20, 20, dtype=torch.bool)
    seen[:, 8:] = True  # a hole on the left
    observable = torch.ones(20, 20, dtype=torch.bool)
    observable[:, 16:] = False
    seen[:, 16:] = False
    mixed = blend(torch.ones(3, 20, 20), seen, observable, torch.zeros(3, 20, 20), seam=4)[0, 10]
    torch.testing.assert_close(mixed[8:12], torch.tensor([0.25, 0.5, 0.75, 1]), atol=0.02, rtol=0)
    assert not mixed[:8].any() and (mixed[12:16] == 1).all() and not mixed[16:].any()
    whole = blend(torch.ones(3, 20, 20), ~observable, ~observable, torch.zeros(3, 20, 20), seam=4)
    torch.testing.assert_close(whole[0], (~observable).float())


def test_hair_goes_on_over_the_scalp_and_fades_out() -> None:
    """0.4 darker than skin on the left, but a light background at its border; below, there is no scalp."""
    skin, known, scalp = torch.full((3, 64, 64), 0.6), torch.zeros(64, 64, dtype=torch.bool), torch.zeros(64, 64)
    known[:, :20], scalp[:32] = True, 1
    observed = torch.full((3, 64, 64), 0.2)
    observed[:, :, 17:20] = 1
    carried = carried_on(skin, observed, known, scalp, reach=16, seam=4)
    away = torch.arange(16, 64) - 15  # from the last column that counts
    torch.testing.assert_close(carried[0, 16, 16:], 0.6 - 0.4 * torch.exp(-((away / 16) ** 2)), atol=0.01, rtol=0)
    assert (carried[:, 32:] == 0.6).all()
    assert carried_on(skin, observed, known & False, scalp, reach=16, seam=4) is skin


def test_teeth_that_no_frame_shows_are_ivory_in_the_light_on_the_skin(turning: Turning) -> None:
    texture, light = clip_texture(turning, TextureConfig(size=256)), LIGHT[:, 0, 0]
    teeth, skin = (texture[:, texels_of(HEAD, parts, 256)].mean(1) for parts in (TEETH, SKIN))
    assert 0.8 < float(teeth.mean() / skin.mean()) < 1.8
    white, own = teeth / light, skin / light
    assert float(white.min() / white.max()) > 0.7 > float(own.min() / own.max())
    assert bool((teeth.diff() < 0).all()) and bool((light.diff() < 0).all())  # in a warm light they are warm


def test_teeth_take_their_colour_from_between_the_lips_and_lips_take_none(
    turning: Turning, make_clip: Callable[..., Path]
) -> None:
    """The lips in the pictures are farther apart than the mesh's: what is between them is not painted on these."""
    white = np.array([225, 220, 200], np.uint8)
    frames = [np.ascontiguousarray(render(v, LIGHT * HEAD.mean_texture)) for v in turning.vertices(slice(None))]
    contour = list(INNER_LIP_CONTOUR)
    for frame, points in zip(frames, turning.landmarks, strict=True):
        middle = points[contour].mean(0)
        around = np.linspace(0, 2 * np.pi, len(contour), endpoint=False)
        points[contour] = middle + np.stack([-13 * np.cos(around), 5 * np.sin(around)], 1)
        cv2.fillPoly(frame, [points[contour].round().astype(np.int32)], white.tolist())
    turning.clip = str(make_clip("grin.mkv", frames, codec="ffv1", pix_fmt="bgr0"))
    turning.clip_hash = file_hash(Path(turning.clip))
    texture = clip_texture(turning, TextureConfig(size=256))
    teeth = texels_of(HEAD, TEETH, 256)
    assert (255 * texture[:, teeth] - torch.from_numpy(white).float()[:, None]).abs().max() < 2
    lips = HEAD.landmarks478(HEAD.mean[None])[0, [13, 14]]
    skin = texel_map(HEAD, 256, texels_of(HEAD, ("head",), 256))
    near = torch.cdist(surface(HEAD.mean[None], skin)[0], lips).amin(1) < 0.008
    row, column = skin.texel[near].T
    error = (texture - LIGHT * HEAD.mean_texture)[:, row, column].abs().amax(0)
    assert len(error) > 100 and error.quantile(0.95) < 0.15


def test_the_colour_of_teeth_is_that_of_the_white_between_the_lips() -> None:
    teeth, lips, hollow, skin = (
        torch.tensor(c)[:, None].expand(3, n)
        for c, n in (
            ((0.8, 0.75, 0.65), 60),
            ((0.7, 0.35, 0.35), 60),
            ((0.1, 0.05, 0.05), 60),
            ((0.8, 0.6, 0.5), 99),
        )
    )
    found = tooth_colour(torch.cat([lips, teeth, hollow], 1), skin)
    torch.testing.assert_close(found, teeth[:, 0])
    dark = tooth_colour(hollow, skin)  # where an open mouth is dark, its teeth are
    assert dark.max() < 0.15 and float(dark.min() / dark.max()) > 0.7
    unknown = tooth_colour(torch.zeros(3, 0), skin)
    assert 0.9 < float(unknown.mean() / skin[:, 0].mean()) < 1.4 and float(unknown.min() / unknown.max()) > 0.7


def test_teeth_in_a_grey_picture_are_grey() -> None:
    """Its skin is none in blue light."""
    teeth = tooth_colour(torch.zeros(3, 0), torch.full((3, 50), 0.6))
    assert float(teeth.min() / teeth.max()) > 0.999 and 0.6 < float(teeth.mean()) < 0.7


@pytest.mark.parametrize("gain", [(1.0, 0.75, 0.5), (0.5, 0.375, 0.25), (0.6, 0.8, 1.0)])
@pytest.mark.parametrize("skin", [(0.5, 0.34, 0.3), (0.62, 0.47, 0.43), (0.3, 0.2, 0.16)])
def test_teeth_that_are_not_seen_are_in_the_light_that_is_on_the_skin(skin: tuple, gain: tuple) -> None:
    """A light of another colour changes them as it changes the skin, to 40 % of its departure from white at most."""
    nothing, gains = torch.zeros(3, 0), torch.tensor(gain)
    tone = torch.tensor(skin)[:, None].expand(3, 50)
    white, lit = tooth_colour(nothing, tone), tooth_colour(nothing, tone * gains[:, None])
    off, light = (lit / white).log() - gains.log(), gains.log() - gains.log().mean()
    assert (off - off.mean()).norm() < 0.4 * light.norm()
    assert float(off.mean().abs()) < 0.1


@pytest.mark.parametrize("count", [478, 68])
def test_a_mouth_is_open_between_its_inner_lips(count: int) -> None:
    points = np.full((478, 2), 5.0, np.float32)
    around = np.linspace(0, 2 * np.pi, len(INNER_LIP_CONTOUR), endpoint=False)
    ellipse = np.stack([-20 * np.cos(around), 8 * np.sin(around)], 1) + [50, 40]
    points[list(INNER_LIP_CONTOUR)] = ellipse
    points = points if count == 478 else points[list(IBUG_68)]
    grid = np.stack(np.meshgrid(np.arange(100), np.arange(80)), -1) - [50, 40]
    radius = np.hypot(grid[..., 0] / 20, grid[..., 1] / 8)
    opening = mouth_opening((80, 100), points)
    assert opening[radius < 0.8].all() and not opening[radius > 1.15].any()
    points[:, 1] = 40 + 0.1 * (points[:, 1] - 40)
    assert not mouth_opening((80, 100), points).any(), "a slit"
    points[:] = np.nan
    assert not mouth_opening((80, 100), points).any(), "lost"


def test_the_mouth_gets_darker_with_depth(turning: Turning) -> None:
    """Against the tongue of the mean texture: its tip keeps its light, its root has next to none."""
    texture = clip_texture(turning, TextureConfig(size=256))
    tongue = texel_map(HEAD, 256, texels_of(HEAD, ("tongue",), 256))
    depth = surface(HEAD.mean[None], tongue)[0, :, 2]
    row, column = tongue.texel.T
    share = texture[:, row, column].mean(0) / HEAD.mean_texture[:, row, column].mean(0)
    tip, root = depth < depth.min() + 0.005, depth > depth.min() + 0.05
    assert share[root].max() < 0.05 * share[tip].median()


def test_the_scalp_is_above_the_brows() -> None:
    scalp, head = scalp_texels(HEAD, 128), texels_of(HEAD, ("head",), 128)
    texels = texel_map(HEAD, 128, head)
    heights = scatter(surface(HEAD.mean[None], texels)[0, :, 1][None, None], texels)[0, 0]
    points = HEAD.landmarks478(HEAD.mean[None])[0, :, 1]
    assert (scalp[head & (heights < points[10])] == 1).all(), "above the hairline"
    assert (scalp[~head | (heights > points[1])] == 0).all(), "below the tip of the nose"


def test_hair_of_a_clip_has_no_edge_at_its_border(turning: Turning, make_clip: Callable[..., Path]) -> None:
    """Nine frames of a head with dark hair: also beside what they show, the scalp is dark."""
    hair = scalp_texels(HEAD, HEAD.mean_texture.shape[-1])
    dark = HEAD.mean_texture * (1 - 0.8 * hair)
    frames = [render(v, dark) for v in turning.vertices(slice(None))]
    turning.clip = str(make_clip("hair.mkv", frames, codec="ffv1", pix_fmt="bgr0"))
    turning.clip_hash = file_hash(Path(turning.clip))
    texture, bald = clip_texture(turning, TextureConfig(size=256)), HEAD.mean_texture
    scalp = texels_of(HEAD, ("head",), 256) & (scalp_texels(HEAD, 256) == 1)
    nearer_to_hair = (texture - dark).abs().mean(0) < (texture - bald).abs().mean(0)
    assert nearer_to_hair[scalp].float().mean() > 0.9


def test_parts_do_not_overlap_and_gaps_go_to_the_nearest() -> None:
    skin, eyes = texels_of(HEAD, SKIN, 128), texels_of(HEAD, EYES, 128)
    assert skin.any() and eyes.any() and not (skin & eyes).any()
    near = nearer(skin, eyes)
    assert near[skin].all() and not near[eyes].any()


def test_texture_is_written_whole(tmp_path: Path) -> None:
    texture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert write_texture(texture, tmp_path) == tmp_path / "texture.png"
    assert [p.name for p in tmp_path.iterdir()] == ["texture.png"]
    read = cv2.imread(str(tmp_path / "texture.png"))[..., ::-1]
    np.testing.assert_allclose(read, 255 * texture.permute(1, 2, 0).numpy(), atol=0.51)
    with pytest.raises(ValueError, match=r"\(3, T, T\)"):
        write_texture(texture[None], tmp_path)
