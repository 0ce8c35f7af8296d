"""The routes of login and logout."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from ...catalog.quoting import quoted
from ..errors import AuthenticationError, InputError
from ..principals import Access, Attempts
from .cookies import (
    COOKIE_ATTRIBUTES,
    SESSION_COOKIE,
    SessionAuthenticator,
    forget_session,
    session_id_of,
)
from .login import CALLBACK_PATH, Login
from .pending import LIFETIME, PendingLogin, cookie_name
from .return_to import check_return_to
from .sessions import Sessions

_NO_STORE: Final = {"Cache-Control": "no-store"}


def session_router(access: Access) -> APIRouter:
    """Return the route by which a page learns who uses it: ``GET /auth/session``."""
    router = APIRouter(include_in_schema=False)

    @router.get("/auth/session")
    async def read_session(request: Request) -> JSONResponse:
        """Who am I: the user's ref, and until when that is known; 401 for nobody."""
        user = await access.user(request)
        expires = None if user.expires is None else user.expires.isoformat()
        return JSONResponse(
            {"userEntityRef": user.entity_ref, "expiresAt": expires}, headers=_NO_STORE
        )

    return router


def login_router(
    login: Login, sessions: Sessions, authenticator: SessionAuthenticator, attempts: Attempts
) -> APIRouter:
    """Return the routes ``/auth/login``, ``/auth/callback`` and ``/auth/logout``.

    Parameters
    ----------
    attempts
        Bounds the codes that are shown to the issuer: anybody can make them up, with a state and
        the cookie that goes with it.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/auth/login")
    async def begin_login(request: Request) -> RedirectResponse:
        """Send the browser to the issuer; ``return_to`` is the path to come back to."""
        return_to = _single(request, "return_to")
        pending = PendingLogin(return_to=check_return_to("/" if return_to is None else return_to))
        response = RedirectResponse(await login.url(pending), status_code=302, headers=_NO_STORE)
        response.set_cookie(
            pending.cookie_name, pending.to_cookie(), max_age=LIFETIME, **COOKIE_ATTRIBUTES
        )
        return response

    @router.get(CALLBACK_PATH)
    async def finish_login(request: Request) -> RedirectResponse:
        """Take the issuer's answer, and begin a session with a new id."""
        pending = _pending(request)
        if (error := _single(request, "error")) is not None:
            raise AuthenticationError(f"The issuer refused the login: {quoted(error)}")
        code = _single(request, "code")
        if not code:
            raise InputError("The issuer's answer has neither code nor error")
        issuer = _single(request, "iss")
        with attempts.attempt(request):
            entity_ref = await login.finish(pending, code=code, issuer=issuer)
        if (former := request.cookies.get(SESSION_COOKIE)) is not None:
            await sessions.end(former)
        session_id = await sessions.create(entity_ref)
        response = RedirectResponse(pending.return_to, status_code=303, headers=_NO_STORE)
        response.delete_cookie(pending.cookie_name, **COOKIE_ATTRIBUTES)
        response.set_cookie(
            SESSION_COOKIE,
            session_id,
            max_age=int(sessions.absolute_timeout.total_seconds()),
            **COOKIE_ATTRIBUTES,
        )
        return response

    @router.post("/auth/logout")
    async def logout(request: Request) -> Response:
        """End the session; the issuer's own goes on."""
        if (session_id := session_id_of(request)) is not None:
            authenticator.check_own_page(request)
            await sessions.end(session_id)
        response = Response(status_code=204, headers=_NO_STORE)
        forget_session(response)
        return response

    return router


def _pending(request: Request) -> PendingLogin:
    """Return the login that the answer belongs to.

    Without one there is nothing to answer: somebody else may have sent this browser here, to have
    it logged in as them (RFC 6819 section 4.4.1.8).
    """
    state = _single(request, "state")
    kept = None if state is None else request.cookies.get(cookie_name(state))
    if state is None or kept is None:
        raise InputError(
            "This login was not begun by this browser, or too long ago; begin it again at "
            "/auth/login"
        )
    return PendingLogin.from_cookie(kept, state=state)


def _single(request: Request, name: str) -> str | None:
    """Return a query parameter that may be given once."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise InputError(f"The parameter {name} is given more than once")
    return values[0] if values else None
