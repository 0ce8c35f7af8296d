"""The public keys of an issuer, fetched from its JWKS (RFC 7517) and kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from .algorithms import KEY_KINDS
from .documents import DocumentError, DocumentReader
from .settings import KeySettings

logger = logging.getLogger(__name__)

MAX_KEYS: Final = 100
"""Most keys that are taken from one JWKS; issuers publish a handful."""

RSA_BITS: Final = range(2048, 8193)
"""RFC 7518 section 3.3 asks for 2048 bits; verifying with more than 8192 takes long."""


class KeysUnavailable(Exception):
    """The issuer's keys cannot be had at the moment; the message says why."""

    def __init__(self, issuer: str, reason: str, *, retry_after: float) -> None:
        super().__init__(f"the keys of {issuer} cannot be read: {reason}")
        self.retry_after = retry_after


class KeySource:
    """The keys of one issuer.

    `run` reads them at once and then again and again. In between, a key that is not known makes
    `find` read them, though not at every made-up one. While the issuer is away, what was read last
    goes on being used for a time.

    Parameters
    ----------
    issuer
        For messages.
    locate
        Returns the URL of the JWKS; asked before every reading. Raises `DocumentError`.
    documents
        Reads it.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        issuer: str,
        locate: Callable[[], Awaitable[str]],
        documents: DocumentReader,
        settings: KeySettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._locate = locate
        self._documents = documents
        self._settings = settings
        self._clock = clock
        self._reading = asyncio.Lock()
        self._keys: tuple[Key, ...] = ()
        self._read_at: float | None = None
        self._readings = 0
        self._failure: str | None = None
        self._asked_at: float | None = None
        self._run_since: float | None = None

    @property
    def tried(self) -> bool:
        """Whether the keys were asked for once, however it ended."""
        return self._readings > 0

    @property
    def ready(self) -> bool:
        """Whether the keys are there, or were waited for long enough."""
        if self._read_at is not None:
            return True
        if self._run_since is None:
            return False
        return self._clock() - self._run_since >= self._settings.warm_grace

    @property
    def problem(self) -> str | None:
        """Why the keys cannot be read, if so."""
        if self._failure is not None:
            return f"the keys of {self._issuer} cannot be read: {self._failure}"
        if self._read_at is None:
            return f"the keys of {self._issuer} were not read yet"
        return None

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        self._run_since = self._clock()
        while True:
            async with self._reading:
                await self._read()
            await asyncio.sleep(
                self._settings.refresh_interval
                if self._failure is None
                else self._settings.unknown_key_interval
            )

    async def find(self, *, algorithm: str, key_id: str | None) -> tuple[Key, ...]:
        """Return the keys that may have signed a token; none if the issuer has no such key.

        Parameters
        ----------
        algorithm
            One of `KEY_KINDS`.
        key_id
            The token's ``kid``; without one, every key for the algorithm is returned.

        Raises
        ------
        KeysUnavailable
            If that cannot be told because the issuer is away.
        """
        readings = self._readings
        if found := self._matching(algorithm, key_id):
            return found
        async with self._reading:
            # Whoever held the lock has read what we would read.
            if readings == self._readings and self._may_ask():
                cold = self._read_at is None
                await self._read()
                if not cold or self._failure is not None:
                    self._asked_at = self._clock()
        if found := self._matching(algorithm, key_id):
            return found
        if self._failure is not None:
            raise KeysUnavailable(
                self._issuer, self._failure, retry_after=self._settings.unknown_key_interval
            )
        return ()

    def _may_ask(self) -> bool:
        # Counted from the last unknown key and not from the last reading: an issuer that makes its
        # keys when they are needed would otherwise now and then have its first token refused.
        interval = self._settings.unknown_key_interval
        return self._asked_at is None or self._clock() - self._asked_at >= interval

    def _matching(self, algorithm: str, key_id: str | None) -> tuple[Key, ...]:
        if self._read_at is None or self._clock() - self._read_at > self._settings.keep:
            return ()
        return tuple(
            key for key in self._keys if _fits(key, algorithm) and key_id in (None, key.get("kid"))
        )

    async def _read(self) -> None:
        try:
            keys = parse_keys(await self._documents.get(await self._locate()))
        except DocumentError as error:
            self._fail(str(error))
        else:
            self._keys = keys
            self._read_at = self._clock()
            if self._failure is not None:
                logger.info("the keys of %s can be read again", self._issuer)
            self._failure = None
        self._readings += 1

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            kept = "there are none yet" if self._read_at is None else "the last ones are used"
            logger.warning("the keys of %s cannot be read (%s): %s", self._issuer, kept, reason)
        self._failure = reason


def parse_keys(document: dict[str, Any]) -> tuple[Key, ...]:
    """Return the usable signature keys of a JWKS.

    What is not usable is left out: symmetric keys, because a public one would let everybody sign;
    private ones, because they are published; keys for encryption; weak ones; and those that this
    software does not know (RFC 7517 section 5 asks to ignore them). An empty set is no error: a
    Backstage backend has no key before its first token.

    Raises
    ------
    DocumentError
        If it is no JWKS.
    """
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise DocumentError("JWKS", "it has no list of keys")
    if len(entries) > MAX_KEYS:
        raise DocumentError("JWKS", f"it has more than {MAX_KEYS} keys")
    parsed = (_parse_key(entry) for entry in entries)
    return tuple(key for key in parsed if key is not None)


def _parse_key(entry: object) -> Key | None:
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    if "d" in entry or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if any(not isinstance(entry.get(name, ""), str) for name in ("kid", "alg")):
        return None
    try:
        key = import_key(entry)
        strong = not isinstance(key, RSAKey) or key.public_key.key_size in RSA_BITS
    except (JoseError, ValueError, TypeError, KeyError) as error:
        logger.debug("a key of a JWKS is left out: %s", error)
        return None
    return key if strong else None


def _fits(key: Key, algorithm: str) -> bool:
    kind = KEY_KINDS[algorithm]
    if key.key_type != kind.key_type or key.get("alg", algorithm) != algorithm:
        return False
    return not isinstance(key, ECKey | OKPKey) or key.curve_name == kind.curve
