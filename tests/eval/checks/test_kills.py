"""A run that is killed and repeated: what is seen of it, with scripts in place of `track`."""

import sys
from pathlib import Path

from selftrack.eval.checks.kills import RESULTS, hashes, kill_and_repeat

_WRITE = """
import sys, time, subprocess, pathlib
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
"""


def command(body: str, folder: Path) -> list[str]:
    return [sys.executable, "-c", _WRITE + body, str(folder)]


def complete(folder: Path) -> dict[str, str]:
    folder.mkdir()
    for name in RESULTS:
        (folder / name).write_text("x")
    return hashes(folder)


_ALL = "".join(f"(folder / '{name}').write_text('x')\n" for name in RESULTS)
_ONCE = (
    "if not (folder / 'begun').exists():\n    (folder / 'begun').touch()\n    while time.process_time() < 60: pass\n"
)


def test_a_run_that_is_taken_up_again_is_good(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    killed = kill_and_repeat(command(_ONCE + _ALL, folder), folder, 0.5, complete(tmp_path / "whole"))
    assert killed.good and (killed.left, killed.again) == ("none", "same") and killed.second == 0.5
    ended = kill_and_repeat(command(_ALL, folder), folder, 30.0, hashes(tmp_path / "whole"))
    assert ended.good and ended.left == "all" and ended.second != ended.second


def test_where_a_run_went_on_is_said(tmp_path: Path) -> None:
    expected, folder = complete(tmp_path / "whole"), tmp_path / "out"
    said = "print('resuming at step 8 of 24', file=sys.stderr)\n"
    assert kill_and_repeat(command(_ONCE + said + _ALL, folder), folder, 0.5, expected).resumed == "at step 8"
    assert kill_and_repeat(command(_ONCE + _ALL, folder), folder, 0.5, expected).resumed == "from the beginning"


def test_what_is_wrong_is_seen(tmp_path: Path) -> None:
    expected, folder = complete(tmp_path / "whole"), tmp_path / "out"
    half = f"(folder / '{RESULTS[0]}').write_text('x')\n" + _ONCE + _ALL
    assert kill_and_repeat(command(half, folder), folder, 0.5, expected).left == "some"
    other = _ONCE + _ALL.replace("'x'", "'y'")
    assert kill_and_repeat(command(other, folder), folder, 0.5, expected).again == "other bytes"
    checkpoint = "(folder / '.selftrack').mkdir(exist_ok=True)\n(folder / '.selftrack/adaptation.checkpoint').touch()\n"
    assert kill_and_repeat(command(checkpoint + _ONCE + _ALL, folder), folder, 0.5, expected).again == "files left"
    refused = _ONCE + "sys.exit(2)"
    assert kill_and_repeat(command(refused, folder), folder, 0.5, expected).again == "status 2"
    child = (
        "if not (folder / 'begun').exists(): subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(4)'])\n"
    )
    assert kill_and_repeat(command(child + _ONCE + _ALL, folder), folder, 0.5, expected).orphans
