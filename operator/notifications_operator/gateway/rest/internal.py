"""The internal application: probes, metrics, and what the operator hands over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse, Response

from ...telemetry import gateway as metrics
from ..errors import install_error_handlers
from ..readiness import Readiness


def internal_application(*, readiness: Readiness, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """Return the application; ``routers`` have their full paths."""
    application = FastAPI(openapi_url=None, redirect_slashes=False)
    install_error_handlers(application)
    application.include_router(_probes(readiness))
    for router in routers:
        application.include_router(router)
    return application


def _probes(readiness: Readiness) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> Response:
        """Answer as long as the event loop comes round; nothing outside is asked."""
        return PlainTextResponse("ok\n")

    @router.get("/readyz")
    async def readyz() -> Response:
        checks = readiness()
        lines = [
            f"[{check.mark}]{name} {check.problem or 'ok'}\n" for name, check in checks.items()
        ]
        serving = all(check.problem is None or check.serving for check in checks.values())
        return PlainTextResponse("".join(lines), status_code=200 if serving else 503)

    @router.get("/metrics")
    async def show_metrics() -> Response:
        for name, check in readiness().items():
            metrics.CHECK.labels(name).set(check.problem is None)
        metrics.TASKS.set(len(asyncio.all_tasks()))
        body, content_type = metrics.exposition()
        return Response(body, headers={"Content-Type": content_type})

    return router
