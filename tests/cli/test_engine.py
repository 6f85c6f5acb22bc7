"""`track-train export`: a file for engines, as a user asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def test_a_file_that_runs(run: Callable, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    status, out, _ = run("track-train", "export", "-o", tmp_path / "tracker.onnx", "--precision", "fp16")
    assert (status, out) == (0, f"{tmp_path / 'tracker.onnx'}\n")
    session = runtime.InferenceSession(tmp_path / "tracker.onnx", providers=["CPUExecutionProvider"])
    inputs = {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()}
    inputs["points"][:] = np.random.default_rng(0).uniform(64, 192, (1, 478, 2))
    inputs["crop"][0, :, :2] = np.eye(2)
    curves, deviation, *_ = session.run(None, inputs)
    assert curves.shape == deviation.shape == (1, 52) and np.isfinite(curves).all() and (deviation > 0).all()


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("--precision", "int4", "precision must be one of fp32, fp16, int8; got 'int4'"),
        ("--weights", "none.safetensors", "none.safetensors: no such file of weights"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_line(
    run: Callable, tmp_path: Path, option: str, value: str, message: str
) -> None:
    status, out, err = run("track-train", "export", "-o", tmp_path / "x.onnx", option, value)
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()
