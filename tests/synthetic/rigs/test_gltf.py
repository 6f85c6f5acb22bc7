"""Rigs of glTF files: places, shapes, pictures and parts, and the scale and place of a face."""

import base64
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pygltflib as gltf
import pytest

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.rigs.gltf import TILE
from selftrack.errors import UserError
from selftrack.synthetic.rigs.film import Film, FilmConfig
from selftrack.synthetic.rigs.gltf import read_gltf
from selftrack.synthetic.rigs.opening import read_rig
from selftrack.tracker.export.scenes._gltf import build_glb
from selftrack.tracker.results.track_file import Track

HEAD = load_head()
JAW = ARKIT_NAMES.index("jawOpen")
SCAN = Path(__file__).parents[4] / "shared" / "truth" / "lee_perry_smith"


def picture(colour: tuple[int, int, int], size: int = 8) -> bytes:
    """A PNG of one colour (RGB)."""
    return cv2.imencode(".png", np.full((size, size, 3), colour[::-1], np.uint8))[1].tobytes()


def write(path: Path, scale: float = 1.0, external: bool = False) -> Path:
    """A .gltf of two triangles: skin under a node that is moved and scaled, with a sparse jawOpen; and an eye, red."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    uvs = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    moved = np.array([[0, -0.5, 0]], np.float32)
    parts = [corners.tobytes(), uvs.tobytes(), np.arange(3, dtype=np.uint16).tobytes() + b"\0\0"]
    parts += [np.array([2], np.uint16).tobytes() + b"\0\0", moved.tobytes(), picture((255, 0, 0))]
    blob = b"".join(parts)
    starts = np.cumsum([0, *map(len, parts)])
    views = [
        gltf.BufferView(buffer=0, byteOffset=int(a), byteLength=len(p)) for a, p in zip(starts, parts, strict=False)
    ]
    sparse = gltf.Sparse(
        count=1,
        indices=gltf.AccessorSparseIndices(bufferView=3, componentType=gltf.UNSIGNED_SHORT),
        values=gltf.AccessorSparseValues(bufferView=4),
    )
    accessors = [
        gltf.Accessor(bufferView=0, componentType=gltf.FLOAT, count=3, type="VEC3"),
        gltf.Accessor(bufferView=1, componentType=gltf.FLOAT, count=3, type="VEC2"),
        gltf.Accessor(bufferView=2, componentType=gltf.UNSIGNED_SHORT, count=3, type="SCALAR"),
        gltf.Accessor(componentType=gltf.FLOAT, count=3, type="VEC3", sparse=sparse),
    ]

    def primitive(material: int, targets: list) -> gltf.Primitive:
        return gltf.Primitive(
            attributes=gltf.Attributes(POSITION=0, TEXCOORD_0=1), indices=2, material=material, targets=targets
        )

    if external:
        (path.parent / "the mesh.bin").write_bytes(blob)
    uri = "the%20mesh.bin" if external else "data:application/octet-stream;base64," + base64.b64encode(blob).decode()
    red = gltf.PbrMetallicRoughness(baseColorTexture=gltf.TextureInfo(index=0))
    grey = gltf.PbrMetallicRoughness(baseColorFactor=[0.5**2.2] * 3 + [1.0])
    document = gltf.GLTF2(
        scene=0,
        scenes=[gltf.Scene(nodes=[0])],
        nodes=[
            gltf.Node(children=[1, 2], translation=[0, 0, 3.0]),
            gltf.Node(mesh=0, scale=[scale] * 3),
            gltf.Node(mesh=1),
        ],
        meshes=[
            gltf.Mesh(
                primitives=[primitive(0, [{"POSITION": 3}])],
                name="face",
                extras={"targetNames": ["blendShape1.JawOpen"]},
            ),
            gltf.Mesh(primitives=[primitive(1, [])], name="Eye_L"),
        ],
        materials=[
            gltf.Material(pbrMetallicRoughness=grey, name="skin"),
            gltf.Material(pbrMetallicRoughness=red, name="second"),
        ],
        textures=[gltf.Texture(source=0)],
        images=[gltf.Image(bufferView=5, mimeType="image/png")],
        accessors=accessors,
        bufferViews=views,
        buffers=[gltf.Buffer(uri=uri, byteLength=len(blob))],
    )
    document.save_json(str(path))
    return path


@pytest.mark.parametrize("external", [False, True])
def test_places_shapes_parts_and_pictures(tmp_path: Path, external: bool) -> None:
    rig = read_gltf(write(tmp_path / "rig.gltf", scale=2.0, external=external))
    # y down and z away, beneath the nodes' scale and place
    skin = rig.neutral[np.unique(rig.faces[rig.skin])]
    np.testing.assert_allclose(skin, [[0, 0, -3], [2, 0, -3], [0, -2, -3]])
    np.testing.assert_allclose(rig.shapes[JAW].sum(0), [0, 1, 0])  # half a unit down, twice as large
    assert np.flatnonzero(np.abs(rig.shapes).max((1, 2))).tolist() == [JAW]
    assert rig.skin.tolist() == [True, False] and rig.moist.tolist() == [False, True] and not rig.inner.any()
    assert rig.texture is not None
    u, v = (rig.corners.mean(1) * len(rig.texture)).astype(int).T
    np.testing.assert_array_equal(rig.texture[v, u], [[127, 127, 127], [255, 0, 0]])
    assert len(rig.texture) == 2 * TILE


def test_a_picture_of_its_own_has_v_up(tmp_path: Path) -> None:
    both = np.concatenate([np.zeros((8, 16, 3)), np.full((8, 16, 3), 200)]).astype(np.uint8)
    (tmp_path / "skin.png").write_bytes(cv2.imencode(".png", both)[1].tobytes())
    rig = read_gltf(write(tmp_path / "rig.gltf"), tmp_path / "skin.png")
    assert rig.texture is not None
    u, v = (rig.corners[0] * (len(rig.texture) - 1)).astype(int).T
    assert rig.texture[v, u][:, 0].tolist() == [200, 200, 0]


def test_our_own_export_comes_back(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = make_track(np.arange(2) / 25, {})
    (tmp_path / "head.glb").write_bytes(build_glb(track, picture((180, 140, 120)), 800.0))
    rig = read_gltf(tmp_path / "head.glb")
    assert len(rig.neutral) >= len(HEAD.mean)
    for row in range(0, 52, 7):
        ours = np.abs(HEAD.blendshapes[row].numpy()).max(0)
        np.testing.assert_allclose(np.abs(rig.shapes[row]).max(0), ours, atol=1e-5)


def test_a_rig_in_other_units_gets_a_heads_size_and_place(make_track: Callable[..., Track], tmp_path: Path) -> None:
    track = make_track(np.arange(2) / 25, {})
    skin = (255 * HEAD.mean_texture.numpy().transpose(1, 2, 0)[..., ::-1]).astype(np.uint8)
    (tmp_path / "head.glb").write_bytes(build_glb(track, cv2.imencode(".jpg", skin)[1].tobytes(), 800.0))
    document = gltf.GLTF2().load(str(tmp_path / "head.glb"))
    node = next(node for node in document.nodes if node.mesh is not None)
    node.rotation, node.translation, node.scale = [0, 0, 0, 1], [500, 100, -70], [37, 37, 37]
    document.save(str(tmp_path / "large.glb"))
    rig = read_rig(tmp_path / "large.glb", HEAD)
    width = np.ptp(rig.neutral[:, 0]) / np.ptp(HEAD.mean.numpy()[:, 0])
    assert width == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(rig.neutral.mean(0), HEAD.mean.numpy().mean(0), atol=0.012)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rig.glb").write_bytes(b"glTF\x02\0\0\0 but not really")
    with pytest.raises(UserError, match="rig.glb: not a glTF file"):
        read_gltf(tmp_path / "rig.glb")
    with pytest.raises(UserError, match="no face is seen on the rig"):
        read_rig(write(tmp_path / "flat.gltf"), HEAD)
    with pytest.raises(UserError, match="a picture of the skin is for a .glb"):
        read_rig(tmp_path / "ict.npz", HEAD, tmp_path / "skin.png")


@pytest.mark.skipif(not SCAN.is_dir(), reason="the scanned head is not in the repository")
def test_a_scan_is_filmed() -> None:
    pytest.importorskip("DracoPy")
    rig = read_rig(SCAN / "head.glb", HEAD, SCAN / "color.jpg")
    assert not rig.known.any() and 0.14 < np.ptp(rig.neutral[np.unique(rig.faces[rig.skin])][:, 0]) < 0.2
    film = Film(rig, FilmConfig(size=96))
    made, frames = film.shoot(np.random.default_rng(0), np.ones((1, 52)), np.zeros(1))
    assert not made.curves.any() and next(iter(frames)).std() > 10
