"""Who is served, and who is not."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


def test_a_token_protects_all_that_is_of_jobs(serve: Callable, tiny: Path) -> None:
    service = serve(token="s3cret")
    assert service.http.get("/jobs").json() == []
    with httpx.Client(base_url=service.http.base_url) as stranger:
        for path in ("/", "/health", "/docs", "/openapi.json"):
            assert stranger.get(path).status_code == 200
        for value in (None, "", "s3cret", "Bearer", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "Bearer é"):
            headers = {} if value is None else {"Authorization": value.encode()}
            for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("GET", "/health/"), ("DELETE", "/jobs/1")):
                answer = stranger.request(method, path, headers=headers)
                assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
                assert list(answer.json()) == ["error"]
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{service.port}/stream"):
            pass
        assert refused.value.response.status_code == 401
    headers = {"Authorization": "Bearer s3cret"}
    with connect(f"ws://127.0.0.1:{service.port}/stream", additional_headers=headers):
        pass


def test_pages_of_other_sites_are_refused(serve: Callable) -> None:
    """By the origin that a browser sends, and by a name that another site's DNS gives to this machine."""
    service = serve()
    here = f"127.0.0.1:{service.port}"
    assert service.http.get("/jobs", headers={"Origin": f"http://{here}"}).status_code == 200
    assert service.http.get("/jobs", headers={"Host": "localhost:1"}).status_code == 200
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": "[x"}):
        answer = service.http.post("/jobs", headers=headers)
        assert answer.status_code == 403 and list(answer.json()) == ["error"]
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{here}/stream", origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403


def test_with_a_token_a_proxy_may_give_it_another_name(serve: Callable) -> None:
    service = serve(token="s3cret")
    assert service.http.get("/jobs", headers={"Host": "faces.example"}).status_code == 200
