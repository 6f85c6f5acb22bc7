"""The loop on a synthetic clip: a textured head that moves, an un-adapted network that errs."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.adapt import losses
from selftrack.adapt.clip import Clip, ClipConfig, Pixels
from selftrack.adapt.held_out import held_out_error
from selftrack.adapt.loop import Adaptation
from selftrack.adapt.split import split_rows
from selftrack.adapt.trainer import AdaptConfig, Trainer
from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.rasterizer import interpolate, rasterize
from selftrack.tracker.geometry.crop import apply, face_similarity, inter_ocular, warp
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.network.i2znet import I2ZNet, load_model, to_tensor

SIZE = (160, 160)
QUICK = AdaptConfig(steps=6, groups=2, texels=200, texture=64, refresh=3, evaluate=3)


def render(vertices: torch.Tensor) -> np.ndarray:
    """(H,W,3) uint8 head in its mean texture on grey."""
    head = load_head()
    fragments = rasterize(vertices[None], head.faces, SIZE)
    uvs = interpolate(head.uvs, head.uv_faces, fragments)
    colour = torch.nn.functional.grid_sample(head.mean_texture[None], 2 * uvs - 1, align_corners=False)[0]
    seen = fragments.face_index[0] >= 0
    return (255 * torch.where(seen, colour, 0.5)).byte().permute(1, 2, 0).numpy()


@pytest.fixture(scope="module")
def network() -> I2ZNet:
    return load_model()


@pytest.fixture(scope="module")
def clip(network: I2ZNet) -> Clip:
    """24 frames of the mean head that turns, nods and opens its jaw; points without error."""
    head, count = load_head(), 24
    phase = torch.linspace(0, 2 * torch.pi, count)
    z = torch.zeros(count, 128)
    z[:, 60 + head.expression_names.index("jawOpen")] = 0.3 * (1 - phase.cos())
    pose = torch.tensor([6.1, 0, 0, 0, 80, 75]).repeat(count, 1)
    pose[:, 1], pose[:, 2] = 0.1 * phase.sin(), 0.2 * phase.cos()
    vertices = project(head.geometry(z), pose)
    points = head.landmarks478(vertices)[..., :2]
    pixels, pictures, transforms, placed = Pixels(), [], [], []
    for mesh, at in zip(vertices, points.numpy(), strict=True):
        frame = render(mesh)
        pixels.add(frame, at, float(inter_ocular(at)), ClipConfig())
        transforms.append(face_similarity(at))
        pictures.append(warp(frame, transforms[-1]))
        placed.append(apply(transforms[-1], at))
    pixels.close()
    images = to_tensor(torch.from_numpy(np.stack(pictures)))
    with torch.no_grad():
        at = torch.from_numpy(np.stack(placed)).float()
        compressed = network.compressed(images, at, network.perceive(images))
    return Clip(
        rows=np.arange(count),
        shot=np.zeros(count, int),
        points=points,
        iod=torch.from_numpy(inter_ocular(points.numpy())),
        transform=torch.from_numpy(np.stack(transforms)).float(),
        compressed=compressed,
        pixels=pixels,
        size=SIZE[::-1],
        total=count,
        split=split_rows(count),
    )


def test_held_out_frames_take_no_part(clip: Clip, network: I2ZNet) -> None:
    """Not in pairs; and what their pixels and points are changes nothing that is learned from."""
    trainer = Trainer(clip, network, QUICK)
    held = set(trainer.select_rows.tolist()) | set(trainer.report_rows.tolist())
    assert held and not held & set(trainer.groups.flatten().tolist())
    other = replace(clip, points=clip.points.clone(), pixels=copy.deepcopy(clip.pixels))
    other.points[sorted(held)] += 20
    ends = [*clip.pixels.start[1:].tolist(), len(clip.pixels.values)]
    for row in held:
        other.pixels.values[clip.pixels.start[row] : ends[row]] = 255
    a, b = trainer.renew(), Trainer(other, network, QUICK).renew()
    assert torch.allclose(a.offset, b.offset, atol=1e-4) and torch.allclose(a.texture, b.texture, atol=1e-4)
    assert torch.allclose(a.rest, b.rest, atol=1e-5) and a.contrast == b.contrast


def test_a_face_that_mostly_smiles_keeps_its_neutral(clip: Clip, network: I2ZNet) -> None:
    """The pull on the calmest frames is on all curves but the eyes', and on no other frame."""
    trainer = Trainer(clip, network, QUICK)
    rows = trainer.train_rows
    trainer.calm = torch.zeros(len(clip))
    trainer.calm[rows[0]] = 1
    curves = torch.zeros(len(rows), 52)
    curves[0, ARKIT_NAMES.index("mouthPucker")] = 0.5
    curves[0, ARKIT_NAMES.index("eyeBlinkLeft")] = 1.0
    curves[1:] = 0.9
    assert trainer._neutral(curves, rows).item() == pytest.approx(0.25)


def test_pairs_keep_to_their_shot_and_distance(clip: Clip, network: I2ZNet) -> None:
    cut = replace(clip, shot=(np.arange(24) >= 9).astype(int))
    trainer, seen = Trainer(cut, network, QUICK), set()
    for _ in range(200):
        rows, pairs, *_ = trainer.draw()
        late, early = rows[pairs].unbind(1)
        seen |= set((late - early).tolist())
        assert not ((early < 9) & (late >= 9)).any()
    assert seen == {1, 2, 4, 5, 6}  # of 1, 2, 6, 12 and their differences, what fits into nine and ten frames


def test_the_truth_has_less_texture_loss_than_a_slide(clip: Clip, network: I2ZNet) -> None:
    """Against the true codes, a pose that lags a frame behind changes the observed texture."""
    head, count = load_head(), len(clip)
    trainer = Trainer(clip, network, QUICK)

    def texture_error(pose: torch.Tensor, z: torch.Tensor) -> float:
        trainer.model.forward = lambda clip, rows: type(trainer.before)(z[rows], pose[rows], pose[rows])
        return held_out_error(trainer, torch.arange(count), []).texture

    phase = torch.linspace(0, 2 * torch.pi, count)
    z = torch.zeros(count, 128)
    z[:, 60 + head.expression_names.index("jawOpen")] = 0.3 * (1 - phase.cos())
    pose = torch.tensor([6.1, 0, 0, 0, 80, 75]).repeat(count, 1)
    pose[:, 1], pose[:, 2] = 0.1 * phase.sin(), 0.2 * phase.cos()
    shaken = pose.clone()
    shaken[::2, 4] += 1.0
    assert texture_error(pose, z) < 0.5 * texture_error(shaken, z)


def test_gradients_reach_what_is_trained_and_nothing_else(clip: Clip, network: I2ZNet) -> None:
    trainer = Trainer(clip, network, QUICK)
    before = {k: v.clone() for k, v in network.heads.state_dict().items()}
    terms = trainer.losses(trainer.renew(), trainer.draw())
    sum(terms).backward()
    model = trainer.model
    assert model.identity.grad.abs().sum() > 0 and model.colour.grad.abs().sum() > 0
    assert model.inverse_distance.grad.abs() > 0
    silent = {".".join(n.split(".")[:-1]) for n, p in model.heads.named_parameters() if p.grad is None}
    frozen = {n for n in silent if n.startswith(("first.", "levels.")) and "to_" not in n}
    assert silent == frozen | {"trust"} and {"first.0", "levels.0.compress.0", "levels.2.compress.2"} <= frozen
    assert all(torch.equal(v, before[k]) for k, v in network.heads.state_dict().items())


def test_confidences_pull_only_when_they_are_not_detached(clip: Clip, network: I2ZNet) -> None:
    """The value is the same, the gradient is not; and the cosine is that of the confidences."""
    gradients, values = [], []
    for detached in (True, False):
        trainer = Trainer(clip, network, replace(QUICK, detached=detached))
        term = trainer.losses(trainer.renew(), trainer.draw()).cftc
        term.backward()
        values.append(term.item())
        gradients.append(trainer.model.identity.grad.clone())
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert (gradients[0] - gradients[1]).norm() > 1e-3 * gradients[0].norm()
    with torch.no_grad():
        corners = trainer.face.texels.corners[:64]
        placed = trainer.vertices(trainer.before)[:1, corners]
        seen = trainer.renew().seen[:1, :64]
    good = seen > 0.5
    assert torch.allclose(losses.facing(placed)[good], seen[good], atol=0.15)  # flat triangles, smooth normals


def test_texture_gradient_is_that_of_finite_differences(clip: Clip, network: I2ZNet) -> None:
    """CFTC as a function of the identity, through the whole chain; visibility, weights and exposure held."""
    config = replace(QUICK, exposure=False, occlusion=1e6, texels=2000)
    trainer = Trainer(clip, network, config)
    state, drawn = trainer.renew(), trainer.draw()
    state.seen = (state.seen > 0.5).float()
    trainer.losses(state, drawn).cftc.backward()
    slope = trainer.model.identity.grad.clone()
    direction = slope / slope.norm()
    start, values = trainer.model.identity.data.clone(), []
    for step in (-0.02, 0.02):
        trainer.model.identity.data = start + step * direction
        with torch.no_grad():
            values.append(trainer.losses(state, drawn).cftc.item())
    assert (values[1] - values[0]) / 0.04 == pytest.approx(slope.norm().item(), rel=0.25)


def test_adaptation_improves_and_repeats_itself(clip: Clip, network: I2ZNet, tmp_path: Path) -> None:
    """A network that places the head off comes closer on held-out frames, and two runs agree to the bit."""
    off, ends = copy.deepcopy(network), []
    off.heads.pose[-1].bias.data += torch.tensor([0.3, 0, 0, 0, 0.3, -0.3])
    for name in ("a", "b"):
        run = Adaptation(Trainer(clip, off, replace(QUICK, steps=12)), [])
        run(lambda step, steps, figures: None, tmp_path / name, {})
        ends.append(run)
    first, last = ends[0].history[0], ends[0].history[-1]
    assert last["landmarks"] < 0.8 * first["landmarks"]
    for a, b in zip(*(run.trainer.model.state_dict().values() for run in ends), strict=True):
        assert torch.equal(a, b)


def test_interrupted_and_continued_is_as_never_interrupted(clip: Clip, network: I2ZNet, tmp_path: Path) -> None:
    whole = Adaptation(Trainer(clip, network, QUICK), [])
    whole(lambda *a: None, tmp_path / "whole", {})
    first = Adaptation(Trainer(clip, network, QUICK), [])

    def stop(step: int, steps: int, figures: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first._run(stop, tmp_path / "part", {"x": 1})
    second = Adaptation(Trainer(clip, network, QUICK), [])
    assert not second.resume(tmp_path / "part", {"x": 2})  # other settings begin anew
    assert second.resume(tmp_path / "part", {"x": 1}) and second.step == 3
    second(lambda *a: None, tmp_path / "part", {"x": 1})
    assert second.step == QUICK.steps and second.history[-1]["step"] == QUICK.steps
    for name in ("skin", "texture", "landmarks"):
        assert np.allclose(second.history[-1][name], whole.history[-1][name], rtol=1e-4, equal_nan=True)


def test_ctrl_c_leaves_the_best_so_far(clip: Clip, network: I2ZNet, tmp_path: Path) -> None:
    run = Adaptation(Trainer(clip, network, QUICK), [])

    calls: list[int] = []

    def stop(step: int, steps: int, figures: dict[str, float]) -> None:
        calls.append(step)
        if calls == [1, 2, 3, 4]:
            raise KeyboardInterrupt

    run(stop, tmp_path / "c", {})
    assert run.step == 4
    best = run.best
    assert all(torch.equal(v, best[k]) for k, v in run.trainer.model.state_dict().items())
