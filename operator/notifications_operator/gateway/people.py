"""Users of the catalog by their e-mail address, for tokens that name nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import idna

from ..api.errors import KubernetesError
from ..catalog import Directory, Source, parse_source

logger = logging.getLogger(__name__)

INTERVAL = 30.0
"""Seconds between looks at the catalog's ConfigMaps."""


class CatalogLists(Protocol):
    """The catalog's ConfigMaps; `KubernetesClient` has them."""

    async def list_catalog(self, namespace: str) -> tuple[Sequence[Mapping[str, Any]], str]:
        """Return those of a namespace, and the version of the list."""
        ...


class People:
    """Knows who has an address.

    A catalog that cannot be read leaves what was known; nobody is known before it was read once.
    An address that two users have is nobody's: who of them asks cannot be told.

    Parameters
    ----------
    client
        The API server.
    namespaces
        Where the catalog is.
    """

    def __init__(self, client: CatalogLists, namespaces: Sequence[str]) -> None:
        self._client = client
        self._namespaces = namespaces
        self._versions: list[str] = []
        self._users: dict[str, str | None] = {}
        self._problem: str | None = "not read yet"

    @property
    def problem(self) -> str | None:
        """Why users are not known, or not as they are now; ``None`` if they are."""
        return self._problem

    def find(self, address: str) -> str | None:
        """Return the entity ref of the one user with an address, in any case of letters."""
        return self._users.get(_folded(address))

    async def run(self) -> None:
        """Keep up with the catalog until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Read the catalog, if it has changed."""
        try:
            lists = [await self._client.list_catalog(name) for name in self._namespaces]
        except KubernetesError as error:
            self._note(f"the catalog cannot be read: {error}")
            return
        bodies = [body for items, _ in lists for body in items]
        versions = [body["metadata"]["resourceVersion"] for body in bodies]
        if versions != self._versions or self._problem is not None:
            self._users = await asyncio.to_thread(_users_by_address, bodies)
            self._versions = versions
        self._note(None)

    def _note(self, problem: str | None) -> None:
        if problem is not None and problem != self._problem:
            logger.warning("%s", problem)
        self._problem = problem


def _folded(address: str) -> str:
    """Fold the letters of ASCII; to fold ß and others would make two people's addresses one.

    A domain outside ASCII equals its A-labels (RFC 5890), and nothing that would have to be mapped
    to it first.
    """
    local, at, domain = address.rpartition("@")
    return f"{_lower(local)}{at}{_ascii_domain(_lower(domain))}"


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, strict=True).decode("ascii")
    except idna.IDNAError:
        return domain


def _users_by_address(bodies: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    directory = Directory.build(parse_source(Source.of(body)) for body in bodies)
    users: dict[str, str | None] = {}
    for user in directory.users():
        if user.email:
            address = _folded(user.email)
            users[address] = None if address in users else str(user.ref)
    return users
