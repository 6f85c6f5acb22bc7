"""A person's own model through the tracker: network, adaptation, results. Untrained ones suffice for what must fit."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.adapt.frames.clip import ClipConfig, read_clip
from selftrack.adapt.learning.trainer import AdaptConfig, Trainer
from selftrack.adapt.run import for_personal_model
from selftrack.adapt.terms import StepContext
from selftrack.adapt.terms.texture import MotcConfig, model_texture
from selftrack.cli import track
from selftrack.cli import train as train_command
from selftrack.decoders.base import SurfacePoints
from selftrack.decoders.capture import in_camera, view_direction
from selftrack.decoders.capture.light_stage import Studio
from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.errors import UserError
from selftrack.tracker import export
from selftrack.tracker.clips.config import TrackConfig, load_model, open_clip
from selftrack.tracker.clips.single import track_clip
from selftrack.tracker.clips.subjects import PersonConfig
from selftrack.tracker.geometry.pose import view_of
from selftrack.tracker.network.i2znet import I2ZConfig, I2ZNet
from selftrack.tracker.network.weights import WEIGHTS, load_network, network_beside, save_heads
from selftrack.tracker.results import track_file
from selftrack.tracker.results.painter import OverlayConfig
from selftrack.training.dam import DamTraining, Reconstruction, fit_curves, prepare
from selftrack.training.i2znet_multiview import (
    CaptureConfig,
    CaptureData,
    dam_training,
    network_config,
    train_on_capture,
)

SMALL = I2ZConfig(vector=8, hidden=16)


@pytest.fixture(scope="module")
def stage(light_stage: Callable) -> Studio:
    return light_stage(frames=6, cameras=4)


@pytest.fixture(scope="module")
def model(stage: Studio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    dam = prepare(stage, DamTraining(DamConfig(texture=32, hidden=32)))
    fit_curves(dam, stage, np.arange(6))
    return dam.save(tmp_path_factory.mktemp("model") / "dam.safetensors")


@pytest.fixture(scope="module")
def network(model: Path) -> Path:
    """Untrained."""
    torch.manual_seed(1)
    out = network_beside(model)
    dam = Dam.load(model)
    untrained = I2ZNet(replace(network_config(dam, SMALL), decoder=dam.hash))
    save_heads(out, untrained, untrained.heads.state_dict(), {})
    return out


def test_landmarks_of_a_model_are_those_of_its_mesh(model: Path) -> None:
    dam, z = Dam.load(model), torch.randn(3, 128)
    torch.testing.assert_close(SurfacePoints.landmarks(dam)(z), dam.landmarks478(dam.geometry(z)), atol=1e-6, rtol=1e-4)


def test_view_of_a_pose_is_the_direction_to_the_camera(light_stage: Callable) -> None:
    """A head turned by yaw before the front camera, and the weak-perspective pose that says the same."""
    stage = light_stage("turned", turn=0.3)
    pose = torch.tensor([[5.0, 0, 0.3, 0, 0, 0]])
    np.testing.assert_allclose(view_of(pose)[0].numpy(), view_direction(stage, 0, 12), atol=1e-6)


def test_shots_of_a_capture_show_its_landmarks(stage: Studio, model: Path) -> None:
    """The points in a crop are the capture's own, moved by one similarity."""
    dam = Dam.load(model)
    network = I2ZNet(replace(SMALL, perceptual=None))
    data = CaptureData(stage, dam, network, np.arange(3), CaptureConfig(views=2))
    assert data.points.shape == (3, 2, 478, 2) and data.codes.shape == (3, 2, 128)
    torch.testing.assert_close(data.codes[:, 0], data.codes[:, 1])  # one moment, one code
    points = load_points(stage, dam, 0)
    left = []
    for shot in data.points[0].numpy():
        fits = []
        for seen in points:
            x, y = seen[:, 0] + 1j * seen[:, 1], shot[:, 0] + 1j * shot[:, 1]
            basis = np.stack([x, np.ones_like(x)], 1)
            fits.append(np.abs(basis @ np.linalg.lstsq(basis, y, rcond=None)[0] - y).max())
        left.append(min(fits))
    assert max(left) < 0.05


def load_points(stage: Studio, dam: Dam, frame: int) -> list[np.ndarray]:
    """Landmarks (478,2) in each camera's picture."""
    at = dam.landmarks478(torch.from_numpy(stage.vertices(frame))[None])[0].numpy()
    return [in_camera(stage, frame, camera, at)[:, :2] for camera in range(4)]


def test_a_network_for_a_model_trains(stage: Studio, model: Path, tmp_path: Path) -> None:
    seen = []
    settings = dam_training(network_config(Dam.load(model), replace(SMALL, perceptual=None)), steps=20)
    out = train_on_capture(
        stage, Dam.load(model), tmp_path / "w.safetensors", settings, lambda s, n, terms: seen.append(terms)
    )
    assert np.isfinite(list(seen[0].values())).all() and "view" in seen[0]
    trained = load_network(out)
    codes = trained(None, torch.rand(2, 478, 2) * 256)
    assert codes.z.shape == (2, 128) and codes.subject.shape == (2, 0)
    assert trained.config.decoder == Dam.load(model).hash


def test_tracking_with_a_model(model: Path, network: Path, smile: Path, tmp_path: Path) -> None:
    style, two = OverlayConfig(mode="texture"), PersonConfig(samples=2)
    config = TrackConfig(decoder=str(model), duration=0.3, person=two, overlay=True, overlay_style=style)
    track_clip(smile, tmp_path / "out", config)
    track, dam = track_file.load(tmp_path / "out"), Dam.load(model)
    assert track.decoder == "dam" and track.z.shape[1] == 128 and track.identity.shape == (0,)
    assert track.vertices().shape == (len(track), len(dam.mean), 3)
    assert "jawOpen" in track.curves()  # the head's topology: ARKit by the linear map
    assert (tmp_path / "out" / "overlay.mp4").stat().st_size > 0
    with pytest.raises(UserError, match="glb needs fixed blend shapes"):
        export.export(tmp_path / "out", "glb")
    for to in ("csv", "openface"):
        assert len(export.export(tmp_path / "out", to).read_text().splitlines()) == 1 + len(track)


def test_a_format_that_cannot_be_written_is_refused_before_tracking(
    model: Path, network: Path, smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    stages: list[str] = []
    with pytest.raises(UserError, match="glb needs fixed blend shapes"):
        track_clip(
            smile,
            tmp_path / "out",
            TrackConfig(decoder=str(model)),
            progress=lambda stage, done, total: stages.append(stage),
            exports=["csv", "glb"],
        )
    assert not stages and not (tmp_path / "out").exists()
    monkeypatch.setattr("selftrack.adapt.clips.adapt_clip", lambda *arguments: pytest.fail("adapts for nothing"))
    command = ["track", smile, "-o", tmp_path / "out", "--adapt", "--decoder", model, "--export", "csv,glb"]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    with pytest.raises(SystemExit) as stop:
        track.main()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "glb needs fixed blend shapes" in error and error.count("\n") == 1


def test_a_network_for_another_decoder_is_refused(model: Path, network: Path) -> None:
    with pytest.raises(ValueError, match="another decoder"):
        load_model(TrackConfig(weights=str(network)))
    with pytest.raises(ValueError, match="another decoder"):
        load_model(TrackConfig(decoder=str(model), weights=str(WEIGHTS)))
    with pytest.raises(ValueError, match="no such file"):
        load_model(TrackConfig(decoder="nowhere.safetensors"))


def test_adaptation_sees_the_models_own_texture(model: Path, network: Path, smile: Path) -> None:
    """MOTC (Eq. 8) reaches z through the painted texture, also where the observed one does not move."""
    config = TrackConfig(decoder=str(model), duration=1.2)
    used = load_model(config)
    with open_clip(smile, config) as source:
        clip = read_clip(source, used, config, ClipConfig())
    settings = for_personal_model(AdaptConfig(texels=100, groups=2, texture=64))
    trainer = Trainer(clip, used.network, settings, used.decoder)
    step = StepContext(trainer.context, trainer.renew(), trainer.draw())
    prediction, index = step.prediction, step.batch.texels
    some, made, known = model_texture(step, MotcConfig(frames=2))
    assert len(some) == 2 and made.shape == (2, 3, 100) and known.all()
    # the texel under the first index, looked up by hand in the decoded texture
    texture = used.decoder.colour(prediction.z[some], view_of(prediction.pose[some]))
    row, column = ((trainer.face.texels.texel[index[0]] + 0.5) / 64 * 32 - 0.5).round().long().tolist()
    near = texture[:, :, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].flatten(2)
    assert ((made[..., 0] <= near.amax(2) + 1e-5) & (made[..., 0] >= near.amin(2) - 1e-5)).all()
    gradient = torch.autograd.grad(made.sum(), trainer.model.heads.expression[-1].weight)[0]
    assert gradient.abs().max() > 0
    losses = trainer.losses(trainer.renew(), trainer.draw())
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert not {"neutral", "damping", "baseline"} & set(losses)


def test_a_model_of_a_clip_that_is_worse_than_its_mean_texture_is_remarked_upon(
    smile: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(sys, "argv", ["track-train", "dam", "--from-video", str(smile), "-o", "me.safetensors"])
    for texture, lines in ((25.0, 1), (23.0, 2)):
        errors = Reconstruction(0.5, 0.6, texture, 24.0, 24.5, 8)
        monkeypatch.setattr("selftrack.training.personal_model.model_of_clip", lambda *_, errors=errors, **__: errors)
        with pytest.raises(SystemExit):
            train_command.main()
        said = capsys.readouterr().out.splitlines()
        assert len(said) == lines and said[0] == f"me.safetensors: {errors}"
    assert said[1].startswith("note     ") and "texture 23.0 dB, the mean's 24.0" in said[1]


def test_the_commands(stage: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Model and network of a capture as a user makes them; bad input in one line."""

    def train(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["track-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            train_command.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    out = tmp_path / "me.safetensors"
    status, said, _ = train("dam", stage.folder, "-o", out, "--texture", 32, "--steps", 2)
    assert status == 0 and "held-out frames" in said and Dam.load(out).topology.head
    status, said, _ = train("i2znet", "--decoder", out, "--capture", stage.folder, "--steps", 2)
    assert status == 0 and load_network(tmp_path / "me.i2znet.safetensors").config.decoder == Dam.load(out).hash
    for wrong, says in (
        (("dam",), "CAPTURE"),
        (("dam", tmp_path / "nothing"), "no capture there"),
        (("dam", stage.folder, "--texture", 100), "100"),
        (("i2znet", "--decoder", out), "--capture"),
        (("i2znet", "--decoder", tmp_path / "no.safetensors", "--capture", stage.folder), "not a deep appearance"),
    ):
        status, _, error = train(*wrong)
        assert status == 2 and says in error and error.count("\n") == 1
