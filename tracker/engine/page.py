"""The whole tracker in a page of the browser: a folder that any web server gives away as it is.

The page finds the face, reads its points and tracks it by ONNX Runtime Web, and Mediabunny decodes files for it; its
scripts are in `assets/page`. No server computes anything, and no picture leaves the browser.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import Delaunay

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.landmarks import MESH_POINTS
from selftrack.errors import UserError, of_extra
from selftrack.io import work_folder
from selftrack.tracker.engine.landmarks import Boxes, BoxNet, NetPoints, PointNet
from selftrack.tracker.engine.onnx_file import export_tracker, person_of, traced
from selftrack.tracker.engine.step import TrackStep
from selftrack.tracker.geometry.crop import CropConfig
from selftrack.tracker.landmarks import attention_mesh, boxes
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Model
from selftrack.tracker.refinement.mouth import EDGES_OF_LIPS, MouthConfig

ASSETS = Path(__file__).parents[1] / "assets" / "page"
PACKAGES = {
    "onnxruntime-web@1.30.0": {
        "package/dist/ort.wasm.min.mjs": "ort.wasm.min.mjs",
        "package/dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.mjs",
        "package/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    },
    "mediabunny@1.61.0": {
        "package/dist/bundles/mediabunny.min.mjs": "mediabunny.min.mjs",
        "package/LICENSE": "mediabunny-licence.txt",
    },
}
"""Files of npm's packages, with their names in the page: what runs networks (MIT), what decodes videos (MPL-2.0)."""
_DETAIL = re.compile(r"(code|syscall|errno|path|dest)\b|A complete log|$")  # begin lines of npm that explain nothing
_OPSET = 16  # the first that samples pictures
_LONG = 3.0
"""Edges of the mesh that are drawn are no longer than so many times the usual one."""


def write_page(model: Model, folder: Path) -> Path:
    """Write the page of a model into a new folder.

    Raises:
        UserError: the folder is there already or cannot be written, the model does not fit into one file, the package
            onnx is missing, or npm cannot fetch what runs in the browser.
    """
    if os.path.lexists(folder):  # a link to nothing is there, too
        raise UserError(f"{folder}: is there already; name another folder, or remove it")
    step, parent = TrackStep(model), folder.absolute().parent
    if not parent.is_dir():
        raise UserError(f"{folder}: its folder is not there; make it, or name another place")
    if not os.access(parent, os.W_OK):
        raise UserError(f"{folder}: cannot be written; name another place, or make this one writable")
    with of_extra("onnx"):  # before npm fetches anything
        importlib.import_module("onnx")
    with work_folder(parent, folder.name) as work:
        page = work / "page"
        shutil.copytree(ASSETS, page)
        for package, files in PACKAGES.items():
            _fetch(package, files, work, page)
        export_tracker(model, page / "tracker.onnx", "fp16")
        _write(BoxNet(), boxes.SIZE, Boxes._fields, page / "boxes.onnx")
        _write(PointNet(), attention_mesh.SIZE, NetPoints._fields, page / "points.onnx")
        (page / "tracker.json").write_text(json.dumps(_about(model, step)), encoding="utf-8")
        page.replace(folder)
    return folder


def _fetch(package: str, files: Mapping[str, str], work: Path, page: Path) -> None:
    """Put files of a package into the page, by their names there: npm fetches it, and keeps it for the next time."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"npm is missing, which fetches {package} for the page; install Node.js, and try again")
    command = [npm, "pack", package, "--prefer-offline", "--loglevel=error"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    archives = list(work.glob(f"{package.partition('@')[0]}-*.tgz"))
    if done.returncode or not archives:
        raise UserError(f"npm cannot fetch {package} ({_reason(done.stderr)}); go online once, and try again")
    try:
        with tarfile.open(archives[0]) as archive:
            for member, name in files.items():
                file = archive.extractfile(member)
                if file is None:
                    raise KeyError(f"{member} is no file")
                (page / name).write_bytes(file.read())
    except (KeyError, EOFError, OSError, tarfile.TarError) as error:
        raise UserError(
            f"{package} of npm is not what it should be ({error}); npm cache clean --force, and try again"
        ) from error


def _reason(said: str) -> str:
    """The first line of npm's errors that says what is wrong."""
    lines = [re.sub(r"^npm (error|ERR!) ?", "", line).strip() for line in said.splitlines()]
    return next((line for line in lines if not _DETAIL.match(line)), "no answer")


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
        "mouth": EDGES_OF_LIPS | asdict(MouthConfig()),
        "edges": _edges(step.mean.numpy().T).tolist(),
        "detect": asdict(DetectConfig()),
        "crop": asdict(CropConfig()),
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
