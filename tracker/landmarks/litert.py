"""Runs `.tflite` models under LiteRT, also one whose custom operators LiteRT does not know."""

import copy
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor

from selftrack.tracker.landmarks.operators import custom_function
from selftrack.tracker.landmarks.tflite import CUSTOM_KINDS, Op, TfliteGraph, read_graph

_CHATTER = b"INFO: Created TensorFlow Lite"
_STDERR = threading.Lock()


class LiteSession:
    """A model under LiteRT on one thread: arrays in, arrays out, by tensor id.

    An interpreter keeps its arrays inside, so each thread that calls the session gets one of its own.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._threads = threading.local()
        interpreter = self._interpreter()
        details = interpreter.get_input_details()
        self.inputs = tuple(int(detail["index"]) for detail in details)
        self.input_shapes = tuple(tuple(map(int, detail["shape"])) for detail in details)
        self.outputs = tuple(int(detail["index"]) for detail in interpreter.get_output_details())

    def _interpreter(self) -> Interpreter:
        """That of the calling thread."""
        if not hasattr(self._threads, "interpreter"):
            with _without_chatter():
                self._threads.interpreter = Interpreter(model_content=self._model, num_threads=1)
                self._threads.interpreter.allocate_tensors()
        return self._threads.interpreter

    def __call__(self, values: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """The outputs by id, for values that hold at least the inputs by id."""
        interpreter = self._interpreter()
        for index in self.inputs:
            interpreter.set_tensor(index, values[index])
        interpreter.invoke()
        return {index: interpreter.get_tensor(index) for index in self.outputs}


class LiteModule:
    """A model cut at its custom operators: LiteRT runs the rest. The twin of `build_module` for the CPU.

    One image at a time; on small networks that is still several times faster than torch.
    """

    def __init__(self, graph: TfliteGraph, outputs: Sequence[int]) -> None:
        self._path, self._input, self._outputs = graph.path, graph.inputs[0], tuple(outputs)
        self._steps = [
            (LiteSession(model), [(op, *custom_function(op)) for op in custom])
            for model, custom in _cut(self._path, self._outputs)
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles as its arguments: an interpreter does neither."""
        return _load, (self._path, self._outputs)

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """images (B, C, H, W) on the CPU -> the tensors with the ids `outputs`, images (B, C, H, W)."""
        batch = images.detach().permute(0, 2, 3, 1).float().contiguous().numpy()
        rows = [self._run(image[None]) for image in batch]
        return tuple(torch.cat(column) for column in zip(*rows, strict=True))

    def _run(self, image: np.ndarray) -> list[Tensor]:
        values = {self._input: image}
        for session, custom in self._steps:
            values |= session(values)
            for op, function, settings in custom:
                values[op.output] = function(*(values[index][0] for index in op.inputs), **settings)[None]
        return [_channels_first(values[index]) for index in self._outputs]


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back the line about its delegate that LiteRT's C++ writes to stderr; all else is passed on."""
    with _STDERR, tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not line.startswith(_CHATTER)))


def _load(path: Path, outputs: Sequence[int]) -> LiteModule:
    return LiteModule(read_graph(path), outputs)


def _channels_first(value: np.ndarray) -> Tensor:
    """An image (B, H, W, C) as (B, C, H, W); what is no image stays as it is."""
    tensor = torch.from_numpy(value)
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


@lru_cache(maxsize=4)  # as `read_graph`
def _cut(path: Path, outputs: tuple[int, ...]) -> list[tuple[bytes, list[Op]]]:
    """The model files that a graph is cut into, and the custom operators that come after each."""
    graph = read_graph(path)
    stages, parts = _stages(_needed(graph.ops, outputs)), []
    for number, ops in enumerate(stages):
        builtin = [op for op in ops if op.kind not in CUSTOM_KINDS]
        custom = [op for op in ops if op.kind in CUSTOM_KINDS]
        made = {op.output for op in builtin}
        read = {index for op in builtin for index in op.inputs} - made - set(graph.constants)
        after = {index for op in sum(stages[number + 1 :], custom) for index in op.inputs}
        parts.append((_submodel(graph.model, sorted(read), sorted(made & (after | set(outputs)))), custom))
    return parts


def _needed(ops: Sequence[Op], outputs: Iterable[int]) -> list[Op]:
    """The operators that the outputs depend on, in order."""
    wanted, kept = set(outputs), []
    for op in reversed(ops):
        if op.output in wanted:
            wanted |= set(op.inputs)
            kept.append(op)
    return kept[::-1]


def _stages(ops: Sequence[Op]) -> list[list[Op]]:
    """Groups operators so that within a group no built-in one reads what a custom one of the group makes."""
    makers: dict[int, tuple[int, bool]] = {}  # tensor -> its maker's stage, and whether that is custom
    stages: list[list[Op]] = []
    for op in ops:
        custom = op.kind in CUSTOM_KINDS
        inputs = [makers[index] for index in op.inputs if index in makers]
        stage = max((number + (made_by_custom and not custom) for number, made_by_custom in inputs), default=0)
        makers[op.output] = (stage, custom)
        stages.extend([] for _ in range(stage + 1 - len(stages)))
        stages[stage].append(op)
    return stages


def _submodel(model: schema.ModelT, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """A model file of the part between some tensors; ids of tensors stay the same."""
    part = copy.copy(model)
    subgraph = copy.copy(model.subgraphs[0])
    wanted, operators = set(outputs), []
    for op in reversed(subgraph.operators):
        if wanted.intersection(op.outputs) and not set(inputs).intersection(op.outputs):
            wanted.update(map(int, op.inputs))
            operators.append(op)
    used = {subgraph.tensors[index].buffer for index in wanted}
    subgraph.operators = operators[::-1]
    subgraph.inputs, subgraph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    part.subgraphs, part.signatureDefs, part.metadata = [subgraph], [], []
    part.buffers = [buffer if n in used else schema.BufferT() for n, buffer in enumerate(model.buffers)]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(part.Pack(builder), b"TFL3")
    return bytes(builder.Output())
