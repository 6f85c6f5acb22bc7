"""Who may ask: with the token if there is one, and no page of another site by the browser of whoever may."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from selftrack.service.limits import Refusal

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine, as it calls itself alone."""
_OPEN = ("/", "/health", "/docs", "/openapi.json")
"""What anybody may see: it tells nothing of any job."""


class Guard:
    """Refuses requests before anything is read of them (ASGI middleware)."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._check(Headers(scope=scope), scope["path"])
            except Refusal as refusal:
                headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
                await JSONResponse({"error": refusal.why}, refusal.status, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, headers: Headers, path: str) -> None:
        """Raises Refusal."""
        host = headers.get("host", "")
        if self._token is None and _name(f"//{host}") not in LOOPBACK:  # DNS may lead another site's page here
            raise Refusal(403, f"without a token this service answers to {', '.join(LOOPBACK)} alone")
        origin = headers.get("origin")  # which browsers send along
        if origin is not None and origin.partition("//")[2] != host:
            raise Refusal(403, "pages of other sites may not use this service")
        if self._token is not None and path not in _OPEN:
            given = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                raise Refusal(401, "needs the token of this service, as the header Authorization: Bearer TOKEN")


def _name(address: str) -> str | None:
    """The host's name of an address, None where it is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
