"""Meshes of any tracker in the neutral format of files.

It is an .npz without pickle: verts (T,V,3) float, x and y in pixels of the clip (the centre of the top-left
pixel is 0, 0), z in pixels, larger = farther; faces (F,3) int; ok (T,) bool, optional. One row per decoded frame; any
topology. `track-export DIR --to vertices` writes it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from selftrack.errors import UserError
from selftrack.eval.metrics.subject import Mesh


def load_mesh(path: Path) -> Mesh:
    """Read a file in the neutral format.

    Raises:
        UserError: no such file, or not of the format; the message says what is wrong.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as data:
            values = {name: data[name] for name in ("verts", "faces", "ok") if name in data.files}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; name an .npz or a folder that track has written") from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not an .npz of plain arrays; see the neutral format in docs/evaluation.md") from error
    if not {"verts", "faces"} <= set(values):
        raise UserError(f"{path}: has no verts (T,V,3) and faces (F,3); see the neutral format in docs/evaluation.md")
    verts, faces = values["verts"], values["faces"]
    ok = values.get("ok", np.ones(len(verts), bool)).astype(bool)
    if verts.ndim != 3 or verts.shape[2] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or ok.shape != verts.shape[:1]:
        raise UserError(
            f"{path}: expected verts (T,V,3), faces (F,3) and ok (T,), got {verts.shape}, {faces.shape}, {ok.shape}"
        )
    whole = np.issubdtype(faces.dtype, np.integer)
    if not whole or not len(faces) or faces.min() < 0 or faces.max() >= verts.shape[1]:
        raise UserError(f"{path}: faces must be integers in 0..{verts.shape[1] - 1}")
    finite = np.isfinite(verts).all((1, 2))
    if not finite[ok].all():
        raise UserError(f"{path}: verts of row {int(np.argmin(finite | ~ok))} are not finite; mark it as not ok")
    verts = np.where(finite[:, None, None], verts, 0).astype(np.float32)
    return Mesh(lambda rows: verts[rows], faces.astype(np.int64), ok)
