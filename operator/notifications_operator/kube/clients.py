"""The operator's clients of the API server, each with connections of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from .client import KubernetesClient
from .transport import Transport


@dataclass(frozen=True, kw_only=True)
class Clients:
    """One client for each kind of work that must not wait for another kind's connections.

    ``work`` reads and writes, as many requests at a time as its pool has connections; further ones
    queue. ``lease`` keeps leadership, however many of those queue. ``watches`` keeps one connection
    for each catalog namespace, so its pool has no bound.
    """

    work: KubernetesClient
    lease: KubernetesClient
    watches: KubernetesClient

    @classmethod
    async def connect(cls) -> Self:
        """Make the clients from ``$KUBECONFIG`` if it is set, else from the service account."""
        return cls(
            work=KubernetesClient(await Transport.connect()),
            lease=KubernetesClient(await Transport.connect()),
            watches=KubernetesClient(await Transport.connect(bounded=False)),
        )

    async def close(self) -> None:
        """Close all connections."""
        for client in (self.work, self.lease, self.watches):
            await client.close()
