"""A service from its settings to its end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from selftrack.batch.job import Job
from selftrack.errors import UserError
from selftrack.service.app import Service, create_app
from selftrack.service.guard import LOOPBACK
from selftrack.service.jobs import JobStore
from selftrack.service.limits import MEGA, ServeConfig

_FAREWELL = 5
"""Seconds that open connections have when the service ends."""


def serve(
    base: Job,
    folder: Path,
    config: ServeConfig,
    host: str = LOOPBACK[0],
    port: int = 8000,
    token: str | None = None,
    *,
    log: bool = False,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        base: what all jobs have in common.
        folder: where jobs are kept.
        config: what is allowed.
        host: address of this machine to listen at.
        port: 0 for any that is free.
        token: what clients have to know; None for none.
        log: whether requests are logged.
        ready: gets the address when it listens.

    Raises:
        UserError: the address cannot be listened at, or by others and without a token; no such weights; or a folder
            that cannot be written or is another service's.
    """
    if token is None and host not in LOOPBACK:
        raise UserError(f"--host {host}: others may reach it; protect it with --token, or leave --host out")
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token or not token):
        raise UserError("--token is a word of ASCII letters, digits and signs, without spaces")
    listening = _listen(host, port)
    with listening:
        store = JobStore(folder)
        try:
            service = Service(config, base, base.load(base.track), store)
            server = uvicorn.Server(server_config(service, token, log))
            ready(f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/")
            server.run([listening])
        finally:
            store.close()


def server_config(service: Service, token: str | None = None, log: bool = False) -> uvicorn.Config:
    """How uvicorn serves a service."""
    return uvicorn.Config(
        create_app(service, token),
        log_level="info" if log else "error",
        access_log=log,
        ws_max_size=round(service.config.picture * MEGA),
        ws_max_queue=4,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_FAREWELL,
        server_header=False,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UserError where that cannot be."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{host}:{port}: cannot listen there ({why}); name another --host or --port") from error
