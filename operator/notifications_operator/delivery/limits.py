"""Bounds on recipients by namespace, checked after resolution (DESIGN section 7)."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from ..settings import NamespaceLimitSettings

HOUR = timedelta(hours=1)


class RecipientLimits:
    """Checks what Notifications resolve to, and remembers the last hour of each namespace.

    The memory is filled at start from the Notifications that are still there, so that a restart
    is no way round the bound.
    """

    def __init__(self, settings: NamespaceLimitSettings) -> None:
        self._settings = settings
        self._recent: dict[str, deque[tuple[datetime, str, int]]] = {}

    def check(self, namespace: str, uid: str, users: int, now: datetime) -> str | None:
        """Return why so many users are too many, or ``None`` if they are not."""
        most = self._bound(namespace, "max_recipients")
        if most is not None and users > most:
            return f"resolves to {users} users; limits.maxRecipients allows {most} in {namespace}"
        hourly = self._bound(namespace, "recipients_per_hour")
        if hourly is None:
            return None
        others = sum(n for _, owner, n in self._within_hour(namespace, now) if owner != uid)
        if others + users > hourly:
            return (
                f"resolves to {users} users; limits.recipientsPerHour allows {hourly} in "
                f"{namespace}, of which {others} are used"
            )
        return None

    def note(self, namespace: str, uid: str, users: int, moment: datetime) -> None:
        """Remember that a Notification reached users."""
        if self._bound(namespace, "recipients_per_hour") is None:
            return
        recent = self._recent.setdefault(namespace, deque())
        if all(owner != uid for _, owner, _ in recent):
            recent.append((moment, uid, users))

    def _within_hour(self, namespace: str, now: datetime) -> list[tuple[datetime, str, int]]:
        recent = self._recent.get(namespace, deque())
        kept = [item for item in recent if item[0] > now - HOUR]
        self._recent[namespace] = deque(kept)
        return kept

    def _bound(self, namespace: str, name: str) -> int | None:
        own = self._settings.namespaces.get(namespace)
        value: int | None = getattr(own, name) if own is not None else None
        return value if value is not None else getattr(self._settings, name)
