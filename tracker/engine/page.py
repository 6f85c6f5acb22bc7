"""The whole tracker in a page of the browser: a folder that any web server gives away as it is.

The page finds the face, reads its points and tracks it by ONNX Runtime Web; the scripts are in `assets/page`. No server
computes anything, and no picture leaves the browser.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import Delaunay

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.landmarks import MESH_POINTS
from selftrack.errors import UserError, of_extra
from selftrack.io import work_folder
from selftrack.tracker.engine.landmarks import Boxes, BoxNet, FacePoints, PointNet
from selftrack.tracker.engine.onnx_file import export_tracker, person_of, traced
from selftrack.tracker.engine.step import TrackStep
from selftrack.tracker.landmarks import attention_mesh, boxes
from selftrack.tracker.model import Model

ASSETS = Path(__file__).parents[1] / "assets" / "page"
RUNTIME = "onnxruntime-web@1.30.0"
"""The package of npm that runs the networks in the browser (MIT)."""
_RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_OPSET = 16  # the first that samples pictures
_LONG = 3.0
"""Edges of the mesh that are drawn are no longer than so many times the usual one."""


def write_page(model: Model, folder: Path) -> Path:
    """Write the page of a model into a new folder.

    Raises:
        UserError: the folder is there already or cannot be written, the model does not fit into one file, or npm cannot
            fetch the runtime.
    """
    if folder.exists():
        raise UserError(f"{folder}: is there already; name another folder, or remove it")
    step, parent = TrackStep(model), folder.absolute().parent
    if not parent.is_dir():
        raise UserError(f"{folder}: its folder is not there; make it, or name another place")
    if not os.access(parent, os.W_OK):
        raise UserError(f"{folder}: cannot be written; name another place, or make this one writable")
    with work_folder(parent, folder.name) as work:
        page = work / "page"
        shutil.copytree(ASSETS, page)
        _fetch_runtime(work, page)
        export_tracker(model, page / "tracker.onnx", "fp16")
        _write(BoxNet(), boxes.SIZE, Boxes._fields, page / "boxes.onnx")
        _write(PointNet(), attention_mesh.SIZE, FacePoints._fields, page / "points.onnx")
        (page / "tracker.json").write_text(json.dumps(_about(model, step)), encoding="utf-8")
        page.replace(folder)
    return folder


def _fetch_runtime(work: Path, page: Path) -> None:
    """Put ONNX Runtime Web into the page: its package is fetched by npm, which keeps it for the next time."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"npm is missing, which fetches {RUNTIME} for the page; install Node.js, and try again")
    command = [npm, "pack", RUNTIME, "--prefer-offline", "--silent"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    files = list(work.glob("onnxruntime-web-*.tgz"))
    if done.returncode or not files:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise UserError(f"npm cannot fetch {RUNTIME} ({reason}); go online once, and try again")
    with tarfile.open(files[0]) as archive:
        for member in archive:
            name = Path(member.name).name
            file = archive.extractfile(member) if name in _RUNTIME_FILES else None
            if file is not None:
                (page / name).write_bytes(file.read())


def _write(net: torch.nn.Module, side: int, outputs: tuple[str, ...], path: Path) -> None:
    """Write a network that reads pictures (1,side,side,3), RGB in 0..255."""
    with of_extra("onnx"):
        import onnx
    onnx.save(traced(net.eval(), {"picture": torch.zeros(1, side, side, 3)}, outputs, _OPSET), path)


def _about(model: Model, step: TrackStep) -> dict[str, object]:
    """What the scripts read beside the networks."""
    about: dict[str, object] = {
        "curves": list(ARKIT_NAMES),
        "inputs": {name: list(value.shape) for name, value in step.start()._asdict().items()},
        "edges": _edges(step.mean.numpy().T).tolist(),
    }
    return about | ({"person": person_of(model.fit.subject)} if model.fit is not None else {})


def _edges(points: np.ndarray) -> np.ndarray:
    """Pairs (E,2) of neighbours among the points (L,3) of a face, as they lie from the front."""
    triangles = Delaunay(points[:MESH_POINTS, :2]).simplices
    pairs = np.unique(
        np.sort(np.concatenate([triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]), axis=1), axis=0
    )
    lengths = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    return pairs[lengths < _LONG * np.median(lengths)]
