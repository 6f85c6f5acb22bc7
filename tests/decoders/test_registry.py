"""Decoders are found by their file's header, complete or refused, and shared by nobody."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.base import Decoder
from selftrack.decoders.capture import open_capture
from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.decoders.head.model import ASSET
from selftrack.decoders.registry import decoder_kinds, load_decoder, register_decoder
from selftrack.errors import UserError


@pytest.fixture
def dam(multiface: Callable, tmp_path: Path) -> Path:
    """The file of an untrained model of a topology of its own."""
    capture = open_capture(multiface(frames=2).folder)
    mean = torch.from_numpy(capture.vertices(0))
    return Dam(capture.topology, mean, torch.full((3, 32, 32), 0.5), DamConfig(32)).save(tmp_path / "me.safetensors")


def test_the_kind_is_that_of_the_file(dam: Path, tmp_path: Path) -> None:
    renamed = dam.rename(tmp_path / "anything.bin")  # the header counts, not the name
    assert (load_decoder(renamed).name, load_decoder(str(ASSET)).name, load_decoder().name) == ("dam", "head", "head")
    assert load_decoder(ASSET).hash == load_decoder().hash != load_decoder(renamed).hash


@pytest.mark.parametrize("content", [b"", b"nonsense", None, "other"])
def test_a_file_of_no_known_kind_names_the_known_ones(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file({"a": torch.zeros(1)}, path, content and {"decoder": content})
    with pytest.raises(UserError, match=r"x\.safetensors: a decoder of no known kind \(head, dam"):
        load_decoder(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_decoder(tmp_path / "nowhere.npz")


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {"decoder": "dam", "dam": "{}"})
    with pytest.raises(UserError, match="not a deep appearance model"):
        load_decoder(tmp_path / "x.safetensors")


def test_moving_a_decoder_moves_no_other(dam: Path) -> None:
    """Whoever loads one may move it, to a GPU for example, and the next one to load is not surprised."""
    for path in (None, dam):
        load_decoder(path).to("meta").double()
        fresh = load_decoder(path)
        assert {(t.device.type, t.dtype) for t in (fresh.mean, fresh.mean_texture)} == {("cpu", torch.float32)}


def test_a_copy_on_a_device_leaves_the_decoder_where_it_is(dam: Path) -> None:
    for decoder in (load_decoder(), load_decoder(dam)):
        moved = decoder.copy_to("meta")
        assert moved.mean.device.type == moved.faces.device.type == "meta"
        assert decoder.mean.device.type == decoder.faces.device.type == "cpu"
        assert moved.hash == decoder.hash and moved.part_names == decoder.part_names


def test_capabilities(dam: Path) -> None:
    head, own = load_decoder(), load_decoder(dam)
    assert (head.has_landmarks, head.has_arkit_curves, head.has_blendshapes, head.paints_view) == (True,) * 3 + (False,)
    assert (own.has_landmarks, own.has_arkit_curves, own.has_blendshapes, own.paints_view) == (False,) * 3 + (True,)
    assert head.curve_names == ARKIT_NAMES and own.curve_names[:2] == ("z000", "z001")
    with pytest.raises(ValueError, match="no blend shapes"):
        own.blendshapes  # noqa: B018
    with pytest.raises(UserError, match="detector's points"):
        own.landmarks68  # noqa: B018


def test_a_blend_shape_is_what_its_weight_adds() -> None:
    head, z = load_decoder(), torch.zeros(1, 128)
    z[0, head.expression.start + ARKIT_NAMES.index("jawOpen")] = 0.5
    added = head.geometry(z)[0] - head.mean
    torch.testing.assert_close(added, 0.5 * head.blendshapes[ARKIT_NAMES.index("jawOpen")], atol=1e-6, rtol=0)


def test_every_kind_checks_its_arguments(dam: Path) -> None:
    for decoder in (load_decoder(), load_decoder(dam)):
        wrong, right = torch.zeros(2, decoder.size + 1), torch.zeros(2, decoder.size)
        for function in (decoder.geometry, decoder.coefficients, decoder.colour, decoder.curves):
            with pytest.raises(ValueError, match=rf"expected codes z \(B,{decoder.size}\), got \(2, "):
                function(wrong)
        with pytest.raises(ValueError, match=r"expected a view \(2,3\), got \(1, 3\)"):
            decoder(right, torch.zeros(1, 3))


def test_an_incomplete_kind_is_refused() -> None:
    class Half(Decoder):
        name = "half"

    with pytest.raises(ValueError, match=r"Half is not complete: it lacks coefficients, colour"):
        register_decoder(Half)
    with pytest.raises(TypeError, match="abstract"):
        Half(load_decoder().topology)
    assert "half" not in decoder_kinds()


def test_a_name_is_taken_once() -> None:
    class Other(Dam):
        name = "head"

    with pytest.raises(ValueError, match="a kind of decoder head already"):
        register_decoder(Other)


def test_a_damaged_head_is_one_line(tmp_path: Path) -> None:
    content = bytearray(ASSET.read_bytes())
    content[2000:4000] = bytes(2000)
    (tmp_path / "head.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"head\.npz: not a head"):
        load_decoder(tmp_path / "head.npz")
