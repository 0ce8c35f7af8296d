"""Leases of one name in other namespaces, by which installs might lead that chose another one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..api.errors import ConflictError, ForbiddenError, NotFoundError
from .candidacy import LeaseRecord, LeaseView

logger = logging.getLogger(__name__)


class NamedLeases(Protocol):
    """The Leases of one name in the cluster; `KubernetesClient` has them."""

    async def list_leases(self, name: str) -> list[dict[str, Any]]: ...

    async def patch_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]: ...


class Rivals:
    """Leases of one name in all namespaces but our own.

    Parameters
    ----------
    client
        The API server.
    own
        Namespaces and names of the Leases that we hold ourselves.
    name
        What all of the Leases are called.
    duration
        Seconds for which a Lease that does not say it itself is held.
    timeout
        Most seconds that one request may take.
    """

    def __init__(
        self,
        client: NamedLeases,
        *,
        own: frozenset[tuple[str, str]],
        name: str,
        duration: float,
        timeout: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._own = own
        self._name = name
        self._duration = duration
        self._timeout = timeout
        self._monotonic = monotonic
        self._views: dict[str, LeaseView] = {}

    @property
    def transitions(self) -> int:
        """Greatest number of acquisitions of any of the Leases that was seen."""
        return max((view.transitions for view in self._views.values()), default=0)

    async def look(self) -> LeaseRecord | None:
        """Return a Lease whose holder may live, or ``None`` if there is no such Lease.

        Raises
        ------
        KubernetesError, TimeoutError
            If the Leases cannot be listed.
        """
        async with asyncio.timeout(self._timeout):
            records = map(LeaseRecord.read, await self._client.list_leases(self._name))
        found = {
            record.namespace: record
            for record in records
            if (record.namespace, self._name) not in self._own
        }
        for namespace in {*self._views, *found}:
            if namespace not in self._views:
                self._views[namespace] = LeaseView(
                    duration=self._duration, monotonic=self._monotonic
                )
            self._views[namespace].observe(found.get(namespace))
        return next((view.last for view in self._views.values() if view.remaining > 0), None)

    async def clear(self) -> bool:
        """Empty Leases that were abandoned, so that no later start waits for their end.

        Returns
        -------
        bool
            Whether they were abandoned indeed: a holder that renews its Lease meanwhile is not.
        """
        for view in list(self._views.values()):
            if view.remaining > 0:
                return False
            if (
                view.record is not None
                and view.record.holder
                and not await self._empty(view.record)
            ):
                return False
        return True

    async def _empty(self, record: LeaseRecord) -> bool:
        extra = {"lease": f"{record.namespace}/{self._name}", "holder": record.holder}
        try:
            async with asyncio.timeout(self._timeout):
                await self._client.patch_lease(record.namespace, self._name, **record.emptied())
        except ConflictError:
            return False
        except (ForbiddenError, NotFoundError) as error:
            # Its holder has ended all the same.
            logger.warning("could not empty an abandoned Lease: %s", error, extra=extra)
        else:
            logger.info("emptied an abandoned Lease", extra=extra)
        return True
