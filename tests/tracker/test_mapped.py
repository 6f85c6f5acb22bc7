"""Arrays in files: what is read is what was written, and memory is given back."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker.mapped import map_member, pieces, write_member

_STATUS = Path("/proc/self/status")


def memory() -> float:
    """Megabytes of this process that are in memory."""
    found = re.search(r"VmRSS:\s*(\d+) kB", _STATUS.read_text())
    assert found
    return int(found[1]) / 1000


@pytest.mark.parametrize("compressed", [True, False])
def test_numpy_reads_what_is_written(tmp_path: Path, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "noise": rng.random((9001, 3, 2), np.float32),
        "turned": rng.random((4, 7)).T,
        "number": np.asarray(3),
        "text": np.asarray("clip"),
        "texts": np.asarray(["a", "größer"]),
        "none": np.zeros((0, 6), np.float32),
        "good": rng.random(5) < 0.5,
    }
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, values in arrays.items():
            write_member(archive, name, values, compressed)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        assert read.files == list(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(read[name], values)
            assert read[name].dtype == values.dtype


def test_a_member_stays_in_the_file(tmp_path: Path) -> None:
    values, path = np.random.default_rng(0).random((50, 478, 2), np.float32), tmp_path / "a.npz"
    np.savez(path, before=np.arange(3), values=values, none=values[:0], turned=values[0].T)
    with zipfile.ZipFile(path) as archive:
        mapped = map_member(path, archive, "values")
        assert map_member(path, archive, "none") is None and map_member(path, archive, "turned") is None
    np.testing.assert_array_equal(mapped, values)
    assert mapped is not None and mapped.dtype == values.dtype and not mapped.flags.writeable
    np.savez_compressed(path, values=values)
    with zipfile.ZipFile(path) as archive:
        assert map_member(path, archive, "values") is None


@pytest.mark.skipif(not _STATUS.exists(), reason="memory is read from /proc")
def test_memory_of_pieces_is_given_back(tmp_path: Path) -> None:
    path, shape = tmp_path / "values", (64_000, 250)  # 64 MB
    np.memmap(path, np.float32, "w+", shape=shape)[:] = 1
    values = np.asarray(np.memmap(path, np.float32, "r", shape=shape))
    before = memory()
    assert sum(float(values[rows].sum()) for rows in pieces(values, 1000)) == 16e6
    assert memory() < before + 20
    assert values.sum() == 16e6 and memory() > before + 40  # what a reading at once takes


def test_pieces_are_all_rows() -> None:
    rows = np.concatenate([np.arange(10_000)[part] for part in pieces(np.zeros((10_000, 2)))])
    np.testing.assert_array_equal(rows, np.arange(10_000))
    assert list(pieces(np.zeros(0))) == []
