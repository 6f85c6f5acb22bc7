"""The tracker in one file, run by ONNX Runtime over the bundled clip, against `Tracker` and against torch."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError
from selftrack.tracker.engine import onnx_file
from selftrack.tracker.engine.onnx_file import OPERATORS, OPSET, PRECISIONS, export_tracker
from selftrack.tracker.engine.step import StepInputs, StepOutputs, TrackStep
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.geometry.crop import apply
from selftrack.tracker.model import Model
from selftrack.tracker.network.weights import WITH_STREAMS, ClipFit
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def files(model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One in each precision, of the model traced once."""
    folder, step = tmp_path_factory.mktemp("engine"), TrackStep(model).eval()
    made = onnx_file.traced(step, step.start()._asdict(), StepOutputs._fields, OPSET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "traced", lambda *_: copy.deepcopy(made))
        return {name: export_tracker(model, folder / f"{name}.onnx", name) for name in PRECISIONS}


@pytest.fixture
def single(files: dict[str, Path]) -> Path:
    return files["fp32"]


def session(file: Path) -> Run:
    """ONNX Runtime on one core: inputs by name -> outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runtime = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in runtime.get_outputs()]
    return lambda inputs: dict(zip(names, runtime.run(None, inputs), strict=True))


def in_torch(model: Model) -> Run:
    step = TrackStep(model)

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = step(*(torch.from_numpy(inputs[name]) for name in StepInputs._fields))
        return {name: value.numpy() for name, value in found._asdict().items()}

    return run


def start(model: Model) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in TrackStep(model).start()._asdict().items()}


def looped(run: Run, inputs: dict[str, Any], frames: Sequence[FrameResult], teeth: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of all frames, (T,...) by name, the memory handed on from each to the next."""
    found, last = [], None
    for frame in frames:
        inputs["points"] = apply(frame.crop.astype(float), frame.landmarks.astype(float)).astype(np.float32)[None]
        inputs["crop"], inputs["teeth"] = frame.crop[None], teeth[frame.index][None]
        inputs["seconds"] = np.array([[0 if last is None else frame.time - last]], np.float32)
        found.append(run(inputs))
        last = frame.time
        for name in ("frame_state", "person_state"):
            inputs[name] = found[-1][f"next_{name}"]
    return {name: np.concatenate([outputs[name] for outputs in found]) for name in found[0]}


def curves_of(frames: Sequence[FrameResult]) -> np.ndarray:
    return np.array([[frame.curves[name] for name in ARKIT_NAMES] for frame in frames])


def test_curves_and_pose_are_the_tracker_s(
    model: Model, single: Path, frames: list[FrameResult], teeth: np.ndarray
) -> None:
    """Who is seen is found on the way, as the tracker does."""
    found = looped(session(single), start(model), frames, teeth)
    np.testing.assert_allclose(found["curves"], curves_of(frames), atol=1e-4)
    np.testing.assert_allclose(found["pose"][:, :4], [frame.H[:4] for frame in frames], atol=1e-4)
    np.testing.assert_allclose(found["pose"][:, 4:], [frame.H[4:] for frame in frames], atol=0.01)
    np.testing.assert_allclose(found["image_pose"], [frame.H_image for frame in frames], atol=0.01)
    np.testing.assert_allclose(
        found["identity_found"], [frame.z[model.decoder.identity] for frame in frames], atol=1e-3
    )
    assert found["curves"].std(0).max() > 0.2, "the clip shows a smile"


def test_it_is_torch_s_to_a_ten_thousandth(
    model: Model, single: Path, frames: list[FrameResult], teeth: np.ndarray
) -> None:
    found, expected = (looped(run, start(model), frames, teeth) for run in (session(single), in_torch(model)))
    for name in StepOutputs._fields[:4]:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("precision, most", [("fp16", 1e-4), ("int8", 0.05)])
def test_a_smaller_file_stays_near(
    model: Model, files: dict[str, Path], frames: list[FrameResult], teeth: np.ndarray, precision: str, most: float
) -> None:
    off = np.abs(looped(session(files[precision]), start(model), frames, teeth)["curves"] - curves_of(frames))
    assert off.max() < most and off.mean() < most / 10
    size, whole = (files[name].stat().st_size for name in (precision, "fp32"))
    assert size < 0.6 * whole


def test_a_known_person_is_kept(model: Model, single: Path, frames: list[FrameResult], teeth: np.ndarray) -> None:
    """What was found over the clip, given from the first frame on, is what all frames are tracked with; on top of a
    rest, curves are less by it."""
    run = session(single)
    first = looped(run, start(model), frames, teeth)
    person = {name: first[f"{name}_found"][-1:] for name in ("subject", "identity")}
    known = start(model) | person | {"known": np.ones((1, 1), np.float32)}
    again = looped(run, dict(known), frames, teeth)
    for name, value in person.items():
        np.testing.assert_array_equal(again[f"{name}_found"], np.repeat(value, len(frames), 0))
    np.testing.assert_allclose(again["curves"][-1], first["curves"][-1], atol=0.02)
    smile = ARKIT_NAMES.index("mouthSmileLeft")
    rest = np.zeros((1, 52), np.float32)
    rest[0, smile] = 0.3
    above = looped(run, known | {"rest": rest}, frames, teeth)["curves"][:, smile]
    most = again["curves"][:, smile].argmax()
    assert 0.1 < again["curves"][most, smile] - above[most] < 0.4


@pytest.mark.parametrize("larger, shown", [(4.0, False), (1.0, False), (1.0, True)])
def test_an_opening_that_the_crop_hardly_shows_tells_nothing_of_the_jaw(
    model: Model, frames: list[FrameResult], larger: float, shown: bool
) -> None:
    """However many pixels the image has of it."""
    run, inputs = in_torch(model), start(model)
    frame = frames[len(frames) // 2]
    inputs["points"] = apply(frame.crop.astype(float), frame.landmarks.astype(float)).astype(np.float32)[None]
    inputs["crop"] = frame.crop[None] / np.float32(larger * np.linalg.norm(frame.crop[0, :2]))
    nothing = run(inputs)["curves"]
    inputs["teeth"] = np.array([[0.8, 0.0, 20.0 if shown else 2.9]], np.float32)
    changed = np.abs(run(inputs)["curves"] - nothing).max()
    assert changed > 0.01 if shown else changed == 0


def test_a_lost_face_is_not_followed(model: Model, single: Path, frames: list[FrameResult], teeth: np.ndarray) -> None:
    """Without seconds, what the frame before was does not count."""
    run, inputs = session(single), start(model)
    looped(run, inputs, frames[:1], teeth)
    inputs["seconds"] = np.zeros((1, 1), np.float32)
    expected = run(inputs)
    inputs["frame_state"] = np.full_like(inputs["frame_state"], 0.7)
    for name in ("curves", "pose", "next_frame_state"):
        np.testing.assert_array_equal(run(inputs)[name], expected[name])


def test_an_adapted_model_brings_its_person(
    model: Model, points_alone: Callable[[Model], Tracker], smile: Path, teeth: np.ndarray, tmp_path: Path
) -> None:
    """The file of an adaptation names the person, and with that it is the adapted tracker, which believes its network
    more."""
    rng = np.random.default_rng(0)
    subject, identity, rest = (torch.from_numpy(rng.uniform(0, 0.2, n)).float() for n in (112, 60, 52))
    heads = copy.deepcopy(model.network.heads)
    heads.expression[-1].bias.data += 0.05
    adapted = model.adapted(heads, ClipFit("", 0, Subject(subject, identity, 0.7, rest)))
    tracker = points_alone(adapted)
    with open_source(smile, duration=0.4) as source:
        frames = [tracker(frame) for frame in source]
    file = export_tracker(adapted, tmp_path / "adapted.onnx")
    about = {prop.key: prop.value for prop in onnx.load(file).metadata_props}
    person = {name: np.array([value], np.float32) for name, value in json.loads(about["person"]).items()}
    found = looped(session(file), start(adapted) | person | {"known": np.ones((1, 1), np.float32)}, frames, teeth)
    np.testing.assert_allclose(found["curves"], curves_of(frames), atol=1e-4)


def test_only_plain_operators_of_fixed_shapes(files: dict[str, Path]) -> None:
    found = {precision: onnx.load(file) for precision, file in files.items()}
    operators = {precision: {node.op_type for node in file.graph.node} for precision, file in found.items()}
    assert operators["fp32"] == operators["fp16"] == OPERATORS
    assert operators["int8"] <= OPERATORS | {"DynamicQuantizeLinear", "MatMulInteger"}
    for file in found.values():
        assert [(entry.domain, entry.version) for entry in file.opset_import if not entry.domain] == [("", OPSET)]
        assert {node.domain for node in file.graph.node} == {""}
        for value in (*file.graph.input, *file.graph.output):
            assert all(dim.dim_value > 0 for dim in value.type.tensor_type.shape.dim), value.name


def test_the_page_lists_the_operators() -> None:
    page = (Path(__file__).parents[3] / "docs" / "engines.md").read_text(encoding="utf-8")
    listed = " ".join(line for line in page.splitlines() if line.startswith(">"))
    assert set(re.findall(r"\w+", listed)) == OPERATORS


def test_the_file_says_what_it_is(model: Model, single: Path) -> None:
    found = onnx.load(single)
    assert [value.name for value in found.graph.input] == list(StepInputs._fields)
    assert [value.name for value in found.graph.output] == list(StepOutputs._fields)
    about = {prop.key: prop.value for prop in found.metadata_props}
    assert about["curves"].split(",") == list(ARKIT_NAMES)
    assert "person" not in about
    assert all(about[name] for name in ("pose", "axes", "crop", "points", "license", "selftrack", "weights", "decoder"))


def test_a_model_that_does_not_fit_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision must be one of fp32, fp16, int8; got 'fp8'"):
        export_tracker(model, tmp_path / "x.onnx", "fp8")
    with pytest.raises(UserError, match="personal model"):
        export_tracker(replace(model, refiner=None), tmp_path / "x.onnx")
    with pytest.raises(UserError, match="reads pictures"):
        export_tracker(Model.load(WITH_STREAMS, device="cpu"), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "traced", lambda *_: pytest.fail("the model was traced"))
    with pytest.raises(UserError, match=r"cannot be written \(Is a directory\); name another place"):
        export_tracker(model, tmp_path)
    with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\); name another place"):
        export_tracker(model, tmp_path / "none" / "x.onnx")
    assert not list(tmp_path.iterdir())
