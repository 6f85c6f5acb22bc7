"""The deep appearance model, on a tiny capture."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from selftrack.decoders.capture import open_capture
from selftrack.decoders.dam.losses import divergence, masked_error, psnr
from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.training.dam import DamTraining, prepare

TINY = DamTraining(DamConfig(texture=32, hidden=32), steps=2, batch=2)


@pytest.fixture
def model(multiface: Callable) -> Dam:
    torch.manual_seed(0)
    return prepare(open_capture(multiface().folder), TINY)


def test_geometry_is_linear_in_the_coefficients(model: Dam) -> None:
    z = torch.randn(3, 128)
    linear = model.mean + torch.einsum("bk,kvc->bvc", model.coefficients(z), model.shapes)
    torch.testing.assert_close(model.geometry(z), linear, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("size", [32, 64, 256])
def test_textures_of_every_size(model: Dam, size: int) -> None:
    own = Dam(model.topology, model.mean_mesh, torch.full((3, size, size), 0.5), DamConfig(size, hidden=16))
    decoded = own(torch.zeros(2, 128), torch.tensor([[0.0, 0, -1], [0.6, 0, -0.8]]))
    assert decoded.texture.shape == (2, 3, size, size) and decoded.vertices.shape == (2, 81, 3)
    mean, deviation = own.encode(model.mean_mesh[None], torch.rand(1, 3, size, size))
    assert mean.shape == deviation.shape == (1, 128)


def test_texture_depends_on_the_view_and_geometry_does_not(model: Dam) -> None:
    z, sides = torch.randn(1, 128).expand(2, -1), torch.tensor([[0.7, 0, -0.7], [-0.7, 0, -0.7]])
    decoded = model(z, sides)
    assert (decoded.texture[0] - decoded.texture[1]).abs().max() > 1e-5
    torch.testing.assert_close(decoded.vertices[0], decoded.vertices[1])


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="100"):
        DamConfig(texture=100)


def test_divergence_is_torchs() -> None:
    mean, log_deviation = torch.randn(5, 7), torch.randn(5, 7)
    here = torch.distributions.Normal(mean, log_deviation.exp())
    expected = torch.distributions.kl_divergence(here, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(divergence(mean, log_deviation), expected)


def test_holes_do_not_count() -> None:
    seen, made = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.7)
    seen[..., 0, :], made[..., 0, :] = 0, 9.0
    assert float(masked_error(made, seen)) == pytest.approx(0.04)
    assert psnr(0.01) == pytest.approx(20)


def test_holes_say_nothing_to_the_encoder(model: Dam) -> None:
    texture = torch.rand(1, 3, 32, 32) + 0.01
    hole, mean = texture.clone(), texture.clone()
    hole[..., 8:16, 8:16] = 0
    mean[..., 8:16, 8:16] = model.mean_texture[..., 8:16, 8:16]
    mesh = model.mean_mesh[None]
    torch.testing.assert_close(model.encode(mesh, hole)[0], model.encode(mesh, mean)[0])


def test_a_file_holds_everything(model: Dam, tmp_path: Path) -> None:
    loaded = Dam.load(model.save(tmp_path / "dam.safetensors"))
    z = torch.randn(2, 128)
    for a, b in zip(vars(loaded(z)).values(), vars(model(z)).values(), strict=True):
        torch.testing.assert_close(a, b)
    for name in ("faces", "uvs", "uv_faces", "skin_texels"):
        assert torch.equal(getattr(loaded, name), getattr(model, name))
    assert loaded.hash and not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(ValueError, match="track-train i2znet|landmark|points"):
        loaded.landmarks478  # noqa: B018


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a deep appearance model"):
        Dam.load(tmp_path / "x.safetensors")
