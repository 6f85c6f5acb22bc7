"""What inputs become: clips with names that are unique and stay, and shards of them."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from selftrack.batch.clips import Clip, Shard, find_clips
from selftrack.errors import UserError


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with videos of equal names, pictures, and things that are no clips."""
    monkeypatch.chdir(tmp_path)
    _touch(
        "corpus/a/take.mp4 corpus/a/take.mov corpus/b/take.mp4 corpus/b/notes.txt corpus/b/thumb.png "
        "corpus/shot/img0001.png corpus/shot/img0002.png corpus/.trash/old.mp4 corpus/out/x/overlay.mp4 "
        "corpus/take_track/.selftrack/manifest.json corpus/take_track/overlay.mp4".split()
    )
    return tmp_path / "corpus"


def _touch(names: Iterable[str]) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def _names(*inputs: str, leave_out: str | None = None) -> list[str]:
    return [clip.name for clip in find_clips(inputs, Path(leave_out) if leave_out else None)]


ALL = ["a/take.mov", "a/take.mp4", "b/take.mp4", "shot"]


def test_a_folder_is_looked_through_but_for_results_and_what_is_hidden(corpus: Path) -> None:
    assert _names("corpus", leave_out="corpus/out") == ALL
    assert find_clips(["corpus/b"]) == [Clip("take.mp4", str(corpus / "b" / "take.mp4"))]


@pytest.mark.parametrize("inputs", [["corpus/*/take.*", "corpus/shot"], ["corpus/a", "corpus/b", "corpus/shot"]])
def test_names_are_places_below_the_common_root(inputs: list[str]) -> None:
    assert _names(*inputs) == ALL


def test_a_clip_that_comes_changes_no_other_name() -> None:
    before = _names("corpus", leave_out="corpus/out")
    _touch(["corpus/a/take.mkv", "corpus/new/take.mp4"])
    assert set(before) < set(_names("corpus", leave_out="corpus/out"))


def test_a_list_names_one_path_a_line_and_a_clip_only_once(corpus: Path) -> None:
    Path("list.txt").write_text("corpus/a/take.mp4\n\n corpus/b/take.mp4 \ncorpus/gone.mp4\n")
    assert _names("@list.txt", "corpus/a/take.mp4") == ["a/take.mp4", "b/take.mp4", "gone.mp4"]


def test_pictures_are_one_clip_by_their_folder_or_a_pattern(corpus: Path) -> None:
    assert find_clips(["corpus/shot"]) == [Clip("shot", str(corpus / "shot"))]
    assert find_clips(["corpus/shot/img%04d.png"]) == [Clip("img", str(corpus / "shot" / "img%04d.png"))]
    assert _names("corpus/shot/img*.png", "corpus/a/take.mp4") == ["a/take.mp4", "shot/img"]


@pytest.mark.parametrize(
    "inputs,words",
    [
        (["gone.mp4"], "gone.mp4: no such file or folder"),
        (["@gone.txt"], r"the list cannot be read \(No such file or directory\)"),
        (["corpus/*.avi"], "no file has such a name"),
        (["corpus/take_track"], "no clips there"),
        (["corpus/shot/img0001.png"], "is one picture"),
        (["https://example.org/a.mp4"], "URLs are not read"),
        (["corpus/shot/img%04d.png", "corpus/shot/img*.png"], "rename one of them"),
    ],
)
def test_bad_inputs_are_one_line(inputs: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_clips(inputs)


def test_pictures_beside_videos_are_left_out_with_one_line() -> None:
    """Each is counted once, however many inputs it is below; pictures that are a clip are none of them."""
    _touch(["corpus/a/me.jpg"])
    lines: list[str] = []
    clips = find_clips(["corpus", "corpus/a"], Path("corpus/out"), lines.append)
    assert [clip.name for clip in clips] == ALL
    (line,) = lines
    assert line.startswith("pictures beside videos that are left out: 2; ")
    find_clips(["corpus/shot", "corpus/a/take.mp4"], say=lines.append)
    assert lines == [line]


def test_shards_are_disjoint_complete_and_stable() -> None:
    clips = [Clip(f"{i:05d}.mp4", f"/{i}") for i in range(2000)]
    shards = [Shard.parse(f"{i}/16").of(clips) for i in range(1, 17)]
    assert sorted(clip.name for shard in shards for clip in shard) == [clip.name for clip in clips]
    assert all(80 < len(shard) < 170 for shard in shards)  # 125 on average, standard deviation 11
    fewer = clips[::3]
    assert [Shard(5, 16).of(fewer)] == [[clip for clip in shards[4] if clip in fewer]]
    assert Shard().of(clips) == clips


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="I from 1 to N"):
        Shard.parse(text)


def test_links_to_clips_are_clips(tmp_path: Path) -> None:
    os.symlink(tmp_path / "corpus" / "a" / "take.mp4", tmp_path / "corpus" / "b" / "link.mp4")
    assert _names("corpus/b") == ["link.mp4", "take.mp4"]
