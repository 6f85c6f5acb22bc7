"""What all commands have in common: help, version, verbosity, completion, and no wait before an error."""

import functools
import gc
import inspect
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

import selftrack
from selftrack.cli import character, evaluate, export, progress, rig, track, train
from selftrack.cli.progress import Stages
from selftrack.command import parameters
from selftrack.command import run as run_command
from selftrack.errors import UserError
from selftrack.tracker.export import FORMATS, taking

COMMANDS = ("track", "track-character", "track-eval", "track-export", "track-range", "track-train")
NO_FILE = "track: missing.mp4: no such file; name a video, a folder of pictures or a pattern of their names\n"
HELPED = {
    ("track",): track.track,
    ("track-character",): character.character,
    ("track-eval",): evaluate.evaluate,
    ("track-export",): export.export,
    ("track-range",): rig.learn,
} | {
    ("track-train", f.__name__): f
    for f in (train.captures, train.streams, train.i2znet, train.studio, train.dam, train.export, train.page)
}
HEAVY = ("torch", "cv2", "numba", "av", "scipy", "matplotlib")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(run: Callable, command: str, option: str) -> None:
    status, out, err = run(command, option)
    assert status == 0 and err == "" and f"Usage: {command}" in out
    if command == "track-export":
        assert all(name in "".join(out.split()) for name in FORMATS)  # long lines are broken, at hyphens too


def options(function: Callable) -> dict[str, Any]:
    """The options and arguments of a command by the names of their parameters, as they are annotated."""
    return {one.name: one.annotation.__metadata__[0] for one in parameters(function)}


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("words", HELPED, ids=" ".join)
def test_help_has_every_word_of_every_option(
    run: Callable, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], width: int
) -> None:
    """However wide the terminal is; what is in brackets is no markup."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERMINAL_WIDTH", str(width))
    shown = "".join(run(*words, "--help")[1].split())
    function = HELPED[words]
    texts = [option.help for option in options(function).values() if not option.hidden]
    texts += inspect.getdoc(function).split("\n\n")
    assert len(texts) > 3
    for text in texts:
        assert "".join(text.split()) in shown, text


def test_brackets_in_help_are_no_markup(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def bracketed(
        value: Annotated[int, typer.Option(help="So many [default: all] of [bold]x[/bold].")] = 1,
    ) -> None:
        """Take what pip install '.[paper]' brings [red]."""

    monkeypatch.setattr(sys, "argv", ["bracketed", "--help"])
    with pytest.raises(SystemExit):
        run_command("bracketed", bracketed=bracketed)
    shown = " ".join(capsys.readouterr().out.split())
    assert "So many [default: all] of [bold]x[/bold]." in shown and "'.[paper]' brings [red]." in shown


@dataclass(frozen=True)
class Pair:
    left: Annotated[int, typer.Option(help="The left one.")]
    right: Annotated[int, typer.Option("--other", help="The right one (default 7).")] = 7


def grouped(
    first: Annotated[str, typer.Argument(help="A word.")],
    *,
    pair: Annotated[Pair, "Two numbers"],
    last: Annotated[bool, typer.Option("--last", help="The last (default: no).")] = False,
) -> None:
    """Refuse what it gets."""
    raise UserError(f"{first} {pair.left} {pair.right} {last}")


def test_options_in_groups(capsys: pytest.CaptureFixture) -> None:
    """A command gets a group as what it is; in the help, its options are under its heading."""
    assert [one.name for one in parameters(grouped)] == ["first", "left", "right", "last"]
    for arguments, words in (
        (["a", "--left", "3"], "x: a 3 7 False\n"),
        (["a", "--left", "3", "--other", "4", "--last", "-q"], "x: a 3 4 True\n"),
        (["a"], "x: missing option '--left'; see: x --help\n"),
    ):
        with pytest.raises(SystemExit) as stop:
            run_command("x", None, arguments, grouped=grouped)
        assert stop.value.code == 2 and capsys.readouterr().err == words
    with pytest.raises(SystemExit):
        run_command("x", None, ["--help"], grouped=grouped)
    before, _, after = capsys.readouterr().out.partition("\nTwo numbers:\n")
    assert [line.split()[0] for line in after.splitlines() if line] == ["--left", "--other"]
    assert "--last" in before and "--help" in before and "Arguments:" in before


def test_options_of_a_format_stand_under_its_name(run: Callable) -> None:
    """Those that only one format reads, or several of the same kind; and no others."""
    sections = run("track-export", "--help")[1].split("\nFor --to ")
    shown = {
        option: tuple(heading.split(", "))
        for section in sections[1:]
        for heading, _, lines in [section.partition(":\n")]
        for option in re.findall(r"^  --([a-z-]+)", lines, re.MULTILINE)
    }
    names = [one.name for one in parameters(export.export)]
    assert shown == {name.replace("_", "-"): taking(name) for name in names if taking(name)}


@pytest.mark.parametrize("words", HELPED, ids=" ".join)
def test_help_names_every_default_once(run: Callable, words: tuple[str, ...]) -> None:
    function = HELPED[words]
    defaults = {one.name: one.default for one in parameters(function)}
    for name, option in options(function).items():
        if defaults[name] not in (inspect.Parameter.empty, None):
            assert "(default" in option.help, name
    assert "[default" not in run(*words, "--help")[1]


def test_the_list_of_commands_is_not_cut_off(run: Callable) -> None:
    listed = run("track-train", "--help")[1].partition("Commands:")[2]
    assert len(listed.splitlines()) == 8 and "..." not in listed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("track",), "track: missing argument 'CLIP'; see: track --help"),
        (("track", "--stert", "3", "x.mp4"), "no such option: --stert"),
        (("track", "--start"), "track: option '--start' requires an argument; see: track --help"),
        (("track", "x.mp4", "--start", "soon"), "invalid value for '--start'"),
        (("track-range", "x", "y", "-o", "r.json"), "unexpected extra argument"),
        (("track", "x.mp4", "a y.mp4"), "tracks one; several are tracked by: track-batch x.mp4 'a y.mp4'"),
        (("track", *"abcd"), "track-batch a b c ... -o OUT"),
        (("track", "1.png", "2.png"), "track: got 2 pictures; for one clip of them name their folder, or a pattern"),
        (("track-train",), "track-train: missing command; see: track-train --help"),
        (("track-train", "dma"), "track-train: no such command 'dma'"),
        (("track-train", "studio"), "track-train: missing argument 'DIR'; see: track-train studio --help"),
    ],
)
def test_misuse_is_one_line(run: Callable, words: tuple[str, ...], message: str) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "") and len(err.splitlines()) == 1 and message in err, err


def test_the_usage_of_track_names_one_clip(run: Callable) -> None:
    status, out, _ = run("track", "--help")
    assert status == 0 and out.splitlines()[0] == "Usage: track [OPTIONS] {CLIP}" and "others" not in out.lower()


@pytest.mark.parametrize("command", COMMANDS)
def test_version(run: Callable, command: str) -> None:
    assert run(command, "--version") == (0, f"selftrack {selftrack.__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_completion(run: Callable, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script that --show-completion prints asks the command itself, which answers with its options."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    status, out, _ = run(command, "--show-completion", "bash")
    variable = f"_{command.replace('-', '_')}_COMPLETE".upper()
    assert status == 0 and variable in out
    monkeypatch.setenv(variable, "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"{command} --vers")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert run(command)[1].split() == ["--version"]


@pytest.mark.parametrize(
    ("module", "arguments", "status"),
    [
        ("track", ["--help"], 0),
        ("track", ["--version"], 0),
        ("track", ["nosuch.mp4"], 2),
        ("track", ["nosuch%04d.png", "--export", "fbx"], 2),
        ("export", ["nosuch", "--to", "csv"], 2),
        ("evaluate", ["nosuch"], 2),
        ("train", ["dam", "--from-video", "nosuch.mp4"], 2),
    ],
)
def test_nothing_large_is_loaded_for_help_or_a_missing_file(
    module: str, arguments: list[str], status: int, tmp_path: Path
) -> None:
    program = f"""
import sys
from selftrack.cli import {module}
sys.argv = ["x", *{arguments!r}]
try:
    {module}.main()
except SystemExit as stop:
    print(stop.code or 0, [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{status} []"
    assert len(done.stderr.splitlines()) == (1 if status else 0)


def test_importing_the_package_loads_no_torch_and_reading_a_track_neither(tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "data" / "track_v3.npz"
    program = f"""
import sys
import selftrack
print([name for name in ("torch", "numpy", "cv2") if name in sys.modules])
from selftrack.tracker.results.track_file import load
track = load({str(data)!r})
track.save({str(tmp_path)!r})
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"
    program = f"""
import sys
import selftrack
track = selftrack.load({str(tmp_path)!r})
print(len(track.curves()), len(track.pose()), [name for name in ("torch", "cv2", "numba") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "52 6 []\n"


def test_the_nouns() -> None:
    """Each resolves to something with a docstring; `adapt` is the folder and the function, in whatever order."""
    for name in selftrack.__all__:
        noun = getattr(selftrack, name)
        assert noun.__doc__, name
    assert set(dir(selftrack)) == set(selftrack.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nosuch'"):
        selftrack.nosuch  # noqa: B018
    assert import_module("selftrack.adapt.frames.clip") is selftrack.adapt.frames.clip
    with pytest.raises(TypeError, match="adapt"):
        selftrack.adapt()


def test_python_m_selftrack_is_track(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "selftrack", "missing.mp4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", NO_FILE)


def test_quiet_and_verbose(run: Callable, smile: Path) -> None:
    three = ("track", smile, "--duration", 0.1, "--no-overlay")
    status, out, err = run(*three, "-o", "q", "-q")
    assert (status, out, err) == (0, "", "") and Path("q/track.npz").exists()
    status, out, err = run(*three, "-o", "v", "--verbose")
    assert status == 0 and "seconds  load" in out and "tracking            3/3" in err
    status, out, _ = run(*three, "-o", "p")
    assert status == 0 and "seconds" not in out and "frames   3, lost 0" in out
    status, _, err = run(*three, "-o", "n", "-q", "-v")
    assert status == 2 and "exclude each other" in err and not Path("n").exists()


def test_plain_lines_tell_the_time_left(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in ten seconds and one at the end: 30 steps of 4 s each, of which the first is known after 4 s."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Stages() as stages:
        for done in range(1, 31):
            now[0] += 4
            stages.show("adapting", done, 30, {"skin": 0.5})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "adapting            3/30, 2 min left skin 0.50"  # 27 steps of 4 s are 108 s
    ends = ["27/30, 12 s left skin 0.50", "30/30 skin 0.50"]
    assert lines[-2:] == [f"adapting            {end}" for end in ends] and len(lines) == 10


@pytest.mark.parametrize("terminal", [False, True])
def test_lines_beside_the_progress(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """Whole, whatever their length and brackets, before and after a stage has begun; none with --quiet."""
    lines = [f"resuming at step [{n}]; delete {'a/long/path' * 20}" for n in range(2)]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with Stages() as stages:
        stages.say(lines[0])
        stages.show("adapt", 1, 2)
        stages.say(lines[1])
    shown = capsys.readouterr().err
    assert all(line in shown for line in lines)
    monkeypatch.setattr(progress, "quiet", lambda: True)
    with Stages() as stages:
        stages.say(lines[0])
    assert capsys.readouterr().err == ""


def test_the_chatter_of_litert_is_held_back_and_nothing_else(tmp_path: Path) -> None:
    program = """
import os, threading, time
from selftrack.tracker.landmarks import litert
from selftrack.tracker.landmarks.boxes import BoxDetector
made = litert.Interpreter
def slow(*arguments, **settings):
    os.write(2, b"somebody else\\n")
    return made(*arguments, **settings)
litert.Interpreter = slow
BoxDetector()
os.write(2, b"afterwards\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stderr.splitlines()) == {"somebody else", "afterwards"}


def test_threads_may_make_interpreters_at_once(capfd: pytest.CaptureFixture) -> None:
    from selftrack.tracker.landmarks.boxes import BoxDetector

    threads = [threading.Thread(target=BoxDetector) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("still there", file=sys.stderr)
    assert "still there" in capfd.readouterr().err


def test_what_is_not_used_is_not_loaded(smile: Path, tmp_path: Path) -> None:
    """Numba, SciPy and the adaptation take a second to load, which tracking does without."""
    code = (
        "import sys; from selftrack.cli.track import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "spared = {'numba', 'scipy', 'selftrack.adapt'}\n"
        "print(spared & set(sys.modules))"
    )
    options = [smile, "--no-overlay", "--duration", "0.05", "-o", tmp_path / "out", "--quiet"]
    ran = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout == "set()\n", ran.stdout + ran.stderr


def test_a_command_searches_for_cycles_less_often_and_leaves_that_as_it_was() -> None:
    before, within = gc.get_threshold(), []
    with pytest.raises(SystemExit):
        run_command("look", None, [], look=lambda: within.append(gc.get_threshold()))
    assert within[0][0] > before[0] and gc.get_threshold() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_terminated_leaves_nothing_half_written(tmp_path: Path, number: signal.Signals) -> None:
    code = """
import sys, time
from pathlib import Path
from selftrack.command import run
from selftrack.io import atomic_path
def slow():
    with atomic_path(Path(sys.argv[1])) as part:
        part.write_text("half")
        print("begun", flush=True)
        time.sleep(60)
run("slow", None, [], slow=slow)
"""
    arguments = [sys.executable, "-c", code, str(tmp_path / "a.mp4")]
    heard = functools.partial(signal.signal, number, signal.SIG_DFL)  # tests that nohup runs ignore SIGHUP
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        assert process.stdout and process.stdout.readline() == "begun\n" and list(tmp_path.iterdir())
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number and err == ""
    assert not list(tmp_path.iterdir())
