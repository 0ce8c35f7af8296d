"""What every answer has: a request's id, headers that harden it, and a place in the metrics.

This is the outermost layer, so that answers to errors have it too.
"""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...telemetry import gateway as metrics

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"

HARDENING = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of answers that do not set them themselves (OWASP REST Security Cheat Sheet)."""

_VALID_ID = re.compile(r"[-._~A-Za-z0-9]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestContext:
    """Wraps an application.

    Parameters
    ----------
    base_path
        What routes are below whose templates do not begin with it: FastAPI leaves out the prefix
        that a router is included with.
    """

    def __init__(self, application: ASGIApp, *, base_path: str) -> None:
        self._application = application
        self._base_path = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection; all but HTTP is passed on."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        exchange = _Exchange(scope, send, base_path=self._base_path)
        try:
            await self._application(scope, receive, exchange.send)
        except Exception:
            # Starlette raises what it has already logged and answered.
            if not exchange.complete:
                raise
        finally:
            exchange.measure()


class _Exchange:
    """One request and what is answered."""

    def __init__(self, scope: Scope, send: Send, *, base_path: str) -> None:
        self._scope = scope
        self._base_path = base_path
        self._send = send
        self._begin = time.monotonic()
        self._status: int | None = None
        self.complete = False
        given = Headers(scope=scope).get(REQUEST_ID, "")
        self._id = given if _VALID_ID.fullmatch(given) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = self._id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._id
            for name, value in HARDENING.items():
                headers.setdefault(name, value)
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    def measure(self) -> None:
        route = self._route()
        method = self._scope["method"] if self._scope["method"] in _METHODS else "<other>"
        code = "<none>" if self._status is None else str(self._status)
        seconds = time.monotonic() - self._begin
        metrics.REQUESTS.labels(method, route, code).inc()
        metrics.REQUEST_SECONDS.labels(method, route).observe(seconds)
        if self._status is not None and self._status >= 500:
            logger.warning(
                "answered %d",
                self._status,
                extra={"request": self._id, "method": method, "route": route},
            )

    def _route(self) -> str:
        """Return the template of the path; never the path itself, of which there are many."""
        template: str | None = getattr(self._scope.get("route"), "path", None)
        if template is None:
            return "<none>"
        complete = template.startswith(self._base_path)
        below = self._scope["path"].startswith(self._base_path)
        return self._base_path + template if below and not complete else template
