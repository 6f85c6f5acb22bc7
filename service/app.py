"""The service's addresses: jobs, their results, streams, and a page for a browser."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

import anyio.to_thread
import torch
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from selftrack.batch.job import Job
from selftrack.batch.process import cores
from selftrack.errors import UserError
from selftrack.service.archive import zipped
from selftrack.service.guard import Guard
from selftrack.service.jobs import RESULTS, JobOptions, JobRecord, JobStore, JobSummary, Progress, State
from selftrack.service.limits import Refusal, ServeConfig
from selftrack.service.queue import JobQueue
from selftrack.service.runner import Runner, with_options
from selftrack.service.stream import Connection, Face
from selftrack.service.upload import check_clip, receive
from selftrack.tracker.model import Model

_log = logging.getLogger(__name__)


@dataclass
class Service:
    """What the requests share."""

    config: ServeConfig
    base: Job
    """What all jobs have in common; its settings are those of streams, too."""
    model: Model
    """Tracks the streams."""
    store: JobStore
    queue: JobQueue = field(init=False)
    threads: ThreadPoolExecutor = field(init=False)
    """Track the streams."""
    connections: int = 0
    """Streams that are open."""

    def __post_init__(self) -> None:
        """Take the jobs that are in the store. Raises UserError where one is damaged."""
        self.queue = JobQueue(self.store, Runner(self.base), self.config)
        self.threads = ThreadPoolExecutor(cores(), "stream", lambda: torch.set_num_threads(self.base.track.threads))

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Run jobs while the application does."""
        with self.threads, self.queue:
            yield


class JobView(BaseModel):
    """A job as it is shown."""

    id: str
    clip: str
    """The clip's name as it was sent."""
    options: JobOptions
    state: State
    ahead: int
    """Of a queued job: how many wait before it."""
    progress: Progress | None
    """Of a running job: its stage, and how many of how many steps or frames of that are done."""
    created: str
    began: str
    ended: str
    error: str
    summary: JobSummary | None
    verdict: str
    results: tuple[str, ...]


def _service(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


_Service = Annotated[Service, Depends(_service)]
_FORM = {
    "type": "object",
    "required": ["clip"],
    "properties": {
        "clip": {"type": "string", "format": "binary", "description": "A video."},
        **JobOptions.model_json_schema()["properties"],
        "exports": {"type": "string", "description": JobOptions.model_fields["exports"].description},
    },
}
_UPLOAD: dict[str, Any] = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}
routes = APIRouter()


@routes.get("/", include_in_schema=False)
def page() -> HTMLResponse:
    """A page to upload a clip and to see what becomes of it."""
    return HTMLResponse((files("selftrack.service") / "assets" / "page.html").read_text(encoding="utf-8"))


@routes.get("/health")
def health(service: _Service) -> dict[str, Any]:
    """Say that the service runs, and how much it has to do."""
    states = [record.state for record in service.queue.all()]
    counts = {state: states.count(state) for state in ("queued", "running", "done", "failed")}
    return {"status": "ok", "version": version("selftrack"), "jobs": counts, "streams": service.connections}


@routes.post("/jobs", status_code=201, openapi_extra=_UPLOAD)
async def create_job(request: Request, response: Response, service: _Service) -> JobView:
    """Queue a clip."""
    with service.queue.place():
        name = service.store.create()
        folder = service.store.folder(name)
        try:
            upload = await receive(request, folder, service.config)
            options = JobOptions.of(upload.fields)
            with_options(service.base, options, service.model)
            await anyio.to_thread.run_sync(check_clip, folder / upload.clip, upload.name, options, service.config)
            record = service.queue.add(name, upload.name, upload.clip, options)
        except BaseException:
            service.store.remove(name)
            raise
    response.headers["Location"] = f"/jobs/{name}"
    return _view(service, record)


@routes.get("/jobs")
def list_jobs(service: _Service) -> list[JobView]:
    """List all jobs, the first one first."""
    return [_view(service, record) for record in service.queue.all()]


@routes.get("/jobs/{id}")
def show_job(id: str, service: _Service) -> JobView:
    """Show one job."""
    return _view(service, service.queue.get(id))


@routes.delete("/jobs/{id}", status_code=204)
def delete_job(id: str, service: _Service) -> None:
    """Cancel a job, if it has not ended, and delete all that is kept of it."""
    service.queue.remove(id)


@routes.get("/jobs/{id}/results")
def list_results(id: str, service: _Service) -> list[str]:
    """List the names of a job's results."""
    return list(_done(service, id).results)


@routes.get("/jobs/{id}/results/{name}", response_class=FileResponse)
def send_result(id: str, name: str, service: _Service) -> FileResponse:
    """Send one of a job's results."""
    record = _done(service, id)
    if name not in record.results:
        raise Refusal(404, f"there is no such result; there are {', '.join(record.results)}")
    return FileResponse(service.store.folder(id) / RESULTS / name, filename=name, headers=_AS_FILE)


@routes.get("/jobs/{id}/results.zip", response_class=StreamingResponse)
def send_results(id: str, service: _Service) -> StreamingResponse:
    """Send all of a job's results as one zip."""
    content = zipped(service.store.folder(id) / RESULTS, _done(service, id).results)
    disposition = {"Content-Disposition": f'attachment; filename="{id}.zip"'}
    return StreamingResponse(content, media_type="application/zip", headers=disposition | _AS_FILE)


_AS_FILE = {"X-Content-Type-Options": "nosniff"}
"""Results are downloads, never pages of this site."""


@routes.websocket("/stream")
async def stream(socket: WebSocket, service: _Service) -> None:
    """Track a stream of pictures, see `selftrack.service.stream`."""
    if service.connections >= service.config.connections:
        why = f"{service.config.connections} streams are open, which is all that may; try again later"
        await socket.send_denial_response(JSONResponse({"error": why}, 503))
        return
    service.connections += 1
    try:
        await socket.accept()
        face = Face(service.model, service.base.track, service.config)
        await Connection(socket, face, service.threads, service.config.idle).serve()
    finally:
        service.connections -= 1


def _view(service: Service, record: JobRecord) -> JobView:
    running = record.state == "running"
    return JobView(
        **record.model_dump(include={"id", "state", "created", "began", "ended", "error", "verdict", "results"}),
        clip=record.name,
        options=record.options,
        ahead=service.queue.ahead(record.id),
        progress=service.store.progress(record.id) if running else None,
        summary=record.summary,
    )


def _done(service: Service, name: str) -> JobRecord:
    """A job with results. Raises Refusal where it has none."""
    record = service.queue.get(name)
    if record.state != "done":
        raise Refusal(404, f"this job has no results; it is {record.state}")
    return record


def create_app(service: Service, token: str | None = None) -> FastAPI:
    """The application (ASGI) of a service; with a token, it serves those who know it alone."""
    about = "Facial performance tracking: jobs that are queued, and streams of pictures by WebSocket at /stream."
    app = FastAPI(
        title="selftrack", description=about, version=version("selftrack"), lifespan=service.running, redoc_url=None
    )
    app.state.service = service
    app.include_router(routes)
    app.add_middleware(Guard, token=token)
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(UserError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(Exception, _fail)
    return app


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """One line that says why. The server throws away what is still sent of an upload: were the connection closed, many
    clients would not see the answer."""
    headers = None
    if isinstance(error, Refusal):
        status, why = error.status, error.why
    elif isinstance(error, HTTPException):
        status, why = error.status_code, str(error.detail)
        headers = error.headers
    else:
        status, why = 422, str(error)
    return JSONResponse({"error": " ".join(why.split())}, status, headers)


async def _fail(request: Request, error: Exception) -> JSONResponse:
    """A defect, whose traceback the server logs."""
    return JSONResponse({"error": f"a defect of the service ({type(error).__name__}); its log has more"}, 500)
