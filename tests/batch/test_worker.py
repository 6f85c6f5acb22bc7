"""What is done with a clip: once, and again only where that was asked for."""

import json
import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.batch.clips import Clip
from selftrack.batch.job import Job
from selftrack.batch.status import StatusFolder
from selftrack.batch.worker import Worker
from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker import load
from selftrack.tracker.clips.config import TrackConfig
from selftrack.tracker.clips.subjects import PersonConfig

MakeClips = Callable[..., list[Clip]]
MakeWorker = Callable[..., Worker]


def _age(worker: Worker, clip: Clip) -> int:
    return (worker.out / clip.name / "track.npz").stat().st_mtime_ns


def test_a_clip_is_tracked_once(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,), worker = make_clips("a.mp4"), make_worker()
    assert worker.left(clip) is None and worker(clip).end == "tracked"
    track = load(worker.out / "a.mp4")
    assert len(track) == 4 and track.ok.all()
    status = worker.status.read("a.mp4")
    assert (status.state, status.frames, status.lost, status.error) == ("done", 4, 0, "")
    assert status.clip_hash == track.clip_hash == file_hash(Path(clip.path))
    assert status.trusted == track.trusted() and status.began <= status.ended and status.seconds > 0
    assert set(status.files) == {"track.npz", "curves.csv", "config.yaml"}
    age = _age(worker, clip)
    assert worker.left(clip).end == worker(clip).end == make_worker()(clip).end == "there"
    assert _age(worker, clip) == age
    assert {path.name for path in worker.status.path.iterdir()} == {"a.mp4.json"}


def test_two_clips_of_one_name_have_their_own_folders(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    clips, worker = make_clips("b/take.mp4", "take.mp4"), make_worker()
    assert [worker(clip).end for clip in clips] == ["tracked", "tracked"]
    assert [load(worker.out / clip.name).clip for clip in clips] == [clip.path for clip in clips]


@pytest.mark.parametrize("what", ["settings", "clip", "weights", "lacks curves.csv"])
def test_what_disagrees_is_replaced_only_with_overwrite(
    make_clips: MakeClips, make_worker: MakeWorker, what: str, tmp_path: Path
) -> None:
    (clip, other), settings = make_clips("a.mp4", "other.mp4"), {}
    worker = make_worker()
    worker(clip)
    if what == "settings":
        settings = {"duration": 0.1}
    elif what == "clip":
        Path(clip.path).write_bytes(Path(other.path).read_bytes() + b"\0")
    elif what == "weights":
        (tmp_path / "mine.safetensors").write_bytes(b"other weights")
        settings = {"weights": str(tmp_path / "mine.safetensors")}
    else:
        (worker.out / "a.mp4" / "curves.csv").unlink()
    age, outcome = _age(worker, clip), make_worker(**settings)(clip)
    assert outcome.end == "differs" and what in outcome.text and "--overwrite" in outcome.text
    assert _age(worker, clip) == age
    assert make_worker(overwrite=True, **settings)(clip).end == "tracked"
    assert _age(worker, clip) > age and make_worker(**settings)(clip).end == "there"


def test_a_clip_that_was_only_touched_is_the_same(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,), worker = make_clips("a.mp4"), make_worker()
    worker(clip)
    Path(clip.path).touch()
    assert worker(clip).end == "there"


def test_where_all_results_are_gone_they_are_made_again(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,), worker = make_clips("a.mp4"), make_worker()
    worker(clip)
    shutil.rmtree(worker.out / "a.mp4")
    assert worker(clip).end == "tracked"


def test_a_failed_clip_is_tried_again_only_when_asked(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,) = make_clips("a.mp4")
    good = Path(clip.path).read_bytes()
    Path(clip.path).write_bytes(good[:100])
    worker = make_worker()
    failed = worker(clip)
    assert failed.end == "failed" and "no video stream" in failed.text
    status = worker.status.read("a.mp4")
    assert (status.state, status.error, status.traceback) == ("failed", failed.text, "")
    assert not (worker.out / "a.mp4").exists()
    assert worker(clip).end == worker.left(clip).end == "failed before" and worker(clip).text == failed.text
    assert make_worker(retry_failed=True)(clip).end == "failed"
    Path(clip.path).write_bytes(good)  # another clip than the one that failed
    assert worker(clip).end == "tracked"


def test_a_clip_that_is_gone_fails(make_worker: MakeWorker, tmp_path: Path) -> None:
    """The line begins with what is wrong: who shows it names the clip."""
    outcome = make_worker()(Clip("gone.mp4", str(tmp_path / "gone.mp4")))
    assert outcome.end == "failed" and outcome.text.startswith("no such file")


def test_a_defect_is_noted_with_its_traceback(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,), worker = make_clips("a.mp4"), make_worker()
    worker.__dict__["model"] = object()
    outcome = worker(clip)
    assert outcome.end == "failed" and outcome.text.startswith("AttributeError: ") and "report it" in outcome.text
    assert worker.status.read("a.mp4").traceback.startswith("Traceback")


def test_after_a_kill_it_goes_on_and_nothing_is_left(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    """Killed while it tracked, or when the files were there and the status was not."""
    (clip,), worker = make_clips("a.mp4"), make_worker()
    worker(clip)
    status = worker.status.read("a.mp4")
    worker.status.write(replace(status, state="begun", ended="", files=()))
    (worker.out / ".a.mp4-abc_de12").mkdir()  # as a killed process leaves it
    (worker.out / ".a.mp4-of-another").mkdir()
    assert worker.left(clip) is None and worker(clip).end == "tracked"
    assert {path.name for path in worker.out.iterdir()} == {"a.mp4", ".status", ".a.mp4-of-another"}


def test_files_of_the_user_stay(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,), worker = make_clips("a.mp4"), make_worker(overwrite=True)
    own = worker.out / "a.mp4" / "curves.csv"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    outcome = worker(clip)
    assert outcome.end == "failed" and "did not write" in outcome.text and own.read_text() == "mine"


def _hold(out: str, name: str, held: object, done: object) -> None:
    """Claim a clip, say so, and keep it until told."""
    with StatusFolder(Path(out)).claim(name) as claimed:
        held.put(claimed)
        done.wait(60)


def test_a_clip_that_another_process_has_is_left_to_it(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,), worker = make_clips("a.mp4"), make_worker()
    context = multiprocessing.get_context("fork")
    held, done = context.Queue(), context.Event()
    other = context.Process(target=_hold, args=(str(worker.out), clip.name, held, done))
    other.start()
    assert held.get(timeout=60) is True
    assert worker(clip).end == "elsewhere" and worker.status.read("a.mp4") is None
    other.kill()  # a claim ends with its process
    other.join()
    assert worker(clip).end == "tracked"


def test_the_death_of_a_process_is_noted(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,), worker = make_clips("a.mp4"), make_worker()
    assert worker.lost(clip, "killed").end == "failed"
    status = worker.status.read("a.mp4")
    assert (status.state, status.error) == ("failed", "killed") and status.clip_hash == file_hash(Path(clip.path))
    assert worker(clip).end == "failed before"


def test_a_damaged_status_file_is_one_line(make_clips: MakeClips, make_worker: MakeWorker) -> None:
    (clip,), worker = make_clips("a.mp4"), make_worker()
    worker(clip)
    file = worker.status.path / "a.mp4.json"
    for text in ("{", json.dumps({"name": "a.mp4"}), "[]"):
        file.write_text(text)
        with pytest.raises(UserError, match="is no status file"):
            worker.left(clip)


def test_weights_that_are_not_there_are_refused_at_once(make_worker: MakeWorker) -> None:
    with pytest.raises(UserError, match="nowhere.safetensors: cannot be read"):
        make_worker(weights="nowhere.safetensors")


def test_an_adaptation_made_elsewhere_is_used(smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by one worker, adapted to by another and tracked by a third, as on a cluster with GPUs."""
    steps = AdaptConfig(steps=2, groups=2, texels=200, texture=64, refresh=2, evaluate=2)
    job = Job(TrackConfig(overlay=False, duration=0.5, person=PersonConfig(samples=2)), steps)
    reader, adapter, tracker = (Worker(job, tmp_path / "out") for _ in range(3))
    clip, gone = Clip("smile.mp4", str(smile)), Clip("gone.mp4", str(tmp_path / "gone.mp4"))
    reading = reader.read(clip)
    monkeypatch.setattr("selftrack.adapt.run.read_clip", lambda *_: pytest.fail("reads it"))
    adapter.adapt(clip, reading)
    assert tracker(clip).end == "tracked" and tracker.status.read("smile.mp4").adaptation.startswith("held-out frames")
    assert (tracker.out / "smile.mp4" / "adaptation.json").exists()
    assert not list((tracker.out / "smile.mp4" / ".selftrack").glob("*.checkpoint"))
    assert reader.read(clip) is None and reader.read(gone) is None
    adapter.adapt(gone, None)
    assert tracker(gone).end == "failed"
