"""The files of FLAME that its users have: pickles of chumpy, NumPy and SciPy arrays, read without running their code.

A pickle can call any function. Here it can build arrays and plain containers; whatever else it names is refused.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selftrack.errors import UserError

_ARRAYS: dict[str, Any] = {
    "_reconstruct": np.empty((0,)).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
}
"""Of numpy.core.multiarray, as NumPy itself pickles arrays."""


class _State:
    """Stands for an object of chumpy or SciPy: keeps what was saved of it and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.saved: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.saved = state

    def array(self) -> np.ndarray:
        """The values: of a chumpy variable, or of a matrix of compressed sparse columns or rows."""
        if "x" in self.saved:
            return np.asarray(self.saved["x"])
        from scipy.sparse import csc_matrix, csr_matrix

        parts = tuple(self.saved[name] for name in ("data", "indices", "indptr"))
        shape = self.saved.get("_shape", self.saved.get("shape"))
        kind = csr_matrix if isinstance(self, _Rows) else csc_matrix
        return kind(parts, shape=shape).toarray()


class _Rows(_State):
    """Stands for a matrix of compressed sparse rows."""


def _blank(kind: type, base: type, state: object) -> _State:
    """Stands for copyreg's constructor of an object that is filled later."""
    if not issubclass(kind, _State):
        raise pickle.UnpicklingError(f"an object of {kind.__name__}")
    return kind()


def _to_bytes(text: str, encoding: str) -> bytes:
    """Stands for _codecs.encode, by which Python 2's protocols hold bytes."""
    return text.encode("latin1")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What a global name in the file stands for."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in _ARRAYS:
            return _ARRAYS[name]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return np.ndarray if name == "ndarray" else np.dtype
        if module in ("copy_reg", "copyreg") and name == "_reconstructor":
            return _blank
        if module in ("__builtin__", "builtins") and name == "object":
            return object
        if (module, name) == ("_codecs", "encode"):
            return _to_bytes
        if module.split(".")[0] == "chumpy" or (module.startswith("scipy.sparse") and name == "csc_matrix"):
            return _State
        if module.startswith("scipy.sparse") and name == "csr_matrix":
            return _Rows
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_arrays(path: Path, what: str) -> dict[str, np.ndarray]:
    """Read the arrays of a .pkl, .npy or .npz by their names; what is no array of numbers is left out.

    Raises:
        UserError: the file is not there, is damaged, or would run code.
    """
    try:
        data = path.read_bytes()
        read: Any
        if data[:2] == b"PK":
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                read = {name: arrays[name] for name in arrays.files}
        else:
            read = _unpickled(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name {what}") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: holds more than arrays ({error}), and is not read; name {what}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(f"{path}: cannot be read ({type(error).__name__}); name {what}") from error
    if not isinstance(read, Mapping):
        raise UserError(f"{path}: holds no arrays by name; name {what}")
    return {str(name): array for name, value in read.items() if (array := _numbers(value)) is not None}


def _unpickled(data: bytes) -> Any:
    file = io.BytesIO(data)
    if data[:6] == b"\x93NUMPY":  # a pickle after a header, of an array of one object
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        read_header(file)
    read = _Reader(file, encoding="latin1").load()
    return read[()] if isinstance(read, np.ndarray) and read.shape == () else read.flat[0] if _single(read) else read


def _single(read: Any) -> bool:
    return isinstance(read, np.ndarray) and read.dtype == object and read.size == 1


def _numbers(value: Any) -> np.ndarray | None:
    try:
        array = value.array() if isinstance(value, _State) else np.asarray(value)
    except (KeyError, TypeError, ValueError):
        return None
    return array if array.dtype.kind in "iuf" else None
