"""`track-export` and `track --export` as they are typed."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import Head
from selftrack.errors import UserError
from selftrack.tracker.export import FORMATS, ExportOptions, Format, require_said, write
from selftrack.tracker.export.timing import with_timecode
from selftrack.tracker.results.curves import write_curves
from selftrack.tracker.results.track_file import Track


def test_into_the_folder_or_to_a_file(run: Callable, wink: Track) -> None:
    Path("take_track").mkdir()
    wink.save(Path("take_track"))
    assert run("track-export", "take_track", "--to", "livelink")[:2] == (0, "take_track/take {1}_livelink.csv\n")
    status, out, _ = run("track-export", "take_track", "--to", "csv", "-o", "a.csv", "--clean", "--neutral", 0)
    assert status == 0 and out == "a.csv\n" and "eyeBlinkLeft_raw" in Path("a.csv").read_text()
    depths = []
    for focal in (800, 1600):
        assert run("track-export", "take_track", "--to", "openface", "-o", "o.csv", "--focal", focal)[0] == 0
        header, row, *_ = (line.split(",") for line in Path("o.csv").read_text().splitlines())
        depths.append(float(row[header.index("pose_Tz")]))
    assert depths[1] == pytest.approx(2 * depths[0], rel=1e-4)


def test_a_track_is_named_by_its_file_too(run: Callable, wink: Track) -> None:
    """The export lies beside it, as with the folder."""
    Path("take_track").mkdir()
    wink.save(Path("take_track"))
    status, out, err = run("track-export", "take_track/track.npz", "--to", "livelink")
    assert (status, out) == (0, "take_track/take {1}_livelink.csv\n"), err


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--to", "fbxx"], "unknown format 'fbxx'; did you mean fbx?"),
        (["--to", "glb", "-o", "a.fbx"], "-o a.fbx: glb is a .glb file; name it so, or another format with --to"),
        (["--to", "mp3"], "unknown format 'mp3'; known: aftereffects, alembic"),
        (["--to", "csv", "--neutral", "0"], "add --clean"),
        (["--to", "csv", "--focal", "900"], "leave it out, or write one of alembic, blender, fbx, flame, glb, maya"),
        (["--to", "usd", "--compress"], "--compress is for --to glb; leave it out"),
        (["--to", "csv", "--flame", "a.pkl"], "--flame is for --to flame; leave it out"),
        (["--to", "flame", "--flame", "a.pkl"], "format flame needs --flame-landmarks FILE, an option of track-export"),
        (
            ["--to", "csv", "--clean", "--neutral", "5"],
            "--neutral: no face was found around second 5; the",
        ),
        (["--to", "openface", "--focal", "-1"], "above 0"),
        (["--to", "csv", "--timecode", "1h"], "must be HH:MM:SS:FF"),
        (["--to", "edl", "--timecode", "10:00:00:25"], "goes from 00:00:00:00 to 23:59:59:24"),
        (["--to", "livelink", "--timecode", "10:00:00;00"], "drop-frame"),
        (
            ["--to", "maya", "--timecode", "10:00:00:00"],
            "leave it out, or write one of csv, edl, glb, livelink, mov, npz",
        ),
        (["--to", "csv", "-o", "nowhere/a.csv"], "nowhere"),
        (["--to", "csv", "--onto", "me.jpg"], "--onto is for --to reenact; leave it out"),
        (["--to", "csv", "--keep-pose"], "--keep-pose is for --to reenact; leave it out"),
        (["--to", "reenact"], "format reenact needs --onto PHOTO, an option of track-export"),
        (["--to", "reenact", "--onto", "me.jpg"], "--onto me.jpg: no such file"),
        (["--to", "png", "--maps", "pncc"], "--maps is for --to maps, maps-exr, maps-mkv; leave it out"),
        (["--to", "maps", "--maps", "normal"], "there is no map 'normal'; did you mean normals?"),
        (["--to", "maps", "--maps", "x"], "there is no map 'x'; known are pncc, normals, depth, uv, parts, land"),
        (["--to", "csv,maps", "--crop", "nose"], "--crop must be frame, face, or X,Y,WIDTH,HEIGHT"),
        (["--to", "csv,maps", "--size", "5"], "16 to 8192 pixels wide and high; got 5; choose another --size"),
    ],
)
def test_bad_input_is_one_line(run: Callable, wink: Track, arguments: list[str], words: str) -> None:
    wink.save(Path())
    status, out, err = run("track-export", ".", *arguments)
    assert status == 2 and out == "" and len(err.splitlines()) == 1 and words in err, err
    assert [p.name for p in Path().iterdir()] == ["track.npz"]


def test_an_option_takes_what_help_says(run: Callable) -> None:
    """What a message writes for the file that a format asks for is the word of its help."""
    shown = " ".join(run("track-export", "--help")[1].split())
    asked = [name for name, format_ in FORMATS.items() if format_.asks]
    assert len(asked) > 3
    for name in asked:
        with pytest.raises(UserError) as refused:
            require_said([name])
        for words in re.findall(r"--\S+ [A-Z]+", str(refused.value)):
            assert words in shown, words


def test_all_formats_are_checked_before_one_is_written(
    run: Callable, wink: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the decoder does not have, as a personal model's, and a file of the user's."""
    wink.save(Path())
    monkeypatch.setattr(Head, "has_blendshapes", False)
    status, out, err = run("track-export", ".", "--to", "csv,viewer")
    assert (status, out) == (2, "") and "format viewer needs fixed blend shapes" in err and len(err.splitlines()) == 1
    Path("take {1}_livelink.csv").write_text("mine")
    status, out, err = run("track-export", ".", "--to", "csv,livelink")
    assert (status, out) == (2, "") and "take {1}_livelink.csv: this program did not write it" in err
    assert {path.name for path in Path().iterdir()} == {"track.npz", "take {1}_livelink.csv"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "csv,reenact", "--onto", "nope.jpg"], "--onto nope.jpg: no such file; name one"),
        (
            ["--to", "csv,character", "--character", "nope.rig"],
            "--character nope.rig: no such file; make it with: track-rig add",
        ),
        (
            ["--to", "csv,viewer", "--against", "other"],
            "--against other: no such file; make it with: track CLIP",
        ),
    ],
)
def test_the_files_of_all_formats_are_looked_for_before_one_is_written(
    run: Callable, wink: Track, arguments: list[str], words: str
) -> None:
    wink.save(Path())
    status, out, err = run("track-export", ".", *arguments)
    assert (status, out) == (2, "") and words in err and len(err.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["track.npz"]


def test_what_one_format_alone_asks_for_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a format of the user's, whose field has no word of its own."""
    monkeypatch.setitem(FORMATS, "mine", Format("mine", "mine.txt", lambda *_: None, asks=("my_model",)))
    with pytest.raises(UserError, match="format mine needs --my-model FILE"):
        require_said(["mine"])


def test_several_formats_with_the_track(run: Callable, smile: Path) -> None:
    status, out, _ = run("track", smile, "-o", "out", "--duration", 0.2, "--no-overlay", "--export", "livelink,csv")
    assert status == 0 and "smile_livelink.csv, smile.csv" in out
    expected = {"track.npz", "curves.csv", "config.yaml", "smile_livelink.csv", "smile.csv", ".selftrack"}
    assert {p.name for p in Path("out").iterdir()} == expected
    assert len(Path("out/smile.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize(
    "given",
    [
        ["--export", "livelink", "--export", "csv"],
        ["--export", "livelink, csv"],
        ["--export", " LiveLink ,CSV,,csv"],
        ["--set", "export=LIVELINK"],
        ["--set", "export=[livelink, csv]"],
    ],
)
def test_formats_are_named_in_any_way(run: Callable, smile: Path, given: list[str]) -> None:
    status, _, err = run("track", smile, "-o", "out", "--duration", 0.1, "--no-overlay", *given)
    assert status == 0, err
    written = {p.name for p in Path("out").iterdir() if p.name.startswith("smile")}
    assert written == {"smile_livelink.csv", "smile.csv"} or (given[1] == "export=LIVELINK" and len(written) == 1)


@pytest.fixture
def half_wink(make_track: Callable[..., Track]) -> Track:
    """Two frames, in the second of which the subject's left eye is shut."""
    return make_track(np.arange(2) / 25, {"eyeBlinkLeft": np.array([0, 0.75])})


def test_where_the_focal_length_counts(half_wink: Track, tmp_path: Path) -> None:
    """Where a format says so, files of two lenses differ; elsewhere they are the same."""
    aside = half_wink.H_image + np.float32([0, 0, 0, 0, 20, 0])  # in the middle the line of sight is that of any lens
    track = replace(half_wink, H_image=aside)
    for name, one in FORMATS.items():
        if one.package or one.asks:
            continue
        files = [
            write(track, name, tmp_path / f"{focal}{Path(one.file).suffix}", ExportOptions(focal=focal))
            for focal in (600, 900)
        ]
        first, second = (file.read_bytes() for file in files)
        assert (first != second) == one.focal, name


def test_where_the_timecode_counts(half_wink: Track, tmp_path: Path) -> None:
    """Where a format says so, files of two timecodes differ; elsewhere they are the same."""
    for name, one in FORMATS.items():
        if one.package or one.asks or name == "viewer":  # the .glb inside the page has it
            continue
        files = [
            write(with_timecode(half_wink, code), name, tmp_path / f"{code[:2]}{Path(one.file).suffix}").read_bytes()
            for code in ("10:00:00:00", "11:00:00:00")
        ]
        assert (files[0] != files[1]) == one.timecode, name


def test_timecode_by_the_commands(run: Callable, smile: Path) -> None:
    """That of `track` is kept; that of `track-export` is for its file alone."""
    given = ("--timecode", "10:00:00:15", "--duration", 0.2, "--start", 1, "--no-overlay")
    status, _, err = run("track", smile, "-o", "out", *given, "--export", "livelink,edl")
    assert status == 0, err
    header, *rows = (line.split(",") for line in Path("out/curves.csv").read_text().splitlines())
    assert header[-1] == "timecode" and [row[-1] for row in rows[:2]] == ["10:00:01:15", "10:00:01:16"]
    first = Path("out/smile_livelink.csv").read_text().splitlines()[1]
    assert first.startswith("10:00:00:30.000,61,")  # the app's FF are sixtieths
    assert "10:00:01:15 10:00:01:21 01:00:00:00 01:00:00:06" in Path("out/smile.edl").read_text()
    assert run("track-export", "out", "--to", "edl", "-o", "b.edl", "--timecode", "00:00:00:00")[0] == 0
    assert "00:00:01:00 00:00:01:06 " in Path("b.edl").read_text()
    status, _, err = run("track", smile, "-o", "again", "--timecode", "10:00:00:30")
    assert status == 2 and "goes from 00:00:00:00 to 23:59:59:29" in err and len(err.splitlines()) == 1
    assert not Path("again").exists()


def test_several_formats_of_a_track_that_is_there(run: Callable, wink: Track) -> None:
    Path("t").mkdir()
    wink.save(Path("t"))
    status, out, _ = run("track-export", "t", "--to", "CSV, livelink", "--to", "npz")
    names = ["t/take {1}.csv", "t/take {1}_livelink.csv", "t/take {1}.npz"]
    assert status == 0 and out.splitlines() == names and all(Path(name).exists() for name in names)
    for wrong in (["--to", "csv,npz", "-o", "a.csv"], ["--to", " ,"]):
        status, _, err = run("track-export", "t", *wrong)
        assert status == 2 and "name one" in err and len(err.splitlines()) == 1


def test_an_unknown_format_is_refused_before_tracking(run: Callable, smile: Path) -> None:
    for given in (["--export", "livelink,mp3"], ["--export", "csv", "--export", "MP3"], ["--set", "export=mp3"]):
        status, _, err = run("track", smile, "-o", "out", *given)
        assert status == 2 and "unknown format 'mp3'; known: aftereffects" in err and len(err.splitlines()) == 1
        assert not Path("out").exists()


def test_a_file_of_the_users_is_not_replaced(run: Callable, smile: Path) -> None:
    Path("smile.csv").write_text("mine")
    status, _, err = run("track", smile, "-o", ".", "--no-overlay", "--export", "csv")
    assert status == 2 and "smile.csv that this program did not write" in err
    assert Path("smile.csv").read_text() == "mine" and [p.name for p in Path().iterdir()] == ["smile.csv"]


def test_an_export_replaces_an_earlier_one_but_no_file_of_the_users(run: Callable, wink: Track) -> None:
    Path("t").mkdir()
    wink.save(Path("t"))
    export = ("track-export", "t", "--to", "livelink")
    place = Path(run(*export)[1].strip())
    assert run(*export)[0] == 0
    place.write_text("mine")
    status, _, err = run(*export)
    assert status == 2 and "was changed since" in err and "name another file with -o" in err
    assert place.read_text() == "mine"


KILLED = """
import os, signal, sys
from pathlib import Path
from selftrack.io import atomic_path
with atomic_path(Path(sys.argv[1])) as part:
    part.write_text("half")
    part.with_name(part.name + ".part").write_text("what a writer of videos has")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_export_has_left_goes_with_the_next(run: Callable, wink: Track) -> None:
    """Not what processes that live, or those of other files or machines have there, nor what is the user's."""
    folder = Path("t")
    folder.mkdir()
    wink.save(folder)
    own = {path.name for path in folder.iterdir()}
    for name in ("take {1}_livelink.csv", "take {1}.csv"):
        subprocess.run([sys.executable, "-c", KILLED, str(folder / name)])
    left = {path.name for path in folder.iterdir()} - own
    others = {name for name in left if "livelink" not in name}
    elsewhere = re.sub(r"[.][0-9a-f]{6}[.]", ".000000.", next(iter(left - others)))
    living = re.sub(r"[.][0-9]+[.]([0-9]+[.]part)", rf".{os.getpid()}.\1", next(iter(left - others)))
    for name in (elsewhere, living, ".take {1}_livelink.1.part.csv"):
        others.add(name)
        (folder / name).write_text("stays")
    assert len(left) == 4 and len(others) == 5
    assert run("track-export", folder, "--to", "livelink")[0] == 0
    assert {path.name for path in folder.iterdir()} - own - others == {"take {1}_livelink.csv", ".selftrack"}
    assert all((folder / name).exists() for name in others)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], ""),
        (["--preset", "happy=0.7"], "edited   with happy=0.7\n"),
        (["--clean", "--preset", "sad", "--preset-only"], "edited   with the clean-up, sad alone\n"),
        (["--curves", "e.csv", "--range", "r.json"], "edited   with the table e.csv, the range of r.json\n"),
        (["--preset", "happy=0.7", "-q"], ""),
    ],
)
def test_what_was_changed_of_a_performance_is_said(run: Callable, wink: Track, given: list[str], words: str) -> None:
    """Beside the files, whose names are the same."""
    wink.save(Path())
    write_curves(wink, Path()).rename("e.csv")
    assert run("track-range", ".", "-o", "r.json", "--neutral", 0)[0] == 0
    assert run("track-export", ".", "--to", "csv,livelink", *given) == (
        0,
        "take {1}.csv\ntake {1}_livelink.csv\n",
        words,
    )


@pytest.mark.parametrize(("stem", "to", "own"), [("track", "npz", "track.npz"), ("curves", "csv", "curves.csv")])
def test_the_track_itself_is_never_replaced(run: Callable, wink: Track, stem: str, to: str, own: str) -> None:
    Path("t").mkdir()
    replace(wink, clip=f"/somewhere/{stem}.mp4").save(Path("t"))
    Path("t/curves.csv").write_text("frame\n")
    before = Path("t", own).read_bytes()
    status, out, _ = run("track-export", "t", "--to", to)
    assert status == 0 and Path(out.strip()).name == f"{stem}_{to}{Path(own).suffix}" and Path(out.strip()).exists()
    status, _, err = run("track-export", "t", "--to", to, "-o", f"t/{own}")
    assert status == 2 and "would replace a part of the track" in err and len(err.splitlines()) == 1
    assert Path("t", own).read_bytes() == before


@pytest.mark.parametrize(("terminal", "options"), [(True, []), (False, []), (True, ["-q"])])
def test_progress_by_the_format_on_a_terminal_alone(
    run: Callable, make_track: Callable[..., Track], monkeypatch: pytest.MonkeyPatch, terminal: bool, options: list[str]
) -> None:
    """What is written goes to stdout however that is."""
    make_track(np.arange(3) / 24).save(Path())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    status, out, err = run("track-export", ".", "--to", "ply,obj", *options)
    assert status == 0 and [Path(line).suffix for line in out.splitlines()] == [".zip", ".zip"]
    shown = terminal and not options
    assert ("ply" in err and "obj" in err and "3/3" in err) == shown and bool(err) == shown
