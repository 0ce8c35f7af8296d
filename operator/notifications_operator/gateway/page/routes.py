"""Serves the page. Nothing in it comes from another host, and no script stands in it."""

from __future__ import annotations

import logging
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from .settings import PageSettings

logger = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types lit-html",
    )
)
"""What a browser may load and do for the page (Content Security Policy Level 3); lit makes its
templates under a policy of that name."""

_FOR_EVER = "public, max-age=31536000, immutable"
_CHECKED = "no-cache"


class _Assets(StaticFiles):
    """Files whose names change with their contents."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = _FOR_EVER
        return response


def page_router(
    settings: PageSettings, *, app_base_url: str | None, login: bool
) -> APIRouter | None:
    """Return the page's routes, or ``None`` if it was not built.

    Parameters
    ----------
    app_base_url
        Where relative links lead.
    login
        Whether people can log in by their browser.
    """
    directory = settings.directory
    if not (directory / "index.html").is_file():
        logger.warning("there is no page in %s; only the API is served", directory)
        return None
    router = APIRouter(include_in_schema=False)
    config = _config(settings, app_base_url=app_base_url, login=login)

    @router.get("/")
    async def page() -> Response:
        return _file(directory / "index.html", {"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    @router.get("/page.json")
    async def page_config() -> Response:
        return JSONResponse(config, headers={"Cache-Control": _CHECKED})

    @router.get("/favicon.svg")
    async def icon() -> Response:
        return _file(directory / "favicon.svg")

    @router.get("/notifications.js")
    async def elements() -> Response:
        """Return the elements for other pages: one script, which any origin may load."""
        return _file(
            directory / "notifications.js",
            {"Cross-Origin-Resource-Policy": "cross-origin", "Access-Control-Allow-Origin": "*"},
        )

    router.mount("/assets", _Assets(directory=directory / "assets"))
    return router


def _file(path: Path, headers: dict[str, str] | None = None) -> Response:
    return FileResponse(path, headers={"Cache-Control": _CHECKED, **(headers or {})})


def _config(settings: PageSettings, *, app_base_url: str | None, login: bool) -> dict[str, object]:
    """Return what ``web/src/app/config.ts`` reads."""
    return {
        "title": settings.title,
        "appBaseUrl": app_base_url,
        "signInUrl": "/auth/login" if login else None,
        "signOutUrl": "/auth/logout" if login else None,
        "sessionUrl": "/auth/session",
        "markAsReadOnLinkOpen": settings.mark_as_read_on_link_open,
        "webNotificationsEnabled": settings.web_notifications_enabled,
        "titleCounterEnabled": settings.title_counter_enabled,
        "snackbarEnabled": settings.snackbar_enabled,
        "snackbarAutoHideDuration": settings.snackbar_auto_hide_duration,
        "originNames": settings.origin_names,
        "topicNames": settings.topic_names,
    }
