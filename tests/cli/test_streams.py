"""Public weights of frozen streams on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from selftrack.decoders.registry import load_decoder
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet
from selftrack.tracker.network.published import FAN, VGG16
from selftrack.tracker.network.streams import Vgg16
from selftrack.tracker.network.weights import save_heads


@pytest.fixture
def vgg(tmp_path: Path) -> Path:
    """torchvision's file, with random weights."""
    path = tmp_path / VGG16.file
    torch.save({f"features.{name}": value for name, value in Vgg16().features.state_dict().items()}, path)
    return path


def test_streams_are_packed_and_used(run: Callable, vgg: Path, smile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that reads VGG-16 tracks with the file, and says in one line what it lacks without it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(vgg.parent / "hub"))
    assert run("track-train", "streams", "--vgg", vgg, "-o", "streams.safetensors")[:2] == (0, "streams.safetensors\n")
    network = I2ZNet(
        I2ZConfig(perceptual="vgg16", decoder=load_decoder().hash, coordinates=False), Path("streams.safetensors")
    )
    save_heads(Path("net.safetensors"), network, network.heads.state_dict(), {})
    plain = ("track", smile, "-o", "out", "--weights", "net.safetensors", "--duration", 0.04, "--no-overlay")
    status, _, err = run(*plain)
    assert status == 2 and VGG16.url in err and "--streams" in err and len(err.splitlines()) == 1
    status, _, err = run(*plain, "--streams", "streams.safetensors", "--set", "track.person.samples=2")
    assert status == 0, err
    assert f"streams: {Path('streams.safetensors').resolve()}" in Path("out/config.yaml").read_text()


def test_nothing_to_pack(run: Callable, vgg: Path) -> None:
    status, _, err = run("track-train", "streams", "-o", "streams.safetensors")
    assert status == 2 and VGG16.url in err and FAN.url in err and len(err.splitlines()) == 1
    status, _, err = run("track-train", "streams", "--fan", vgg, "-o", "streams.safetensors")
    assert status == 2 and "other weights than those of fan" in err and len(err.splitlines()) == 1
    status, _, err = run("track-train", "streams", "--fan", "nowhere.tar", "-o", "streams.safetensors")
    assert status == 2 and "nowhere.tar" in err and len(err.splitlines()) == 1
    assert not Path("streams.safetensors").exists()
