"""A decoder of somebody else's, added by one file and one registration, through all that asks for a decoder."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch
from torch import Tensor

from selftrack.decoders import registry
from selftrack.decoders.base import Decoder, Topology
from selftrack.decoders.registry import decoder_kinds, load_decoder, register_decoder
from selftrack.errors import UserError
from selftrack.tracker.export import write
from selftrack.tracker.results.painter import MeshPainter, OverlayConfig
from selftrack.tracker.results.texture import own_texture
from selftrack.tracker.results.track_file import Track

FACES = torch.tensor([[0, 2, 1], [1, 2, 3]])
CORNERS = torch.tensor([[-0.1, -0.1, 0.0], [0.1, -0.1, 0], [-0.1, 0.1, 0], [0.1, 0.1, 0]])


@pytest.fixture
def puppet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a puppet, a kind that is known during one test."""
    decoder_kinds()
    monkeypatch.setattr(registry, "_KINDS", dict(registry._KINDS))

    @register_decoder
    class Puppet(Decoder):
        """A square: z is its width, how far its lower edge drops and how grey it is."""

        name = "puppet"
        size, identity, expression, appearance = 3, slice(0, 1), slice(1, 2), slice(2, 3)
        expression_names = ("drop",)
        has_blendshapes = True

        def __init__(self, side: float) -> None:
            part, yes = torch.zeros(2, dtype=torch.long), torch.ones(2, dtype=torch.bool)
            uvs, texels = (CORNERS[:, :2] + 0.1) * 5, torch.ones(64, 64, dtype=torch.bool)
            super().__init__(Topology(FACES, uvs, FACES, part, ("cloth",), yes, texels, None))
            self.register_buffer("_mean", CORNERS * side, persistent=False)
            self.register_buffer("mean_texture", torch.full((3, 64, 64), 0.5), persistent=False)

        @classmethod
        def reads(cls, path: Path) -> bool:
            return path.read_bytes().startswith(b'{"puppet"')

        @classmethod
        def load(cls, path: Path) -> Self:
            puppet = cls(json.loads(path.read_text())["puppet"])
            puppet.hash = "1234"
            return puppet

        @property
        def mean(self) -> Tensor:
            return self._mean

        @property
        def shapes(self) -> Tensor:
            wider = CORNERS * torch.tensor([1.0, 0, 0])
            drop = torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0.05, 0], [0, 0.05, 0]])
            return torch.stack([wider, drop])

        def coefficients(self, z: Tensor) -> Tensor:
            self.check(z)
            return z[:, :2]

        def colour(self, z: Tensor, view: Tensor | None = None) -> Tensor:
            self.check(z, view)
            return z[:, 2, None, None, None].expand(-1, 3, 64, 64)

    path = tmp_path / "puppet.json"
    path.write_text('{"puppet": 1.5}')
    yield path


@pytest.fixture
def track(puppet: Path, make_track: Callable[..., Track]) -> Track:
    """Two frames of the puppet, the second with its lower edge dropped; 300 pixels a metre around (320, 180)."""
    still = make_track([0.0, 0.04], f=np.log(300.0), tx=320.0, ty=180.0)
    z = np.array([[0.2, 0, 0.7], [0.2, 1, 0.7]], np.float32)
    own = {"decoder": "puppet", "decoder_hash": "1234", "decoder_path": str(puppet)}
    return replace(still, identity=z[0, :1], **own).with_codes(z)


# (0.1 * 1.5 + 0.2 * 0.1) * 300 pixels to each side, 0.1 * 1.5 * 300 up and down, and 0.05 * 300 for the drop
EXPECTED = np.array([[[-51, -45], [51, -45], [-51, 45], [51, 45]], [[-51, -45], [51, -45], [-51, 60], [51, 60]]])


def test_it_is_found_by_its_file(puppet: Path, tmp_path: Path) -> None:
    decoder = load_decoder(puppet)
    assert decoder.name == "puppet" and decoder.part_names == ("cloth",)
    assert (decoder.has_landmarks, decoder.has_arkit_curves, decoder.has_blendshapes) == (False, False, True)
    decoded = decoder(torch.tensor([[0.0, 2.0, 0.3]]))
    torch.testing.assert_close(decoded.vertices[0, 2], torch.tensor([-0.15, 0.25, 0.0]))
    assert (decoded.texture == 0.3).all()
    with pytest.raises(UserError, match="detector's points"):
        decoder.landmarks(68)
    (tmp_path / "other").write_text("no puppet")
    with pytest.raises(UserError, match=r"no known kind \(head, dam, puppet\)"):
        load_decoder(tmp_path / "other")


def test_it_is_drawn(track: Track) -> None:
    """By the painter of overlays: within its outline in the colour asked for, and nothing beside it."""
    vertices = track.vertices()
    np.testing.assert_allclose(vertices[..., :2], EXPECTED + [320, 180], atol=1e-3)
    config = OverlayConfig(colour=(1.0, 1.0, 1.0), ambient=1.0, opacity=1.0)
    picture = MeshPainter(track.model(), config)(np.zeros((360, 640, 3), np.uint8), vertices[1])
    rows, columns = np.nonzero(picture.any(axis=2))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == pytest.approx((269, 371, 135, 240), abs=1)
    assert (picture[140:235, 275:365] == 255).all()
    red = torch.zeros(3, 64, 64)
    red[0] = 1
    textured = MeshPainter(track.model(), OverlayConfig(mode="texture"), red)(picture, vertices[0])
    assert (textured[140:220, 275:365] == [255, 0, 0]).all()
    assert own_texture(track, red) is None  # it says that its texture is the same in all frames


def test_it_is_exported_as_far_as_it_goes(track: Track, tmp_path: Path) -> None:
    header, *rows = (line.strip().split(",") for line in write(track, "csv", tmp_path / "a.csv").open())
    assert [row[header.index("drop")] for row in rows] == ["0.00000", "1.00000"]
    with np.load(write(track, "vertices", tmp_path / "a.npz")) as data:
        np.testing.assert_allclose(data["verts"][..., :2], EXPECTED + [320, 180], atol=1e-3)
        np.testing.assert_array_equal(data["faces"], FACES)
    for to in ("livelink", "openface", "blender"):
        with pytest.raises(UserError, match=f"format {to} needs ARKit's curves"):
            write(track, to, tmp_path / "no")


def test_its_shapes_are_the_targets_of_a_glb(track: Track, tmp_path: Path) -> None:
    gltf = pytest.importorskip("pygltflib").GLTF2().load(str(write(track, "glb", tmp_path / "a.glb")))
    assert gltf.meshes[0].extras["targetNames"] == ["drop"] and len(gltf.meshes[0].primitives[0].targets) == 1
    blob = gltf.binary_blob()

    def floats(accessor: int) -> np.ndarray:
        view = gltf.bufferViews[gltf.accessors[accessor].bufferView]
        return np.frombuffer(blob[view.byteOffset : view.byteOffset + view.byteLength], "<f4")

    positions = floats(gltf.meshes[0].primitives[0].attributes.POSITION).reshape(-1, 3)
    own = np.unique(np.round(positions, 6), axis=0)  # y up, metres: the neutral puppet with its own width
    np.testing.assert_allclose(own, [[x, y, 0] for x in (-0.17, 0.17) for y in (-0.15, 0.15)], atol=1e-6)
    channel = next(c for c in gltf.animations[0].channels if c.target.path == "weights")
    np.testing.assert_allclose(floats(gltf.animations[0].samplers[channel.sampler].output), [0, 1])
