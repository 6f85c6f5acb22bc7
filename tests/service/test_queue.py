"""The queue: order, cancelling, what a restart finds, processes that die."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from selftrack.errors import UserError
from selftrack.service.jobs import JobStore


def test_a_running_job_is_cancelled_and_the_next_one_runs(
    serve: Callable, until: Callable, long: Path, tmp_path: Path
) -> None:
    service = serve("load_slow")
    first, second, third = (service.post(long).json()["id"] for _ in range(3))
    until(lambda: (service.job(first)["progress"] or {}).get("total"))
    job = service.job(first)
    assert job["state"] == "running" and job["progress"]["stage"] in ("finding faces", "tracking")
    assert 0 < job["progress"]["done"] <= job["progress"]["total"]
    assert [service.job(id)["state"] for id in (second, third)] == ["queued"] * 2
    assert [service.job(id)["ahead"] for id in (second, third)] == [0, 1]
    assert service.http.delete(f"/jobs/{first}").status_code == 204
    assert service.http.delete(f"/jobs/{second}").status_code == 204
    assert service.http.get(f"/jobs/{first}").status_code == 404
    assert service.ended(third)["state"] == "done"
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == {".lock", third}
    assert service.http.delete(f"/jobs/{third}").status_code == 204
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == {".lock"}


def test_a_restart_goes_on_in_the_same_order(
    serve: Callable, until: Callable, long: Path, tiny: Path, tmp_path: Path
) -> None:
    service = serve("load_slow")
    done = service.post(tiny).json()["id"]
    before = service.ended(done)
    ids = [service.post(clip).json()["id"] for clip in (long, tiny, tiny)]
    until(lambda: service.job(ids[0])["state"] == "running")
    service.close()
    assert json.loads((tmp_path / "jobs" / ids[0] / "job.json").read_text())["state"] == "running"
    again = serve()
    assert [job["id"] for job in again.http.get("/jobs").json()] == [done, *ids]
    assert again.job(done) == before
    jobs = [again.ended(id) for id in ids]
    assert [job["state"] for job in jobs] == ["done"] * 3
    assert jobs[0]["ended"] <= jobs[1]["ended"] <= jobs[2]["ended"]
    assert jobs[0]["summary"]["frames"] == 40


def test_what_broke_off_is_swept_away(tmp_path: Path) -> None:
    """Folders of uploads without a record, temporary results; nothing of any other name."""
    store = JobStore(tmp_path / "jobs")
    broken = store.create()
    (store.folder(broken) / "clip.mp4").write_bytes(b"half")
    (tmp_path / "jobs" / "mine").mkdir()
    assert store.load() == []
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == {".lock", "mine"}


def test_one_service_has_the_folder(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    with pytest.raises(UserError, match="another track serve works there"):
        JobStore(tmp_path)
    store.close()
    JobStore(tmp_path).close()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    id = store.create()
    (store.folder(id) / "job.json").write_text("{}")
    with pytest.raises(UserError, match=f"{id}/job.json: is no record of a job"):
        store.load()


def test_a_process_that_dies_takes_its_job_with_it(
    serve: Callable, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_PID", str(os.getpid()))
    monkeypatch.setenv("SERVICE_LOG", str(tmp_path / "log"))
    service = serve("load_deadly")
    job = service.ended(service.post(tiny).json()["id"])
    assert job["state"] == "failed" and "SIGKILL" in job["error"] and job["error"].endswith("twice")
    assert (tmp_path / "log").read_text() == "died\n" * 2
    assert service.http.get("/health").status_code == 200


def test_two_workers_share_the_queue(serve: Callable, until: Callable, long: Path) -> None:
    service = serve("load_slow", workers=2)
    ids = [service.post(long).json()["id"] for _ in range(2)]
    until(lambda: [service.job(id)["state"] for id in ids] == ["running"] * 2)
