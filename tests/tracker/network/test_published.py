"""Public weights of frozen streams: packed, found, refused; and that the streams compute what their libraries do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.errors import UserError
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet
from selftrack.tracker.network.published import FAN, VGG16, Published
from selftrack.tracker.network.streams import EfficientNetLite, Fan, Vgg16, pack_streams, stream_hash
from selftrack.tracker.network.weights import load_network, save_heads

PAPER = I2ZConfig(perceptual="vgg16", landmarks="fan", coordinates=False, vector=8, hidden=8)


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The libraries' cache, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def publish(published: Published, path: Path, seed: int) -> Path:
    """A file as its authors publish it, with random weights and what is not used here."""
    torch.manual_seed(seed)
    state = Vgg16().features.state_dict() if published is VGG16 else Fan().network.state_dict()
    other = {"classifier.6.bias": torch.zeros(1000)} if published is VGG16 else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({f"{published.part}{name}": value for name, value in state.items()} | other, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Published, Path]:
    folder = tmp_path_factory.mktemp("published")
    return {one: publish(one, folder / one.file, seed) for seed, one in enumerate((VGG16, FAN))}


def test_packed_streams_are_those_of_the_files(files: dict[Published, Path], no_cache: Path, tmp_path: Path) -> None:
    """Packed, and from the libraries' cache: the same network, bit for bit; nothing but what is used is packed."""
    packed = I2ZNet(PAPER, pack_streams(tmp_path / "streams.safetensors", files))
    expected = torch.load(files[VGG16], weights_only=True)
    for name, value in packed.perceptual.features.state_dict().items():
        assert torch.equal(value, expected[f"features.{name}"])
    expected = torch.load(files[FAN], weights_only=True)
    for name, value in packed.landmarks.network.state_dict().items():
        assert torch.equal(value, expected[name])
    no_cache.mkdir(parents=True)
    for one, path in files.items():
        (no_cache / one.file).symlink_to(path)
    cached = I2ZNet(PAPER)
    assert stream_hash(cached.perceptual) == stream_hash(packed.perceptual)
    assert stream_hash(cached.landmarks) == stream_hash(packed.landmarks)


def test_what_is_missing_is_named(files: dict[Published, Path], no_cache: Path, tmp_path: Path) -> None:
    """The file, where it was looked for, and where it comes from, in one line."""
    missing = f"{VGG16.file}: not in {no_cache}; take it from {VGG16.url}.*--streams"
    with pytest.raises(UserError, match=missing) as said:
        I2ZNet(PAPER)
    assert "\n" not in str(said.value)
    one = pack_streams(tmp_path / "vgg.safetensors", {VGG16: files[VGG16]})
    with pytest.raises(UserError, match=f"vgg.safetensors: has no weights of fan; .*{FAN.url}"):
        I2ZNet(PAPER, one)
    (tmp_path / "broken").write_bytes(b"nothing")
    with pytest.raises(UserError, match="broken: not a file of streams"):
        I2ZNet(PAPER, tmp_path / "broken")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"nothing"), "cannot be read as weights"),
        (lambda path: torch.save({"a": torch.zeros(1)}, path), "holds no weights of vgg16"),
        (lambda path: torch.save({"features.0.weight": torch.zeros(1)}, path), "other weights than those of vgg16"),
    ],
)
def test_other_files_are_not_packed(make: Callable, message: str, tmp_path: Path) -> None:
    make(tmp_path / "wrong.pth")
    with pytest.raises(UserError, match=f"wrong.pth: {message}.*{VGG16.url}"):
        pack_streams(tmp_path / "out", {VGG16: tmp_path / "wrong.pth"})
    assert not (tmp_path / "out").exists()


def test_heads_go_with_the_streams_that_they_were_trained_on(files: dict[Published, Path], tmp_path: Path) -> None:
    packed = pack_streams(tmp_path / "streams.safetensors", files)
    network = I2ZNet(PAPER, packed)
    path = save_heads(tmp_path / "heads.safetensors", network, network.heads.state_dict(), {})
    assert load_network(path, streams=packed).config == PAPER
    others = {**files, FAN: publish(FAN, tmp_path / "other.tar", seed=7)}
    with pytest.raises(UserError, match="heads.safetensors: was trained on other weights of the frozen streams"):
        load_network(path, streams=pack_streams(tmp_path / "others.safetensors", others))


@torch.no_grad()
def test_taps_of_efficientnet_are_the_ends_of_its_strides() -> None:
    """Against the package's own pass, watched from outside."""
    stream = EfficientNetLite().eval()
    crops, seen = torch.rand(1, 3, 192, 192), []
    for index in stream.taps:
        stream.network._blocks[index].register_forward_hook(lambda block, given, out: seen.append(out))
    maps = stream(crops)
    seen.clear()
    stream.network.extract_features((crops * 255 - 127) / 128)
    assert [m.shape[1:] for m in maps] == [(c, s, s) for c, s in zip(stream.channels, stream.sizes, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(maps, seen, strict=True))


@pytest.mark.parametrize("weights", ["random", "published"])
def test_peaks_of_fan_are_face_alignments_landmarks(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library, given the same picture as its crop, puts its points on the peaks of the same heatmaps; it moves them
    by a quarter of a heatmap's pixel towards the higher neighbour."""
    monkeypatch.undo()  # the real cache
    if weights == "published" and not FAN.cached().is_file():
        pytest.skip(f"{FAN.file} is not in {FAN.cached().parent}")
    import face_alignment
    from face_alignment import FaceAlignment, LandmarksType

    torch.manual_seed(0)
    stream = Fan().eval()
    if weights == "published":
        stream.load_published(FAN.find())
    else:
        stream.network.num_modules = 2  # of four hourglasses, to save time
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    monkeypatch.setattr(FaceAlignment, "_load_native", lambda self, *given: stream.network)
    monkeypatch.setattr(face_alignment.api, "crop", lambda *given: picture)
    for name in ("_get_preds_fromhm", "transform_np"):  # to compile them takes longer than all else
        monkeypatch.setattr(face_alignment.utils, name, getattr(face_alignment.utils, name).py_func)
    library = FaceAlignment(LandmarksType.TWO_D, device="cpu", face_detector="folder", flip_input=False, compile=False)
    side = 256 / 200 * library.face_detector.reference_scale / 2  # of the box whose crop is the picture
    top = 128 + 0.12 * side - side / 2
    [points] = library.get_landmarks_from_image(picture, [[128 - side / 2, top, 128 + side / 2, top + side]])
    [heat] = stream(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255, None, [64])
    peaks = heat[0].flatten(1).argmax(1)
    at = torch.stack([peaks % 64, peaks // 64], 1)
    assert np.abs(points / 4 - at.numpy()).max() < 1.5 and len(at.unique(dim=0)) > 20
