"""The Multiface reader on a folder in exactly that layout, whose geometry is known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from selftrack.decoders.capture import in_camera, open_capture, view_direction
from selftrack.decoders.mesh.unwrap import surface, texel_map


def test_geometry_is_metres_in_our_axes(multiface: Callable) -> None:
    layout = multiface()
    capture = open_capture(layout.folder)
    own = next(iter(layout.vertices.values()))
    # y up and z towards the camera there, y down and z away from it here
    np.testing.assert_allclose(capture.vertices(0), own * [1e-3, -1e-3, -1e-3], atol=1e-7)
    mean = np.mean(list(layout.vertices.values()), 0) * [1e-3, -1e-3, -1e-3]
    np.testing.assert_allclose(capture.mean_vertices(), mean, atol=1e-7)
    assert len(capture.frames) == 10 and capture.views(3) == (0, 1, 2) and not capture.missing


def test_projection_is_that_of_the_calibration(multiface: Callable) -> None:
    layout = multiface()
    capture = open_capture(layout.folder)
    own = next(iter(layout.vertices.values())).astype(float)
    for number, (intrinsics, extrinsics) in enumerate(layout.cameras.values()):
        world = own @ layout.turn.T + layout.place
        seen = (world @ extrinsics[:, :3].T + extrinsics[:, 3]) @ intrinsics.T
        flat = in_camera(capture, 0, number, capture.vertices(0))
        np.testing.assert_allclose(flat[:, :2], seen[:, :2] / seen[:, 2:], atol=1e-3)
        centre = -extrinsics[:, :3].T @ extrinsics[:, 3]
        towards = layout.turn.T @ (centre - layout.place)
        expected = towards / np.linalg.norm(towards) * [1, -1, -1]
        np.testing.assert_allclose(view_direction(capture, 0, number), expected, atol=1e-6)


def test_texels_lie_where_the_uvs_say(multiface: Callable) -> None:
    """The dome's top left corner (x least, y up) wears the picture's top left texel."""
    layout = multiface()
    capture = open_capture(layout.folder)
    texels = texel_map(capture.topology, 64, torch.ones(1, 1, dtype=torch.bool))
    points = surface(torch.from_numpy(capture.vertices(0))[None], texels)[0]
    corner = points[:, :2].sum(1).argmin()  # left and up in our axes
    row, column = texels.texel[corner].tolist()
    assert (row, column) == (0, 0)
    texture = capture.texture(0, 1, 64)
    np.testing.assert_array_equal(texture, layout.texture)
    assert not texture[row, column].any()  # the hole


def test_a_smaller_texture_has_no_texel_that_touches_a_hole(multiface: Callable) -> None:
    layout = multiface()
    small = open_capture(layout.folder).texture(0, 0, 16)
    assert not small[:2, :2].any() and small[2:, 2:].any(2).all()
    np.testing.assert_allclose(small[4, 4], layout.texture[16:20, 16:20].mean((0, 1)), atol=1)


def test_what_is_missing_is_named(multiface: Callable) -> None:
    layout = multiface()
    gone = layout.folder / "unwrapped_uv_1024/E001_Neutral_Eyes_Open/400001/000103.png"
    mesh = layout.folder / "tracked_mesh/E001_Neutral_Eyes_Open/000106.bin"
    gone.unlink()
    mesh.unlink()
    capture = open_capture(layout.folder)
    assert sorted(capture.missing) == sorted(str(p.relative_to(layout.folder)) for p in (gone, mesh))
    assert len(capture.frames) == 9 and capture.views(1) == (0, 2)


@pytest.mark.parametrize("name", ["frame_list.txt", "vert_mean.bin", "tex_mean.png"])
def test_what_everything_needs_must_be_there(multiface: Callable, name: str) -> None:
    layout = multiface()
    (layout.folder / name).unlink()
    with pytest.raises(ValueError, match=name):
        open_capture(layout.folder)


def test_corrupt_files_are_named(multiface: Callable) -> None:
    layout = multiface()
    folder = layout.folder
    segment = "E001_Neutral_Eyes_Open"
    (folder / f"tracked_mesh/{segment}/000103.bin").write_bytes(b"12345")
    (folder / f"tracked_mesh/{segment}/000106_transform.txt").write_text("1 2\n3 4\n")
    (folder / f"unwrapped_uv_1024/{segment}/400000/000100.png").write_bytes(b"no picture")
    capture = open_capture(folder)
    with pytest.raises(ValueError, match="000103.bin.*corrupt"):
        capture.vertices(1)
    with pytest.raises(ValueError, match="000106_transform.txt.*corrupt"):
        capture.head(2)
    with pytest.raises(ValueError, match="000100.png.*corrupt"):
        capture.texture(0, 0, 64)
    (folder / "KRT").write_text("400000\n1 0 0\n")
    with pytest.raises(ValueError, match="KRT"):
        open_capture(folder)


def test_a_folder_without_a_capture(tmp_path) -> None:
    with pytest.raises(ValueError, match="no capture there"):
        open_capture(tmp_path)
