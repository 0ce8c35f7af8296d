"""Bounds on recipients by namespace, checked after resolution (DESIGN section 7)."""

from __future__ import annotations

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
        self._recent: dict[str, dict[str, tuple[datetime, int]]] = {}
        self._tidied: datetime | None = None

    def check(self, namespace: str, uid: str, users: int, now: datetime) -> str | None:
        """Return why so many users are too many, or ``None`` if they are not."""
        most = self._bound(namespace, "max_recipients")
        if most is not None and users > most:
            return f"resolves to {users} users; limits.maxRecipients allows {most} in {namespace}"
        hourly = self._bound(namespace, "recipients_per_hour")
        if hourly is None:
            return None
        others = self._others(namespace, uid, now)
        if others + users > hourly:
            return (
                f"resolves to {users} users; limits.recipientsPerHour allows {hourly} in "
                f"{namespace}, of which {others} are used"
            )
        return None

    def note(self, namespace: str, uid: str, users: int, moment: datetime) -> None:
        """Remember that a Notification reaches users.

        One that is edited counts once, with the most users it had within the hour.
        """
        if self._bound(namespace, "recipients_per_hour") is None:
            return
        recent = self._recent.setdefault(namespace, {})
        latest, most = recent.get(uid, (moment, 0))
        if users > most:
            recent[uid] = (max(moment, latest), users)
        self._tidy(moment)

    def _tidy(self, moment: datetime) -> None:
        """Forget once an hour what is older, also of namespaces that ask for nothing more.

        A deletion is no cause to forget: it would be a way round the bound.
        """
        if self._tidied is None:
            self._tidied = moment
        if moment - self._tidied < HOUR:
            return
        self._tidied = moment
        kept = {
            namespace: {uid: item for uid, item in recent.items() if item[0] > moment - HOUR}
            for namespace, recent in self._recent.items()
        }
        self._recent = {namespace: recent for namespace, recent in kept.items() if recent}

    def _others(self, namespace: str, uid: str, now: datetime) -> int:
        """Return how many users the other Notifications of a namespace had within the hour."""
        recent = self._recent.get(namespace, {})
        kept = {owner: item for owner, item in recent.items() if item[0] > now - HOUR}
        self._recent[namespace] = kept
        return sum(users for owner, (_, users) in kept.items() if owner != uid)

    def _bound(self, namespace: str, name: str) -> int | None:
        own = self._settings.namespaces.get(namespace)
        value: int | None = getattr(own, name) if own is not None else None
        return value if value is not None else getattr(self._settings, name)
