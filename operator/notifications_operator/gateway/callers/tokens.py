"""Static tokens: looked up by digest, and read again when their file changes."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from starlette.requests import HTTPConnection

from ...telemetry.redaction import remember_secrets
from ..errors import NotAllowedError
from ..principals import Principal
from .file import PLUGIN, Callers, CallersError, read_callers, token_digest
from .settings import CallerSettings

logger = logging.getLogger(__name__)

_LARGEST_FILE = 1024 * 1024
"""Bytes of the file; a Secret holds no more."""

_NONE = Callers(by_digest={}, tokens=())

_Version = tuple[int, int, int]


class StaticTokens:
    """Knows services by tokens of a file (an `Authenticator`).

    A file that cannot be used leaves the callers as they were. To lock everybody out, write an
    empty list.
    """

    def __init__(self, settings: CallerSettings, *, namespace: str) -> None:
        self._settings = settings
        self._namespace = namespace
        self._callers = _NONE
        self._version: _Version | None = None
        self._loaded = settings.file is None
        self._problem: str | None = None

    @property
    def loaded(self) -> bool:
        """Whether the file could be used at least once, or there is none to read."""
        return self._loaded

    @property
    def problem(self) -> str | None:
        """What is wrong with the file now."""
        return self._problem

    async def authenticate(self, connection: HTTPConnection) -> Principal | None:
        """Return the service whose token was shown, or ``None`` if it is not one of ours.

        Raises
        ------
        NotAllowedError
            If the token is for other plugins of Backstage only.
        """
        token = _bearer(connection)
        caller = None if token is None else self._callers.by_digest.get(token_digest(token))
        if caller is None:
            return None
        allowed = caller.restricted_to
        if allowed is not None and PLUGIN not in allowed:
            raise NotAllowedError(
                f"This token's access is restricted to plugin(s) {', '.join(map(repr, allowed))}"
            )
        return caller.principal

    async def load(self) -> None:
        """Read the file if it is not the one that was read last."""
        file = self._settings.file
        if file is None:
            return
        try:
            read = await asyncio.to_thread(_read_if_changed, file, self._version)
        except OSError as error:
            self._version = None  # The same file may come back.
            self._report(f"{file}: {error.strerror or type(error).__name__}")
            return
        if read is None:
            return
        self._version, content = read
        try:
            callers = read_callers(_decode(content), namespace=self._namespace)
        except CallersError as error:
            self._report(f"{file}: {error}")
            return
        self._callers, self._loaded, self._problem = callers, True, None
        remember_secrets("callers", callers.tokens)
        logger.info("read the callers", extra={"callers": len(callers.by_digest)})

    async def keep_loading(self) -> None:
        """Look for changes until cancelled.

        The kubelet replaces a mounted Secret by changing the link ``..data``, so that the path
        leads to another file; changes of the file itself are seen too.
        """
        while True:
            await asyncio.sleep(self._settings.poll_interval)
            await self.load()

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            kept = "the callers stay as they were" if self._loaded else "there are no callers"
            logger.error("cannot use the file of callers; %s: %s", kept, problem)
        self._problem = problem


def _read_if_changed(file: Path, known: _Version | None) -> tuple[_Version, bytes] | None:
    with file.open("rb") as opened:
        status = os.fstat(opened.fileno())
        version = (status.st_ino, status.st_mtime_ns, status.st_size)
        return None if version == known else (version, opened.read(_LARGEST_FILE + 1))


def _decode(content: bytes) -> str:
    if len(content) > _LARGEST_FILE:
        raise CallersError(f"it has more than {_LARGEST_FILE} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise CallersError("it is not UTF-8") from None


def _bearer(connection: HTTPConnection) -> str | None:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
