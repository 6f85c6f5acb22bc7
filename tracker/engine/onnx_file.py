"""ONNX files of torch modules, and of the tracker in one.

They have fixed shapes and plain operators alone (`OPERATORS`), no loops and no branches, so that ONNX Runtime, Unreal's
NNE, Unity's Sentis and ONNX Runtime Web read them.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.errors import UserError, of_extra
from selftrack.io import atomic_path, file_hash
from selftrack.tracker.engine.step import StepOutputs, TrackStep
from selftrack.tracker.model import Model
from selftrack.tracker.refinement.subject import Subject

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

OPSET = 15
"""Version of the operators."""
OPERATORS = frozenset(
    "Abs Add And Atan Cast Clip Concat Cos Div Equal Erf Exp Flatten Floor Gather Gemm Greater GreaterOrEqual "
    "Less LessOrEqual Log MatMul Max Min Mul Neg Or Pow Reciprocal ReduceL2 ReduceMax ReduceMean ReduceSum Reshape "
    "Sign Sin Slice Split Sqrt Squeeze Sub TopK Transpose Unsqueeze Where".split()
)
"""What a file of the tracker in single precision consists of."""
PRECISIONS = ("fp32", "fp16", "int8")
_NETWORK = ("heads.", "before.")  # begin the names of the network's weights


def export_tracker(model: Model, path: Path, precision: str = "fp32") -> Path:
    """Write the tracker from the detected points on as one ONNX file, see `TrackStep`.

    Args:
        model: on the CPU.
        path: of the file.
        precision: of the network: fp32; fp16, of its weights alone; or int8, of its layers' weights and products. The
            rest is always in single precision: least squares need it.

    Raises:
        UserError: the model reads pictures, or drives no ARKit shapes; no such precision; a package is missing; the
            file cannot be written.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    step = TrackStep(model).eval()
    with of_extra("onnx"):
        import onnx
    with atomic_path(path) as part:  # first, since tracing takes its time
        found = traced(step, step.start()._asdict(), StepOutputs._fields, OPSET)
        found = _in_precision(found, precision)
        onnx.helper.set_model_props(found, _about(model, step, precision))
        onnx.checker.check_model(found, full_check=True)
        part.write_bytes(found.SerializeToString())
    return path


def traced(module: nn.Module, inputs: dict[str, Tensor], outputs: Sequence[str], opset: int) -> ModelProto:
    """The ONNX model of a torch module: its operators in the order in which these inputs make it compute.

    Args:
        module: in evaluation mode; it takes and gives tensors of fixed shapes.
        inputs: of a call, by name.
        outputs: names.
        opset: version of the operators.

    Raises:
        UserError: the package onnx is missing.
    """
    with of_extra("onnx"):
        import onnx
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the shapes that it takes for constants are meant so
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
        )
        model = onnx.load(file)
    _share_constants(model)
    return model


def _share_constants(model: ModelProto) -> None:
    """Keep each constant once, with the weights."""
    graph, constants, nodes = model.graph, list(model.graph.initializer), []
    for node in graph.node:
        if node.op_type == "Constant":
            node.attribute[0].t.name = node.output[0]
            constants.append(node.attribute[0].t)
        else:
            nodes.append(node)
    kept: dict[bytes, TensorProto] = {}
    name_of: dict[str, str] = {}
    for constant in constants:
        name, constant.name = constant.name, ""
        first = kept.setdefault(constant.SerializeToString(), constant)
        first.name = first.name or name
        name_of[name] = first.name
    for node in nodes:
        node.input[:] = [name_of.get(name, name) for name in node.input]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept.values())
    graph.node.extend(nodes)


def _in_precision(model: ModelProto, precision: str) -> ModelProto:
    """The model with the weights of the network's layers, but nothing else, in a precision."""
    weights = {w.name for w in model.graph.initializer if w.name.startswith(_NETWORK)}
    layers = [node for node in model.graph.node if node.op_type == "Gemm" and weights.intersection(node.input)]
    if precision == "fp16":
        _halve(model, {layer.input[1] for layer in layers})
    return _in_bytes(model, [layer.name for layer in layers]) if precision == "int8" else model


def _halve(model: ModelProto, weights: set[str]) -> None:
    """Keep some weights in half precision; sums stay in single precision.

    The files that networks are loaded from are in half precision, too, so that this loses nothing.
    """
    with of_extra("onnx"):
        from onnx import TensorProto, helper, numpy_helper
    graph = model.graph
    for weight in [weight for weight in graph.initializer if weight.name in weights]:
        half = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{weight.name}.half")
        graph.initializer.remove(weight)
        graph.initializer.append(half)
        cast = helper.make_node("Cast", [half.name], [weight.name], f"{weight.name}.single", to=TensorProto.FLOAT)
        graph.node.insert(0, cast)


def _in_bytes(model: ModelProto, layers: list[str]) -> ModelProto:
    """Compute some layers in eight bits."""
    with of_extra("onnx"):
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.onnx_model import ONNXModel
    ONNXModel(model).replace_gemm_with_matmul()  # the tool knows products alone
    names = {f"{layer}_MatMul" for layer in layers}
    named = [node.name for node in model.graph.node if node.name in names]
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        with _quietly():
            quantize_dynamic(before, after, weight_type=QuantType.QInt8, per_channel=True, nodes_to_quantize=named)
        return onnx.load(after)


@contextmanager
def _quietly() -> Iterator[None]:
    """Hold back the advice that a tool logs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _about(model: Model, step: TrackStep, precision: str) -> dict[str, str]:
    """What an engine should know of a file."""
    about = {
        "curves": ",".join(ARKIT_NAMES),
        "points": f"{step.points} points of the detector {'mediapipe' if step.points > 68 else 'fan'}, in its order",
        "pose": "f,rx,ry,rz,tx,ty: exp(f) pixels per metre; R = Rz Ry Rx, radians; tx, ty pixels",
        "axes": "pictures: x right, y down, the centre of the top-left pixel is 0,0; head: metres, x to the image's "
        "right, y down, z away from the camera; left and right in names are the subject's own",
        "crop": "256x256 pixels; the input of that name takes image pixels to crop pixels",
        "precision": precision,
        "selftrack": version("selftrack"),
        "weights": f"{model.weights.name} {file_hash(model.weights)[:16]}",
        "decoder": f"{model.decoder.name} {model.decoder.hash}",
        "license": "Apache-2.0; shapes of the head: CC0-1.0 (MakeHuman) and MIT (ICT-FaceKit, Copyright (c) 2020 USC "
        "Institute for Creative Technologies); moments of motion: MIT (alexdjulin/LiveLinkFace-CSV-Retarget)",
    }
    if model.fit is not None:
        about["person"] = json.dumps(person_of(model.fit.subject))
    return about


def person_of(subject: Subject) -> dict[str, list[float]]:
    """The inputs by name that say who is seen."""
    return {
        "subject": subject.network.tolist(),
        "identity": subject.identity.tolist(),
        "rest": subject.rest.tolist(),
        "inverse_distance": [subject.inverse_distance],
    }
