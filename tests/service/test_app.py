"""Jobs from the upload to the results, over a socket of this machine."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

from selftrack.tracker import load


def test_a_clip_is_tracked_and_its_results_are_sent(serve: Callable, tiny: Path, tmp_path: Path) -> None:
    service = serve()
    made = service.post(tiny, "my take.mp4", exports="livelink", duration="0.1")
    assert made.status_code == 201 and made.headers["location"] == f"/jobs/{made.json()['id']}"
    assert made.json()["clip"] == "my take.mp4"
    job = service.ended(made.json()["id"])
    assert (job["state"], job["error"], job["progress"]) == ("done", "", None)
    assert job["summary"]["frames"] == 3 and job["summary"]["lost"] == 0  # frames at 0, 0.04 and 0.08 s
    assert job["created"] <= job["began"] <= job["ended"]
    base = f"/jobs/{job['id']}/results"
    assert service.http.get(base).json() == job["results"]
    assert set(job["results"]) == {"track.npz", "curves.csv", "config.yaml", "clip_livelink.csv"}
    rows = list(csv.DictReader(io.StringIO(service.http.get(f"{base}/curves.csv").text)))
    assert [float(row["mouthSmileLeft"]) for row in rows] == [0.25] * 3  # what the made-up network says
    archive = zipfile.ZipFile(io.BytesIO(service.http.get(f"{base}.zip").content))
    assert archive.testzip() is None and archive.namelist() == job["results"]
    archive.extractall(tmp_path / "unpacked")
    np.testing.assert_allclose(load(tmp_path / "unpacked").times, [0, 0.04, 0.08])


@pytest.mark.usefixtures("tracked_here")
def test_a_job_that_fails_says_why_in_the_users_words(serve: Callable, tiny: Path, tmp_path: Path) -> None:
    service = serve("load_blind")
    job = service.ended(service.post(tiny, "C:\\clips\\dark.mp4").json()["id"])
    assert job["state"] == "failed" and job["results"] == [] and job["summary"] is None
    assert job["error"].startswith("dark.mp4: no face was found in any of 4 frames")
    assert str(tmp_path) not in job["error"] and "\n" not in job["error"]
    answer = service.http.get(f"/jobs/{job['id']}/results")
    assert answer.status_code == 404 and answer.json() == {"error": "this job has no results; it is failed"}


@pytest.mark.usefixtures("tracked_here")
def test_jobs_are_listed_in_their_order(serve: Callable, tiny: Path) -> None:
    service = serve()
    ids = [service.post(tiny, f"{i}.mp4").json()["id"] for i in range(3)]
    assert [job["id"] for job in service.http.get("/jobs").json()] == ids
    assert [service.ended(id)["state"] for id in ids] == ["done"] * 3
    began = [service.job(id)["began"] for id in ids]
    assert began == sorted(began)
    assert service.http.get("/health").json()["jobs"] == {"queued": 0, "running": 0, "done": 3, "failed": 0}


ELSEWHERE = (
    "/jobs/{id}/results/job.json",
    "/jobs/{id}/results/..%2Fjob.json",
    "/jobs/{id}/results/%2e%2e%2fjob.json",
    "/jobs/{id}/results/../job.json",
    "/jobs/{id}/results/..%5Cjob.json",
    "/jobs/{id}/results/%2Fetc%2Fpasswd",
    "/jobs/{id}/results/....//job.json",
    "/jobs/{id}/results/curves.csv%00.txt",
    "/jobs/{id}/results/.selftrack%2Fmanifest.json",
    "/jobs/{id}%2F..%2F{id}/results/curves.csv",
    "/jobs/..%2F{id}",
    "/jobs/.lock",
    "/jobs/%2e%2e",
    "/..%2f..%2f..%2fetc%2fpasswd",
    "/../../../etc/passwd",
    "//etc/passwd",
)


def test_nothing_but_results_can_be_reached(finished: tuple) -> None:
    """By paths as they are written here: clients of HTTP would tidy them up."""
    service, id = finished
    for path in ELSEWHERE:
        connection = HTTPConnection("127.0.0.1", service.port)
        connection.putrequest("GET", path.format(id=id))
        connection.endheaders()
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        assert answer.status in (404, 405), path
        assert list(told) == ["error"] and "\n" not in told["error"], path


@pytest.fixture
def finished(tracked_here: None, serve: Callable, tiny: Path) -> tuple:
    """A service with a job that is done."""
    service = serve()
    id = service.post(tiny).json()["id"]
    assert service.ended(id)["state"] == "done"
    return service, id


def test_unknown_jobs_and_results(finished: tuple) -> None:
    service, id = finished
    unknown = "0" * 32
    for method, path in (("GET", ""), ("GET", "/results"), ("GET", "/results.zip"), ("DELETE", "")):
        answer = service.http.request(method, f"/jobs/{unknown}{path}")
        assert (answer.status_code, answer.json()) == (404, {"error": "there is no such job"})
    answer = service.http.get(f"/jobs/{id}/results/gone.csv")
    assert answer.status_code == 404 and "curves.csv" in answer.json()["error"]
    assert service.http.put(f"/jobs/{id}").status_code == 405


def test_the_interface_describes_itself(serve: Callable) -> None:
    service = serve()
    described = service.http.get("/openapi.json").json()
    form = described["paths"]["/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"clip", "adapt", "exports", "start", "duration", "face"}
    assert service.http.get("/docs").status_code == 200 and "selftrack" in service.http.get("/").text
