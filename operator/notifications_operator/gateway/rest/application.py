"""The public application: routes, errors, OpenAPI document, CORS."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from ..errors import install_error_handlers
from .context import REQUEST_ID, RequestContext
from .document import complete_document

BASE_PATH = "/api/notifications"
"""Where Backstage has its notifications plugin, and so its clients look for it."""


def rest_application(
    *, notifications: Sequence[APIRouter], others: Sequence[APIRouter] = (), cors_origins: list[str]
) -> ASGIApp:
    """Return the application.

    Parameters
    ----------
    notifications
        Routes below `BASE_PATH`.
    others
        Routes with their full paths.
    cors_origins
        Origins of pages that may use it from another origin. They show a token: cookies of ours
        are never sent along from there.
    """
    application = FastAPI(
        title="Notifications",
        summary="Backstage's notifications, on Kubernetes.",
        version=metadata.version("notifications-operator"),
        openapi_url=f"{BASE_PATH}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install_error_handlers(application)
    for router in notifications:
        application.include_router(router, prefix=BASE_PATH)
    for router in others:
        application.include_router(router)
    complete_document(application)
    return RequestContext(_with_cors(application, cors_origins), base_path=BASE_PATH)


def _with_cors(application: ASGIApp, origins: list[str]) -> ASGIApp:
    if not origins:
        return application
    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Prefer", REQUEST_ID],
        expose_headers=["Notification-Resource", "Preference-Applied", "Retry-After", REQUEST_ID],
        max_age=600,
    )
