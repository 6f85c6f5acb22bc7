"""Runs a floating-point `.tflite` graph whose custom operators LiteRT does not know.

`build_module` rebuilds it as a plain torch module, for batches and GPUs. `LiteModule` cuts it at the custom
operators and lets LiteRT run the rest, which on a CPU is several times faster. Both cover the operators of
small convolutional face models, and the three custom ones of MediaPipe's attention mesh.
Images are (B, H, W, C) in the file and (B, C, H, W) here; every other tensor keeps its layout.
"""

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from torch import Tensor, fx, nn

_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
}
_OPERATOR_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


@dataclass(frozen=True)
class Op:
    """One operator: its kind, the ids of its input tensors and of its one output, and its settings."""

    kind: str
    inputs: tuple[int, ...]
    output: int
    options: dict[str, Any]


@dataclass(frozen=True)
class TfliteGraph:
    """A model as the file has it: operators in order, tensors by id."""

    path: Path
    model: schema.ModelT
    ops: tuple[Op, ...]
    shapes: dict[int, tuple[int, ...]]
    constants: dict[int, np.ndarray]
    inputs: tuple[int, ...]
    outputs: dict[str, int]


@lru_cache(maxsize=4)  # a tenth of a second each, and every model of a face has them
def read_graph(path: Path) -> TfliteGraph:
    """Reads the first subgraph of a `.tflite` file; half-precision weights become single precision. All who ask for one
    file have the same graph, which nobody may change.

    Raises ValueError if the file is no such model.
    """
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a .tflite model; expected the file identifier TFL3")
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    subgraph = model.subgraphs[0]
    constants = {}
    for index, tensor in enumerate(subgraph.tensors):
        buffer = model.buffers[tensor.buffer].data
        if buffer is not None and len(buffer):
            raw = np.asarray(buffer, np.uint8).tobytes()
            constants[index] = np.frombuffer(raw, _DTYPES[tensor.type]).reshape(tuple(tensor.shape))
    ops = []
    for packed in subgraph.operators:
        op = _read_op(packed, model.operatorCodes[packed.opcodeIndex])
        if op.kind == "DEQUANTIZE":
            constants[op.output] = constants[op.inputs[0]].astype(np.float32)
        else:
            ops.append(op)
    return TfliteGraph(
        path=path,
        model=model,
        ops=tuple(ops),
        shapes={index: tuple(map(int, tensor.shape)) for index, tensor in enumerate(subgraph.tensors)},
        constants=constants,
        inputs=tuple(map(int, subgraph.inputs)),
        outputs={subgraph.tensors[index].name.decode(): int(index) for index in subgraph.outputs},
    )


def _read_op(packed: schema.OperatorT, code: schema.OperatorCodeT) -> Op:
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    if builtin == schema.BuiltinOperator.CUSTOM:
        kind = code.customCode.decode()
        raw = packed.customOptions
        options = {} if raw is None else flexbuffers.Loads(np.asarray(raw, np.uint8).tobytes())
    else:
        kind = _OPERATOR_NAMES[builtin]
        options = {} if packed.builtinOptions is None else vars(packed.builtinOptions)
    return Op(kind, tuple(map(int, packed.inputs)), int(packed.outputs[0]), options)


def build_module(graph: TfliteGraph, outputs: Sequence[int]) -> fx.GraphModule:
    """The graph as a module: images (B, C, H, W) -> tuple of the tensors with the ids `outputs`.

    Operators that no output needs are left out. Weights are buffers: frozen, they follow `.to(device)` and
    stay out of the state dict, since the file has them.

    Raises ValueError on an operator, or a setting of one, that this reader does not know.
    """
    builder = _Builder(graph)
    for op in graph.ops:
        if op.kind not in _LOWERINGS:
            raise ValueError(f"operator {op.kind} is not supported; known are {sorted(_LOWERINGS)}")
        if op.options.get("fusedActivationFunction", 0) != schema.ActivationFunctionType.NONE:
            raise ValueError(f"operator {op.kind} has a fused activation; only plain ones are supported")
        builder.values[op.output] = _LOWERINGS[op.kind](builder, op)
    builder.fx.output(tuple(builder.values[index] for index in outputs))
    builder.fx.eliminate_dead_code()
    module = fx.GraphModule(builder.root, builder.fx)  # copies only the buffers that are still used
    for name, tensor in list(module.named_buffers()):
        layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        module.register_buffer(name, tensor.contiguous(memory_format=layout), persistent=False)
    return module.eval()


class _Builder:
    """The torch graph in the making, and what its tensors have become."""

    def __init__(self, graph: TfliteGraph) -> None:
        self.graph = graph
        self.root = nn.Module()
        self.numbers = itertools.count()
        self.fx = fx.Graph()
        self.values: dict[int, fx.Node] = {index: self.fx.placeholder(f"input_{index}") for index in graph.inputs}

    def value(self, index: int) -> fx.Node:
        """The node of a tensor; a constant gets one on first use."""
        if index not in self.values:
            self.values[index] = self.buffer(torch.tensor(self.graph.constants[index]))
        return self.values[index]

    def buffer(self, tensor: Tensor) -> fx.Node:
        name = f"constant_{next(self.numbers)}"
        self.root.register_buffer(name, tensor)
        return self.fx.get_attr(name)

    def call(self, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> fx.Node:
        return self.fx.call_function(function, args, kwargs)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: (before, after), the odd pixel goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _convolution(builder: _Builder, op: Op) -> fx.Node:
    image, kernel, bias = op.inputs
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    if op.options["dilationHFactor"] != 1 or op.options.get("depthMultiplier", 1) != 1:
        raise ValueError(f"{op.kind} with dilation or depth multiplier is not supported: {op.options}")
    axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    weight = torch.tensor(builder.graph.constants[kernel].transpose(axes))
    stride = (op.options["strideH"], op.options["strideW"])
    node, padding = builder.value(image), (0, 0)
    if op.options["padding"] == schema.Padding.SAME:
        sizes = builder.graph.shapes[image][1:3]
        pads = [_same_padding(n, k, s) for n, k, s in zip(sizes, weight.shape[2:], stride, strict=True)]
        if all(before == after for before, after in pads):
            padding = (pads[0][0], pads[1][0])
        else:
            node = builder.call(F.pad, node, (*pads[1], *pads[0]))
    groups = weight.shape[0] if depthwise else 1
    return builder.call(
        F.conv2d,
        node,
        builder.buffer(weight),
        builder.value(bias),
        stride=stride,
        padding=padding,
        groups=groups,
    )


def _prelu(builder: _Builder, op: Op) -> fx.Node:
    slope = torch.tensor(builder.graph.constants[op.inputs[1]].reshape(-1))
    return builder.call(F.prelu, builder.value(op.inputs[0]), builder.buffer(slope))


def _max_pool(builder: _Builder, op: Op) -> fx.Node:
    window = (op.options["filterHeight"], op.options["filterWidth"])
    stride = (op.options["strideH"], op.options["strideW"])
    sizes = builder.graph.shapes[op.inputs[0]][1:3]
    pads = (_same_padding(n, k, s) for n, k, s in zip(sizes, window, stride, strict=True))
    if op.options["padding"] == schema.Padding.SAME and any(map(any, pads)):
        raise ValueError("MAX_POOL_2D with padding is not supported")
    return builder.call(F.max_pool2d, builder.value(op.inputs[0]), window, stride)


def _pad_channels(builder: _Builder, op: Op) -> fx.Node:
    pads = builder.graph.constants[op.inputs[1]]
    if pads[:3].any():
        raise ValueError(f"PAD is supported on channels only, got {pads.tolist()}")
    return builder.call(F.pad, builder.value(op.inputs[0]), (0, 0, 0, 0, *map(int, pads[3])))


def _reshape(builder: _Builder, op: Op) -> fx.Node:
    source, target = builder.graph.shapes[op.inputs[0]], builder.graph.shapes[op.output]
    node = builder.value(op.inputs[0])
    if len(source) == 4 and source[1:3] != (1, 1):
        if len(target) == 4:
            raise ValueError(f"RESHAPE of an image to another one is not supported: {source} to {target}")
        node = builder.call(torch.permute, node, (0, 2, 3, 1))  # the file counts channels first
    if len(target) == 4:
        target = (target[0], target[3], *target[1:3])
    return builder.call(torch.reshape, node, (-1, *target[1:]))


def _concatenation(builder: _Builder, op: Op) -> fx.Node:
    if len(builder.graph.shapes[op.output]) == 4:
        raise ValueError("CONCATENATION of images is not supported")
    return builder.call(torch.cat, [builder.value(index) for index in op.inputs], dim=op.options["axis"])


def _identity_slice(builder: _Builder, op: Op) -> fx.Node:
    if builder.graph.shapes[op.inputs[0]] != builder.graph.shapes[op.output]:
        raise ValueError("STRIDED_SLICE is supported only where it keeps the whole tensor")
    return builder.value(op.inputs[0])


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[_Builder, Op], fx.Node]:
    return lambda builder, op: builder.call(function, *(builder.value(index) for index in op.inputs))


def crop_matrix(
    points: Tensor,
    subset: Sequence[int],
    level: tuple[int, int],
    margin: tuple[float, float],
    size: tuple[int, int],
) -> Tensor:
    """Landmarks2TransformMatrix: the upright box of some points, turned so that two of them are level.

    points (B, N, 3) in pixels of the feature map, subset: indices into them -> (B, 4, 4), pixels of the
    (width, height) crop to pixels of the feature map. Source: MediaPipe, landmarks_to_transform_matrix.cc.
    """
    left, right = points[:, level[0]], points[:, level[1]]
    angle = torch.atan2(right[:, 1] - left[:, 1], right[:, 0] - left[:, 0])
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack((cos, -sin, sin, cos), -1).reshape(-1, 2, 2)
    upright = _multiply(rotation.transpose(1, 2), points[:, subset, :2])
    low, high = upright.amin(1), upright.amax(1)
    linear = rotation * ((high - low) * points.new_tensor(margin) / points.new_tensor(size))[:, None, :]
    centre = _multiply(rotation, (low + high)[:, None] / 2) - _multiply(linear, points.new_tensor([[size]]) / 2)
    matrix = torch.eye(4, dtype=points.dtype, device=points.device).repeat(len(points), 1, 1)
    matrix[:, :2, :2] = linear
    matrix[:, :2, 3] = centre[:, 0]
    return matrix


def sample_affine(image: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """TransformTensorBilinear: image (B, C, H, W), matrix (B, 4, 4) crop to image -> (B, C, height, width).

    Pixel centres lie at halves in the matrix's coordinates. What falls outside is 0, without blending at the
    border. Source: MediaPipe, transform_tensor_bilinear.cc, version 2.
    """
    width, height = size
    x = torch.arange(width, dtype=image.dtype, device=image.device) + 0.5
    y = torch.arange(height, dtype=image.dtype, device=image.device) + 0.5
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(1, -1, 2)
    source = transform_points(grid, matrix) - 0.5
    last = image.new_tensor((image.shape[3] - 1, image.shape[2] - 1))
    inside = ((source >= 0) & (source <= last)).all(-1).reshape(-1, 1, height, width)
    normalised = (source * 2 / last - 1).reshape(-1, height, width, 2)
    return F.grid_sample(image, normalised, align_corners=True) * inside


def transform_points(points: Tensor, matrix: Tensor) -> Tensor:
    """TransformLandmarks: points (B, N, 2), matrix (B, 4, 4) -> (B, N, 2). Source: transform_landmarks.cc."""
    return _multiply(matrix[:, :2, :2], points) + matrix[:, None, :2, 3]


def _multiply(matrix: Tensor, points: Tensor) -> Tensor:
    """matrix (B, 2, 2) times each of points (B or 1, N, 2). Not `@`: for so little that wakes all threads."""
    return (matrix[:, None] * points[:, :, None]).sum(-1)


def custom_function(op: Op) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """What a custom operator computes: a function of its tensors, images (B, C, H, W), and its settings."""
    options = op.options
    if op.kind == "TransformLandmarks":
        return transform_points, {}
    size = (options["output_width"], options["output_height"])
    if op.kind == "TransformTensorBilinear":
        return sample_affine, {"size": size}
    if options["target_rotation_radians"] != 0:
        raise ValueError(f"{op.kind} is supported for a target rotation of 0 only, got {options}")
    level = (options["left_rotation_idx"], options["right_rotation_idx"])
    margin = (options["scale_x"], options["scale_y"])
    return crop_matrix, {"subset": options["subset_idxs"], "level": level, "margin": margin, "size": size}


CUSTOM_KINDS = ("Landmarks2TransformMatrix", "TransformTensorBilinear", "TransformLandmarks")


def _custom(builder: _Builder, op: Op) -> fx.Node:
    function, settings = custom_function(op)
    return builder.call(function, *(builder.value(index) for index in op.inputs), **settings)


_LOWERINGS: dict[str, Callable[[_Builder, Op], fx.Node]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "PRELU": _prelu,
    "RELU": lambda builder, op: builder.call(F.relu, builder.value(op.inputs[0])),
    "CONCATENATION": _concatenation,
    "ADD": _binary(operator.add),
    "MUL": _binary(operator.mul),
    "MAX_POOL_2D": _max_pool,
    "PAD": _pad_channels,
    "RESHAPE": _reshape,
    "STRIDED_SLICE": _identity_slice,
    **dict.fromkeys(CUSTOM_KINDS, _custom),
}
