"""`adapt`: a new model and a verdict; what it was made from stays as it was."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.adapt.frames.clip import ClipConfig
from selftrack.adapt.learning.loop import Adaptation
from selftrack.adapt.learning.trainer import KEYS, AdaptConfig, Trainer
from selftrack.adapt.run import Reading, adapt, load_preset, read
from selftrack.adapt.verdict import Verdict
from selftrack.errors import UserError
from selftrack.io import json_text
from selftrack.tracker.clips.subjects import PersonConfig, find_in_clip
from selftrack.tracker.model import Model
from selftrack.tracker.network.i2znet import I2ZNet
from selftrack.tracker.network.weights import ClipFit, save_heads
from selftrack.tracker.refinement.keys import KeyFrames
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker, TrackerConfig

FEW = PersonConfig(samples=4)
SHORT, LONGER = 0.8, 1.2
"""Seconds of the bundled clip: enough to learn from, and for skin points."""


@pytest.fixture(scope="module")
def quick() -> AdaptConfig:
    return load_preset().changed(steps=40, evaluate=20, refresh=20, groups=3, texels=300)


@pytest.fixture(scope="module")
def brief(quick: AdaptConfig) -> AdaptConfig:
    """Where it does not matter how far the steps lead."""
    return quick.changed(steps=4, evaluate=2, refresh=2)


@pytest.fixture(scope="module")
def bundled() -> Model:
    """The bundled model; nobody may change it."""
    return Model.load(device="cpu")


@pytest.fixture(scope="module")
def part(bundled: Model, smile: Path, quick: AdaptConfig) -> Reading:
    """What an adaptation of that model takes from the beginning of the bundled clip."""
    with open_source(smile, duration=SHORT) as source:
        return read(bundled, source, quick, TrackerConfig(), FEW)


def tracked(model: Model, clip: Path) -> Track:
    tracker = Tracker(model)
    with open_source(clip, duration=0.1) as source:
        for frame in source:
            tracker(frame)
    return tracker.finish()


def write_off(network: I2ZNet, folder: Path) -> Path:
    """Write weights of a network that says four fifths of how the head moves: there is something to gain."""
    heads = copy.deepcopy(network.heads)
    heads.linear.pose.weight.data *= 0.8
    path = folder / "off.safetensors"
    save_heads(path, network, heads.state_dict(), {})
    return path


@pytest.fixture(scope="module")
def off(network: I2ZNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such weights, from the bundled network."""
    return write_off(network, tmp_path_factory.mktemp("off"))


@pytest.fixture(scope="module")
def reading_off(off: Path, smile: Path, quick: AdaptConfig) -> Reading:
    """What an adaptation of the network of those weights takes from the whole bundled clip, whose held-out frames are
    enough for skin points."""
    with open_source(smile) as source:
        return read(Model.load(off, device="cpu"), source, quick, TrackerConfig(), FEW)


@pytest.mark.parametrize("maps", [False, True])
def test_the_model_that_it_is_made_from_stays(
    smile: Path, quick: AdaptConfig, with_streams: I2ZNet, tmp_path: Path, maps: bool
) -> None:
    """Its weights, what it tracks, and that of the adapted model's un-adapted one; the file gives the same again. With
    the maps kept, the convolutions that compress them are adapted, too."""
    off = write_off(with_streams, tmp_path)
    model = replace(Model.load(off, device="cpu"), refiner=None)  # it would take the head back to its place
    weights, before = copy.deepcopy(model.network.state_dict()), tracked(model, smile)
    with open_source(smile, duration=LONGER) as source:
        adapted, verdict = adapt(model, source, replace(quick, clip=ClipConfig(maps=maps)), person=FEW)
    compress = adapted.network.heads.levels[0].compress[0].weight
    assert torch.equal(compress, weights["heads.levels.0.compress.0.weight"]) != maps
    assert all(torch.equal(value, weights[name]) for name, value in model.network.state_dict().items())
    assert verdict.kept and adapted is not model and adapted.unadapted() is model
    assert verdict.after.landmarks < 0.8 * verdict.before.landmarks and verdict.history[-1]["step"] == verdict.steps
    for again in (tracked(model, smile), tracked(adapted.unadapted(), smile)):
        np.testing.assert_array_equal(again.z, before.z)
    after = tracked(adapted, smile)
    assert np.abs(after.z - before.z).max() > 0.01
    adapted.save(tmp_path / "adapted.safetensors")
    loaded = Model.load(tmp_path / "adapted.safetensors", device="cpu")
    loaded = replace(loaded, refiner=None, base=replace(loaded.unadapted(), refiner=None))
    np.testing.assert_array_equal(tracked(loaded, smile).z, after.z)
    np.testing.assert_array_equal(tracked(loaded.unadapted(), smile).z, before.z)
    with open_source(smile) as source, pytest.raises(UserError, match="have been adapted already"):
        adapt(loaded, source, quick)


@pytest.mark.parametrize("refined", [False, True])
def test_where_it_diverges_the_network_is_left_as_it_was(
    smile: Path, quick: AdaptConfig, bundled: Model, part: Reading, refined: bool
) -> None:
    """Without a refinement there is nothing else to gain by, and the model is returned itself."""
    model, reading = (bundled, part) if refined else (replace(bundled, refiner=None), replace(part, subject=None))
    config = replace(quick, rate=1.0, rate_clip=1.0, steps=10, evaluate=5)
    with open_source(smile, duration=SHORT) as source:
        result, verdict = adapt(model, source, config, reading=reading)
    heads = result.network.heads.state_dict().items()
    assert all(torch.equal(value, model.network.heads.state_dict()[name]) for name, value in heads)
    assert not (verdict.kept and verdict.trained)
    assert refined or (result is model and not verdict.kept and "no better" in str(verdict))


@pytest.mark.parametrize(("refined", "rate", "steps"), [(True, 1e-9, 4), (False, 4e-4, 40), (False, 1.0, 10)])
def test_a_result_is_kept_until_it_is_used(
    smile: Path,
    quick: AdaptConfig,
    off: Path,
    reading_off: Reading,
    tmp_path: Path,
    refined: bool,
    rate: float,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next run with the same settings reads no clip and returns the same; with others it adapts anew."""
    model = Model.load(off, device="cpu")
    model = model if refined else replace(model, refiner=None)
    reading, duration = replace(reading_off, subject=None), None
    if refined:  # key frames help soon
        duration = LONGER
        with open_source(smile, duration=duration) as source:
            reading = read(model, source, quick, TrackerConfig(), FEW)
    config = replace(quick, rate=rate, steps=steps, evaluate=steps // 2)
    checkpoint, said = tmp_path / "a" / "c", list[str]()
    with open_source(smile, duration=duration) as source:
        first, verdict = adapt(model, source, config, checkpoint=checkpoint, say=said.append, reading=reading)
    assert said == [] and verdict.kept == (rate < 1) and (verdict.trained and verdict.kept) == (rate == 4e-4)
    monkeypatch.setattr("selftrack.adapt.run.read", lambda *_: pytest.fail("reads the clip"))
    monkeypatch.setattr("selftrack.adapt.run._prepared", lambda *_: pytest.fail("adapts anew"))
    with open_source(smile, duration=duration) as source:
        again, same = adapt(model, source, config, checkpoint=checkpoint, say=said.append)
        with pytest.raises(pytest.fail.Exception, match="adapts anew"):
            adapt(model, source, replace(config, seed=1), checkpoint=checkpoint, reading=reading)
    assert len(said) == 1 and said[0].startswith("resuming after the adaptation") and str(checkpoint) in said[0]
    assert json_text(same.report()) == json_text(verdict.report()) and str(same) == str(verdict)
    assert (again is model) == (first is model) == (not verdict.kept)
    for a, b in zip(*(m.network.state_dict().values() for m in (first, again)), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(tracked(again, smile).z, tracked(first, smile).z)
    if verdict.kept:
        assert len(first.fit.windows) == len(again.fit.windows) and again.unadapted() is model
        assert refined or first.fit.windows
        for a, b in zip(first.fit.windows, again.fit.windows, strict=True):
            assert a.start == b.start and a.iod == b.iod and np.array_equal(a.paths, b.paths)
        assert checkpoint.stat().st_size < 1.1 * first.save(tmp_path / "adapted.safetensors").stat().st_size + 1e5


def test_a_clip_may_be_read_elsewhere(
    smile: Path, brief: AdaptConfig, bundled: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another process, say; the adaptation is the same."""
    model = replace(bundled, refiner=None)
    with open_source(smile, duration=SHORT) as source:
        reading = pickle.loads(pickle.dumps(read(model, source, brief, TrackerConfig(), FEW)))
        here, verdict = adapt(model, source, brief, person=FEW)
        monkeypatch.setattr("selftrack.adapt.run.read_clip", lambda *_: pytest.fail("reads it"))
        there, same = adapt(model, source, brief, person=FEW, reading=reading)
    assert json_text(same.report()) == json_text(verdict.report())
    for a, b in zip(*(m.network.state_dict().values() for m in (here, there)), strict=True):
        assert torch.equal(a, b)


def test_ctrl_c_before_the_verdict_loses_no_adaptation(
    smile: Path, quick: AdaptConfig, bundled: Model, part: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the steps have ended, by themselves or by Ctrl-C, the next run takes none."""
    model, reading = replace(bundled, refiner=None), replace(part, subject=None)
    said, steps, checkpoint = list[str](), list[int](), tmp_path / "c"

    def stop(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if stage == "adapting":
            steps.append(done)
            if done == 2:
                raise KeyboardInterrupt

    def run() -> Verdict:
        with open_source(smile, duration=SHORT) as source:
            return adapt(model, source, quick, None, stop, checkpoint, say=said.append, reading=reading)[1]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("selftrack.adapt.run.judge", press)
        run()
    assert said == ["ended at step 2 of 40; going on with the best state so far; Ctrl-C ends the run"]
    assert run().steps == 2 and steps == [1, 2]
    assert said[1].startswith("resuming at step 2 of 40, where the adaptation had ended; delete ") and len(said) == 2


def press(*_: object) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def test_one_identity_per_frame_cannot_be_adapted(smile: Path, bundled: Model) -> None:
    with open_source(smile) as source, pytest.raises(UserError, match="one identity"):
        adapt(bundled, source, tracking=TrackerConfig(identity="per-frame"))


@pytest.mark.parametrize("refined", [True, False])
def test_the_identity_is_learned_where_the_points_have_not_told_it(
    quick: AdaptConfig, bundled: Model, part: Reading, tmp_path: Path, refined: bool
) -> None:
    """An identity that moves on takes the eyes along, and the gaze."""
    refiner = bundled.refiner if refined else None
    trainer = Trainer(part.clip, bundled.network, quick.changed(steps=2), bundled.decoder, refiner)
    before = trainer.model.identity.detach().clone()
    Adaptation(trainer, [])(lambda *_: None, tmp_path / "checkpoint", {})
    assert torch.equal(trainer.model.identity, before) == refined


def test_the_tracker_places_the_face_as_the_adaptation_does(
    smile: Path, quick: AdaptConfig, bundled: Model, part: Reading
) -> None:
    """Frame by frame, with the points' correction of the adapted network and its camera."""
    model = bundled
    trainer = Trainer(part.clip, model.network, quick, model.decoder, model.refiner)
    learned = trainer.model
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        learned.identity += 0.3
        learned.inverse_distance += 0.5
        for bias in (learned.heads.expression[-1].bias, learned.heads.pose[-1].bias):
            bias += 0.05 * torch.randn(bias.shape, generator=generator)
        learned.heads.load_state_dict({k: v.half().float() for k, v in learned.heads.state_dict().items()})
        expected, subject, keys = trainer.tracked()
    fit = ClipFit("", 0, subject, keys=keys)
    track = tracked(model.adapted(copy.deepcopy(learned.heads), fit), smile)
    expected = expected.select(torch.arange(len(track)))
    own = slice(0, model.decoder.expression.stop)
    np.testing.assert_allclose(track.z[:, own], expected.z[:, own].numpy(), atol=2e-3)
    np.testing.assert_allclose(track.H_image[:, :4], expected.pose_image[:, :4].numpy(), atol=2e-3)
    curves = track.z[:, model.decoder.expression]
    assert curves.min() >= 0 and curves.max() <= 1
    assert np.abs(curves - tracked(model, smile).z[:, model.decoder.expression]).max() > 0.02


def test_key_frames_alone_help_and_are_kept_in_the_file(
    smile: Path, brief: AdaptConfig, bundled: Model, tmp_path: Path
) -> None:
    """Where training gains nothing: the network is the un-adapted one, and the file gives the same track again."""
    model = bundled
    with open_source(smile, duration=LONGER) as source:
        adapted, verdict = adapt(model, source, replace(brief, rate=1e-9), person=FEW)
    assert verdict.kept and not verdict.trained and verdict.after.skin < verdict.before.skin
    heads, before = adapted.network.heads.state_dict(), model.network.heads.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in heads.items())
    assert 15 < len(adapted.fit.keys) <= KEYS
    with open_source(smile, duration=LONGER) as source:
        subject, *_ = find_in_clip(source, model, TrackerConfig(), FEW)
    assert torch.equal(adapted.fit.subject.identity, subject.identity)  # nor is it that of the training
    loaded = Model.load(adapted.save(tmp_path / "adapted.safetensors"), device="cpu")
    assert not loaded.fit.trained
    after = tracked(adapted, smile)
    np.testing.assert_array_equal(tracked(loaded, smile).z, after.z)
    assert np.abs(after.z - tracked(model, smile).z).max() > 1e-3
    assert loaded.elsewhere().fit is None


def test_key_frames_that_lie_beside_the_face_are_refused(
    smile: Path, brief: AdaptConfig, bundled: Model, part: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by pixels of its own: the skin would jump between them."""
    made, generator = Trainer._key_frames, np.random.default_rng(0)

    def beside(*args: object) -> KeyFrames:
        keys = made(*args)
        off = generator.normal(0, 3, (len(keys), 1, 2)).astype(np.float32)
        return KeyFrames(*keys[:-1], keys.placed + off)

    monkeypatch.setattr(Trainer, "_key_frames", beside)
    with open_source(smile, duration=SHORT) as source:
        model, verdict = adapt(bundled, source, replace(brief, rate=1e-9), reading=part)
    assert model is bundled and not verdict.kept and not verdict.trained and verdict.against


def test_skin_points_are_of_all_frames_and_none_of_both_kinds(reading_off: Reading) -> None:
    """Of held-out frames and of others."""
    held, rows = (
        set(reading_off.clip.split.held.tolist()),
        [set(range(window.start, window.start + window.paths.shape[1])) for window in reading_off.windows],
    )
    assert all(some <= held or not some & held for some in rows)
    assert any(some <= held for some in rows) and any(not some & held for some in rows)
    assert len(set.union(*rows)) == sum(map(len, rows)) > 0.5 * len(reading_off.clip)


def test_held_out_frames_are_no_key_frames(quick: AdaptConfig, bundled: Model, part: Reading) -> None:
    """Until the verdict has been given."""
    clip = part.clip
    trainer = Trainer(clip, bundled.network, quick, bundled.decoder, bundled.refiner)
    train = clip.times[trainer.train_rows]
    for keys in (trainer.keyed.keys, trainer.tracked().keys):
        assert set(keys.times) <= set(train)
    assert set(trainer.key_frames(trainer.keyed).times) > set(train)


def test_the_reference_of_the_adaptation_is_the_refined_track(
    smile: Path, quick: AdaptConfig, bundled: Model, part: Reading
) -> None:
    """What the verdict calls un-adapted is what a tracker says of the clip with the same subject."""
    trainer = Trainer(part.clip, bundled.network, quick, bundled.decoder, bundled.refiner)
    tracker = Tracker(bundled, subject=trainer.model.subject())
    with open_source(smile, duration=0.2) as source:
        rows = [tracker(frame) for frame in source]
    said = trainer.unadapted.said
    own = slice(0, bundled.decoder.expression.stop)
    np.testing.assert_allclose(np.stack([row.z[own] for row in rows]), said.z[: len(rows), own], atol=2e-3)
    np.testing.assert_allclose(
        np.stack([row.H_image for row in rows]), said.pose_image[: len(rows)], rtol=1e-3, atol=2e-3
    )
