"""The session in a browser's cookie, and what guards it from other sites."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from ..errors import AuthenticationError, NotAllowedError, SessionEndedError
from ..principals import UserPrincipal
from .sessions import Sessions, may_be_session_id

SESSION_COOKIE: Final = "__Host-notifications-session"
"""The prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis 4.1.3.2)."""

COOKIE_ATTRIBUTES: Final[dict[str, Any]] = {
    "path": "/",
    "secure": True,
    "httponly": True,
    "samesite": "lax",
}
"""Of every cookie that the gateway sets."""

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class SessionAuthenticator:
    """People who logged in with the browser.

    With an ``Authorization`` header the cookie is ignored: a caller is who its token says, or
    nobody.

    Parameters
    ----------
    sessions
        All sessions.
    origin
        The page's origin, as browsers write it.
    """

    def __init__(self, sessions: Sessions, *, origin: str) -> None:
        self._sessions = sessions
        self._origin = origin

    async def authenticate(self, connection: HTTPConnection) -> UserPrincipal | None:
        """Return the user of the session, ``None`` without one.

        Raises
        ------
        NotAllowedError
            If another site may have made the browser send this.
        SessionEndedError
            If the session has ended. That cannot be told from one that never was, and need not:
            nobody guesses an id of 256 bits.
        AuthenticationError
            If that is no id of a session.
        """
        session_id = session_id_of(connection)
        if session_id is None:
            return None
        self.check_own_page(connection)
        session = await self._sessions.use(session_id)
        if session is None:
            message = "The session has ended; log in again"
            if not may_be_session_id(session_id):
                raise AuthenticationError(message)
            raise SessionEndedError(message, set_cookie=_forgetting())
        return UserPrincipal(
            entity_ref=session.entity_ref, expires=session.expires, session=session.key
        )

    def check_own_page(self, connection: HTTPConnection) -> None:
        """Refuse what changes something, or opens a socket, unless our own page sent it.

        A form of another site can send neither JSON nor a false ``Origin``, and a browser sends
        cookies with sockets to any site that opens them.

        Raises
        ------
        NotAllowedError
            Saying what is missing.
        """
        if connection.scope["type"] == "http":
            if connection.scope["method"] in _READING:
                return
            media_type = connection.headers.get("content-type", "").partition(";")[0]
            if media_type.strip().lower() != "application/json":
                raise NotAllowedError(
                    "With a session's cookie, requests that change something need "
                    "Content-Type: application/json"
                )
        if not self._is_same_origin(connection):
            raise NotAllowedError("A session's cookie is accepted from the gateway's own page only")

    def _is_same_origin(self, connection: HTTPConnection) -> bool:
        origins = connection.headers.getlist("origin")
        if origins:
            return origins == [self._origin]
        return connection.headers.getlist("sec-fetch-site") == ["same-origin"]


def forget_session(response: Response) -> None:
    """Have the browser forget its session."""
    response.delete_cookie(SESSION_COOKIE, **COOKIE_ATTRIBUTES)


def _forgetting() -> str:
    response = Response()
    forget_session(response)
    return response.headers["set-cookie"]


def session_id_of(connection: HTTPConnection) -> str | None:
    """Return the id in the session's cookie, ``None`` without one or with other credentials."""
    if "authorization" in connection.headers:
        return None
    return connection.cookies.get(SESSION_COOKIE) or None
