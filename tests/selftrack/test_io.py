"""Files that appear whole or not at all, and the folder that touches no file of the user's."""

import csv
import errno
import hashlib
import io
import json
import math
import os
import signal
import stat
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from selftrack.errors import UserError
from selftrack.io import (
    OutputFolder,
    atomic_path,
    csv_table,
    file_hash,
    flat,
    json_text,
    markdown_table,
    nested,
    sort_metadata,
    write_text,
)

NAMES = ["track.npz", "config.yaml", "report.html"]


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder by their relative paths, but for what the tracker keeps for itself."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if ".selftrack" not in path.parts}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of the user's, with files that have the names of ours."""
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    for name in ("config.yaml", "report.html", "notes.txt", "sub/track.npz"):
        (folder / name).write_text(f"my {name}")
    return folder


def run(folder: Path, text: str, overwrite: bool = False, names: tuple[str, ...] = ("track.npz",)) -> None:
    with OutputFolder(folder).writing(NAMES, overwrite) as work:
        for name in names:
            (work / name).write_text(text)


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as part:
        part.write_text("one")
        assert not path.exists() and part.suffix == ".txt"
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(RuntimeError), atomic_path(path) as part:
        part.write_text("two")
        raise RuntimeError
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / "nowhere" / "a.txt", "one")


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_has_the_permissions_of_any_new_one(tmp_path: Path, umask: int, mode: int) -> None:
    """Also where its writer makes it anew for its owner alone, as safetensors does, and where one is replaced."""
    path, before = tmp_path / "a.safetensors", os.umask(umask)
    try:
        for _ in range(2):
            with atomic_path(path) as part:
                save_file({"a": torch.zeros(1)}, part)
            assert stat.S_IMODE(path.stat().st_mode) == mode
            path.chmod(0o600)
        with OutputFolder(tmp_path / "out").writing(NAMES) as work, atomic_path(work / "track.npz") as part:
            os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
        assert stat.S_IMODE((tmp_path / "out" / "track.npz").stat().st_mode) == mode
    finally:
        os.umask(before)


def test_equal_tensors_and_metadata_are_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, dtype=torch.float16)}
    facts = {name: f'{name} "é"\n\t\x01\x7f\\' for name in "gdbfaec"}
    files = set()
    for number in range(8):  # by chance alone, all would be equal once in 5040^7
        path = tmp_path / f"{number}.safetensors"
        save_file(tensors, path, facts)
        sort_metadata(path)
        files.add(path.read_bytes())
        with safe_open(path, "pt") as file:
            assert file.metadata() == facts
            assert all(torch.equal(file.get_tensor(name), values) for name, values in tensors.items())
    assert len(files) == 1


def test_a_hash_is_sha_256(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a", "abc")
    assert file_hash(path) == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_the_user_are_never_replaced(mine: Path, overwrite: bool) -> None:
    before = content(mine)
    with pytest.raises(UserError, match=r"has a file config\.yaml that this program did not write"):
        run(mine, "ours", overwrite)
    assert content(mine) == before and not (mine / ".selftrack").exists()


def test_results_lie_beside_other_files(mine: Path) -> None:
    (mine / "config.yaml").unlink()
    (mine / "report.html").unlink()
    before = content(mine)
    run(mine, "first")
    assert content(mine) == before | {"track.npz": b"first"}
    with pytest.raises(UserError, match="--overwrite"):
        run(mine, "second")
    run(mine, "second", overwrite=True)
    assert content(mine) == before | {"track.npz": b"second"}


def test_a_result_that_somebody_changed_is_theirs(tmp_path: Path) -> None:
    run(tmp_path, "ours", names=("track.npz", "config.yaml"))
    (tmp_path / "config.yaml").write_text("mine now")
    with pytest.raises(UserError, match=r"config\.yaml .* was changed since"):
        run(tmp_path, "again", overwrite=True)
    assert content(tmp_path) == {"track.npz": b"ours", "config.yaml": b"mine now"}


def test_a_link_is_the_users(tmp_path: Path) -> None:
    """What it points to is somewhere else."""
    target = tmp_path / "target"
    run(tmp_path / "out", "ours")
    target.write_text("ours")
    (tmp_path / "out" / "track.npz").unlink()
    (tmp_path / "out" / "track.npz").symlink_to(target)
    with pytest.raises(UserError, match="did not write"):
        run(tmp_path / "out", "again", overwrite=True)
    assert target.read_text() == "ours"


def test_results_of_an_earlier_run_go_with_it(tmp_path: Path) -> None:
    """Those that the new run does not write again would not belong to it; what is in use stays."""
    run(tmp_path, "first", names=("track.npz", "config.yaml", "report.html"))
    with OutputFolder(tmp_path).writing(NAMES, True, keep=tmp_path / "report.html") as work:
        (work / "track.npz").write_text("second")
    assert content(tmp_path) == {"track.npz": b"second", "report.html": b"first"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_all_is_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    run(tmp_path / "out", "first")
    for folder in (tmp_path / "out", tmp_path / "new" / "deep"):
        with pytest.raises(error), OutputFolder(folder).writing(NAMES, True) as work:
            (work / "track.npz").write_text("second")
            raise error
    assert content(tmp_path) == {"out/track.npz": b"first"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_the_user_puts_there_meanwhile_is_the_users(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did not write"), OutputFolder(tmp_path / "out").writing(NAMES) as work:
        (work / "track.npz").write_text("ours")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "track.npz").write_text("mine")
    assert content(tmp_path / "out") == {"track.npz": b"mine"}


def test_ctrl_c_while_files_are_moved_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pressed twice between the first and the second file: both are there before it counts."""
    replace, pressed = Path.replace, []

    def press(path: Path, target: Path) -> Path:
        moved = replace(path, target)
        if target.name == "config.yaml" and not pressed:
            pressed.append(True)
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        return moved

    monkeypatch.setattr(Path, "replace", press)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "ours", names=("config.yaml", "track.npz"))
    assert pressed and content(tmp_path) == {"config.yaml": b"ours", "track.npz": b"ours"}
    run(tmp_path, "again", overwrite=True)  # they are known to be ours


def test_reports_are_added_and_replaced(mine: Path) -> None:
    folder = OutputFolder(mine)
    with pytest.raises(UserError, match=r"has a file report\.html"):
        folder.add("report.html", "ours")
    assert (mine / "report.html").read_text() == "my report.html"
    folder.add("report.json", "one")
    folder.add("report.json", "two")
    assert (mine / "report.json").read_text() == "two" and folder.is_ours("report.json")
    assert not folder.is_ours("notes.txt")


def test_a_damaged_manifest_is_one_line(tmp_path: Path) -> None:
    run(tmp_path, "ours")
    (tmp_path / ".selftrack" / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json: cannot be read .*; delete it, after which all files"):
        run(tmp_path, "again", overwrite=True)
    assert content(tmp_path) == {"track.npz": b"ours"}
    (tmp_path / ".selftrack" / "manifest.json").unlink()
    with pytest.raises(UserError, match="has a file track.npz that this program did not write"):
        run(tmp_path, "again", overwrite=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="is not a folder"):
        run(tmp_path / "file", "ours")
    with pytest.raises(UserError, match="cannot write there"):
        run(tmp_path / "file" / "out", "ours")


def test_tables() -> None:
    rows = [["a, b", 1], ['say "c|d"', 2.5]]
    assert markdown_table(["name", "x"], rows) == '| name | x |\n|---|---:|\n| a, b | 1 |\n| say "c\\|d" | 2.5 |\n'
    read = list(csv.reader(io.StringIO(csv_table(["name", "x"], rows), newline="")))
    assert read == [["name", "x"], ["a, b", "1"], ['say "c|d"', "2.5"]]
    with pytest.raises(AssertionError, match="expected 2 cells"):
        markdown_table(["name", "x"], [["a"]])


def test_json_knows_no_nan() -> None:
    values = json.loads(json_text({"a": [1.5, math.nan], "b": {"c": math.inf}, "d": (1, "x")}))
    assert values == {"a": [1.5, None], "b": {"c": None}, "d": [1, "x"]}


def test_nested_and_flat() -> None:
    tree = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert flat(tree) == {"a.b": 1, "a.c.d": 2, "e": 3} and nested(flat(tree)) == tree


def run_parts(folder: Path, parts: list[str], overwrite: bool = True, fail: bool = False) -> None:
    """Write a file here and one into each of the parts."""
    with OutputFolder(folder).writing(NAMES, overwrite) as work:
        (work / "config.yaml").write_text("settings")
        for name in parts:
            (work / name).mkdir()
            (work / name / "track.npz").write_text(name)
        if fail:
            raise RuntimeError


def test_parts_are_folders_of_results_that_appear_and_go_together(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RuntimeError):
        run_parts(out, ["a", "b"], fail=True)
    assert not out.exists()
    run_parts(out, ["a", "b"])
    assert set(content(out)) == {"config.yaml", "a/track.npz", "b/track.npz"}
    assert OutputFolder(out / "a").is_ours("track.npz") and [part.path.name for part in OutputFolder(out).parts()] == [
        "a",
        "b",
    ]
    with pytest.raises(UserError, match="earlier run"):
        run_parts(out, ["c"], overwrite=False)
    OutputFolder(out / "b").add("more.txt", "of another command")
    run_parts(out, ["c"])
    assert set(content(out)) == {"config.yaml", "b/more.txt", "c/track.npz"} and not (out / "a").exists()
    run(out, "one", overwrite=True)
    assert set(content(out)) == {"track.npz", "b/more.txt"} and not (out / "c").exists()


def test_a_run_of_other_names_leaves_parts(tmp_path: Path) -> None:
    run_parts(tmp_path, ["a"])
    with OutputFolder(tmp_path).writing(["faces.png"], True) as work:
        (work / "faces.png").write_text("a picture")
    assert set(content(tmp_path)) == {"config.yaml", "faces.png", "a/track.npz"}
    run_parts(tmp_path, [])
    assert set(content(tmp_path)) == {"config.yaml", "faces.png"}


def test_a_changed_file_in_a_part_is_the_users(tmp_path: Path) -> None:
    run_parts(tmp_path, ["a", "b"])
    (tmp_path / "b" / "track.npz").write_text("changed")
    before = content(tmp_path)
    for parts in (["a"], ["b"]):
        with pytest.raises(UserError, match=r"b: has a file track\.npz"):
            run_parts(tmp_path, parts)
    assert content(tmp_path) == before


_CHANGES = ("rename", "replace", "unlink", "mkdir", "rmdir", "open")  # of `os`: what a folder changes by


def _killed_at(folder: Path, number: int, text: str, overwrite: bool) -> bool:
    """Write results in a process that dies, as by SIGKILL, at its change of that number; whether it did."""
    script = f"""
import os, sys
from selftrack.io import OutputFolder
left = {number}
def dying(name):
    real = getattr(os, name)
    def call(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*arguments, **named)
    return call
with OutputFolder(sys.argv[1]).writing({NAMES}, {overwrite}) as work:
    for name in {NAMES[:2]}:
        (work / name).write_text({text!r} + name)
    for name in {_CHANGES}:
        setattr(os, name, dying(name))
"""
    status = subprocess.run([sys.executable, "-c", script, str(folder)], check=False).returncode
    assert status in (0, 9)
    return status == 9


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_was_killed_while_it_moved_its_files_is_run_again(tmp_path: Path, overwrite: bool) -> None:
    """At any of its changes to the folder; the same call ends as if nothing had happened."""
    whole = {name: f"new {name}".encode() for name in NAMES[:2]}
    for number in range(100):
        out = tmp_path / str(number) / "out"
        out.mkdir(parents=True)
        (out / "notes.txt").write_text("mine")
        if overwrite:
            run(out, "old", names=tuple(NAMES))
        killed = _killed_at(out, number, "new ", overwrite)
        complete = killed and content(out) == whole | {"notes.txt": b"mine"}
        if killed:
            with (
                suppress(UserError) if complete else nullcontext(),
                OutputFolder(out).writing(NAMES, overwrite) as work,
            ):
                for name in NAMES[:2]:
                    (work / name).write_text(f"new {name}")
        assert content(out) == whole | {"notes.txt": b"mine"}
        assert [path.name for path in (out / ".selftrack").iterdir()] == ["manifest.json"]
        assert sorted(path.name for path in out.iterdir()) == [".selftrack", "config.yaml", "notes.txt", "track.npz"]
        with pytest.raises(UserError, match="--overwrite"):
            run(out, "again")
        run(out, "again", overwrite=True)
        if not killed:
            break
    assert number > 4 and not killed


def test_what_killed_runs_have_left_is_removed_and_no_more(tmp_path: Path) -> None:
    out, live = tmp_path / "out", tmp_path / "live"
    script = "import os, sys; from selftrack.io import OutputFolder\n"
    script += "with OutputFolder(sys.argv[1]).writing(['a']) as work: (work / 'a').write_text('half'); os._exit(9)"
    subprocess.run([sys.executable, "-c", script, str(out)], check=False)
    (left,) = tmp_path.iterdir()
    assert (left / "a").read_text() == "half" and not out.exists()
    (tmp_path / ".out-backup01").mkdir()  # somebody's own
    with OutputFolder(out).writing(["a"]) as other:
        with OutputFolder(live).writing(["a"]), OutputFolder(out).writing(["a"]) as work:
            assert not left.exists() and other.exists()
            (work / "a").write_text("whole")
        (tmp_path / "out" / "a").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out-backup01", "out"]


def test_a_full_disk_is_one_line_and_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any of the writes, into the temporary folder or of the manifest."""
    run(tmp_path / "out", "old")
    before, real = content(tmp_path), Path.write_text
    for number in range(10):
        left = [number]

        def full(path: Path, *arguments: object, left: list[int] = left, **named: object) -> int:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, *arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", full)
            try:
                run(tmp_path / "out", "new", overwrite=True, names=("track.npz", "config.yaml"))
            except UserError as error:
                assert "make room there, or name" in str(error) and "\n" not in str(error)
            else:
                break
        # the last write notes that all has come: by then it has
        assert content(tmp_path) in (before, {f"out/{n}": b"new" for n in ("track.npz", "config.yaml")})
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert number == 4
    run(tmp_path / "out", "newer", overwrite=True)
