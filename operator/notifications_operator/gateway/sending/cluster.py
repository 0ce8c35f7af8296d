"""What sending needs of the cluster; `kube.client` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Cluster(Protocol):
    """Creates, reads and counts Notifications; raises the errors of `api.errors`."""

    async def create_notification(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a Notification; raises `ConflictError` if one of that name exists."""
        ...

    async def get_notification(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a Notification, or ``None`` if it is not there."""
        ...

    async def count_notifications(
        self, namespace: str, *, field_selector: str, at_most: int
    ) -> int:
        """Return how many Notifications a selector chooses; counting ends at a bound."""
        ...
